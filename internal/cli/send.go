package cli

import (
	"context"
	"errors"
	"fmt"

	"mixminion/client"
	"mixminion/message"
	"mixminion/packet"
	"mixminion/path"

	"github.com/spf13/cobra"
)

// maxMessage bounds what is read as a message. Hardly an exit takes as much.
const maxMessage = 64 << 20

type sendOptions struct {
	to                                   []string
	share                                bool
	encryptTo                            string
	input, path                          string
	subject, from, inReplyTo, references string
	deliverFragments                     bool
	queueing                             queueing
	reply                                replyBlocks
	mail                                 mailOptions
}

func newSend(s *streams, configFile *string) *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send -t ADDRESS... | -R FILE | --mail [ADDRESS...]",
		Short: "Send a message",
		Long: "Sends a message, from standard input or a file, to an address: user@host, mbox:name@server,\n" +
			"or drop for a packet that goes nowhere and helps to hide others.\n\n" +
			"Each of several recipients gets a message of his own, on a path of its own, and none sees the\n" +
			"others. With --share-packet up to eight share one packet and one mail, in which they all stand.\n\n" +
			"Without --path the packet goes over four mixes chosen at random. A path names mixes and\n" +
			"random hops, separated by commas, and may have a colon between its two halves:\n" +
			"  alder,?:?,birch    through alder, two random mixes, and birch\n" +
			"  *5                 through five random mixes\n\n" +
			"The packets are put into the queue of your home directory and leave it when a mix has them.\n" +
			"What cannot be sent now stays there; mixminion flush sends it. While mixminion agent runs they\n" +
			"wait for it to send them, unless you say --no-queue.\n\n" +
			"With -R the message goes through reply blocks that you got from whoever is to read it. Each\n" +
			"packet takes one, and none is ever used again, whatever becomes of the packet.\n\n" +
			"With --mail the message is a whole mail, as mail programs make them. Its recipients (To, Cc and\n" +
			"Bcc, unless you name others with -t or at the end of the command line), its subject, the name in\n" +
			"From, In-Reply-To, References and its text are sent, and nothing else of it. What is not text is\n" +
			"refused. You are told what is left out and what may give you away.",
		Args: o.mail.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.mail.check(&o, args, *configFile); err != nil {
				return err
			}
			if len(o.to) == 0 && !o.reply.given() && !o.mail.given {
				return errors.New("no recipient given: use -t ADDRESS, or -R FILE for a reply block")
			}
			if err := o.reply.check(len(o.to) > 0, o.input); err != nil {
				return err
			}
			if o.share && o.reply.given() {
				return errors.New("--share-packet is for addresses: leave it out with -R")
			}
			if o.encryptTo != "" && o.reply.given() {
				return errors.New("what goes through a reply block is always encrypted to its maker: leave out --encrypt-to")
			}
			if err := o.queueing.check(); err != nil {
				return err
			}
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			if o.mail.given {
				if err := o.mail.take(cmd.Context(), s, &o, args); err != nil {
					return err
				}
			}
			o.queueing.named = o.path != ""
			if o.reply.given() {
				return u.reply(cmd.Context(), s, o)
			}
			return u.send(cmd.Context(), s, o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.to, "to", "t", nil, "send to `ADDRESS`, or to several with commas between them; may be given again")
	f.StringVar(&o.encryptTo, "encrypt-to", "", "encrypt to the public key in `FILE`, as mixminion generate-key writes it")
	f.BoolVar(&o.share, "share-packet", false, "send one packet to up to eight recipients, who see each other")
	f.StringVarP(&o.input, "input", "i", "-", "read the message from `FILE`; - is standard input")
	f.StringVarP(&o.path, "path", "P", "", "take a path like `SPEC` in place of four random mixes")
	f.StringVar(&o.subject, "subject", "", "the mail's subject, a line of `TEXT`")
	f.StringVar(&o.from, "from", "", "a `NAME` that is shown as the sender, marked as anonymous")
	f.StringVar(&o.inReplyTo, "in-reply-to", "", "the `ID` of the mail that this one answers")
	f.StringVar(&o.references, "references", "", "the `ID`s of earlier mails")
	f.BoolVar(&o.deliverFragments, "deliver-fragments", false, "deliver the fragments of a long message one by one")
	o.reply.register(cmd)
	o.mail.register(f)
	o.queueing.flags(f)
	return cmd
}

