package cli

import (
	"context"
	"errors"
	"fmt"

	"mixminion/client"
	"mixminion/message"
	"mixminion/packet"

	"github.com/spf13/cobra"
)

// maxMessage bounds what is read as a message. Hardly an exit takes as much.
const maxMessage = 64 << 20

type sendOptions struct {
	to, input, path                      string
	subject, from, inReplyTo, references string
	deliverFragments                     bool
	queueing                             queueing
	reply                                replyBlocks
}

func newSend(s *streams, configFile *string) *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send -t ADDRESS | -R FILE",
		Short: "Send a message",
		Long: "Sends a message, from standard input or a file, to an address: user@host, mbox:name@server,\n" +
			"or drop for a packet that goes nowhere and helps to hide others.\n\n" +
			"Without --path the packet goes over four mixes chosen at random. A path names mixes and\n" +
			"random hops, separated by commas, and may have a colon between its two halves:\n" +
			"  alder,?:?,birch    through alder, two random mixes, and birch\n" +
			"  *5                 through five random mixes\n\n" +
			"The packets are put into the queue of your home directory and leave it when a mix has them.\n" +
			"What cannot be sent now stays there; mixminion flush sends it.\n\n" +
			"With -R the message goes through reply blocks that you got from whoever is to read it. Each\n" +
			"packet takes one, and none is ever used again, whatever becomes of the packet.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.to == "" && !o.reply.given() {
				return errors.New("no recipient given: use -t ADDRESS, or -R FILE for a reply block")
			}
			if err := o.reply.check(o.to, o.input); err != nil {
				return err
			}
			if err := o.queueing.check(); err != nil {
				return err
			}
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			if o.reply.given() {
				return u.reply(cmd.Context(), s, o)
			}
			return u.send(cmd.Context(), s, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.to, "to", "t", "", "send to `ADDRESS`")
	f.StringVarP(&o.input, "input", "i", "-", "read the message from `FILE`; - is standard input")
	f.StringVarP(&o.path, "path", "P", "", "take a path like `SPEC` in place of four random mixes")
	f.StringVar(&o.subject, "subject", "", "the mail's subject, a line of `TEXT`")
	f.StringVar(&o.from, "from", "", "a `NAME` that is shown as the sender, marked as anonymous")
	f.StringVar(&o.inReplyTo, "in-reply-to", "", "the `ID` of the mail that this one answers")
	f.StringVar(&o.references, "references", "", "the `ID`s of earlier mails")
	f.BoolVar(&o.deliverFragments, "deliver-fragments", false, "deliver the fragments of a long message one by one")
	o.reply.register(cmd)
	o.queueing.flags(f)
	return cmd
}

func (u *user) send(ctx context.Context, s *streams, o sendOptions) error {
	to, err := client.ParseAddress(o.to)
	if err != nil {
		return fmt.Errorf("%q: %w", o.to, err)
	}
	m := client.Message{
		To:      to,
		Headers: message.Headers{Subject: o.subject, From: o.from, InReplyTo: o.inReplyTo, References: o.references},

		DeliverFragments: o.deliverFragments,
	}
	if err := m.Headers.Validate(); err != nil {
		return err
	}
	if m.Path, err = u.forwardPath(o.path); err != nil {
		return err
	}
	if to.Type == packet.TypeDrop {
		s.say("Making a packet that goes nowhere.")
	} else if m.Body, err = readMessage(ctx, s, o.input); err != nil {
		return err
	}
	p := newProgress(s)
	ready, err := u.Prepare(ctx, m, p)
	p.clear()
	if err != nil {
		return err
	}
	describe(s, ready)
	return u.handOver(ctx, s, ready, o.queueing)
}

// readMessage reads a file, or standard input until it ends or ctx does.
func readMessage(ctx context.Context, s *streams, input string) ([]byte, error) {
	if input != "-" {
		return readLimited(input, maxMessage)
	}
	if isTerminal(s.in) {
		s.say("Type your message. End it with Ctrl-D on a line of its own; Ctrl-C drops it.")
	}
	return interruptible(ctx, func() ([]byte, error) { return readAll(s.in, "standard input", maxMessage) })
}

// describe says what was made of a message, before it leaves.
func describe(s *streams, p *client.Prepared) {
	for _, w := range p.Warnings {
		s.say("Warning: %v.", w)
	}
	if p.Overcompressed {
		s.say("Warning: the message compresses so well that the exit will deliver it in compressed form, which only mixminion can read.")
	}
	if n := len(p.Packets); n == 1 {
		s.say("The message fits into one packet. Its path: %s.", p.Packets[0].Route)
	} else {
		s.say("The message takes %d packets, each on a path of its own; not all of them need to arrive.", n)
	}
}