func (u *user) send(ctx context.Context, s *streams, o sendOptions) error {
	to, err := parseRecipients(o.to)
	if err != nil {
		return err
	}
	for _, a := range to {
		if o.share && a.Type != packet.TypeSMTP {
			return errors.New("--share-packet: only addresses like user@host can share a packet")
		}
	}
	m := client.Message{
		Headers: message.Headers{Subject: o.subject, From: o.from, InReplyTo: o.inReplyTo, References: o.references},

		DeliverFragments: o.deliverFragments,
	}
	if err := m.Headers.Validate(); err != nil {
		return err
	}
	if m.Path, err = u.forwardPath(o.path); err != nil {
		return err
	}
	if m.EncryptTo, err = readPublicKey(s, o.encryptTo); err != nil {
		return err
	}
	if to[0].Type == packet.TypeDrop {
		if o.encryptTo != "" {
			return errors.New("a packet to drop carries nothing that could be encrypted: leave out --encrypt-to")
		}
		if o.input != "-" || m.Headers != (message.Headers{}) {
			return errors.New("a packet to drop carries no message, and nobody would read it: leave out --input and the headers, or name another recipient")
		}
		s.say("Making a packet that goes nowhere.")
		o.queueing.what = dummy
	} else {
		if o.share && len(to) > 1 {
			s.say("Warning: the %d recipients will see each other's addresses, and one exit sees that they belong together.", len(to))
		}
		if m.Body, err = o.message(ctx, s); err != nil {
			return err
		}
	}
	if o.share {
		to = client.Share(to)
	}
	messages := make([]client.Message, len(to))
	for i, a := range to {
		messages[i] = m
		messages[i].To = a
	}
	p := newProgress(s)
	ready, err := u.PrepareAll(ctx, messages, p)
	p.clear()
	if o.share && (errors.Is(err, path.ErrNoExit) || errors.Is(err, path.ErrExit) || errors.Is(err, packet.ErrTooLong)) {
		return fmt.Errorf("%w; nothing was sent. To send a packet to each recipient, leave out --share-packet", err)
	}
	if err != nil {
		return err
	}
	describe(s, ready, len(messages))
	if len(messages) > 1 {
		o.queueing.what = severalMessages
	}
	return u.handOver(ctx, s, ready, o.queueing)
}

// parseRecipients reads the values of all -t. It returns the addresses sorted, and each once.
func parseRecipients(texts []string) ([]client.Address, error) {
	var all []client.Address
	for _, text := range texts {
		some, err := client.ParseAddresses(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		all = append(all, some...)
	}
	return client.Recipients(all)
}

// message returns the body of the message.
func (o *sendOptions) message(ctx context.Context, s *streams) ([]byte, error) {
	body := o.mail.body
	if !o.mail.given {
		var err error
		if body, err = readMessage(ctx, s, o.input); err != nil {
			return nil, err
		}
	}
	if len(body) == 0 { // perhaps since the program failed that should have written it
		s.say("Warning: the message is empty.")
	}
	return body, nil
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

// describe says what was made of some messages, before they leave.
func describe(s *streams, p *client.Prepared, messages int) {
	for _, w := range p.Warnings {
		s.say("Warning: %v.", w)
	}
	if p.Overcompressed {
		s.say("Warning: the message compresses so well that the exit will deliver it in compressed form, which only mixminion can read.")
	}
	switch n := len(p.Packets); {
	case messages > 1:
		s.say("The %d messages take %d packets, each on a path of its own.", messages, n)
	case n == 1:
		s.say("The message fits into one packet. Its path: %s.", p.Packets[0].Route)
	default:
		s.say("The message takes %d packets, each on a path of its own; not all of them need to arrive.", n)
	}
}
