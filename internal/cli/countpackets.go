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

type countOptions struct {
	to               []string
	input, path      string
	reply            bool
	headers          message.Headers
	deliverFragments bool
	encryptTo        string
}

func newCountPackets(s *streams) *cobra.Command {
	var o countOptions
	cmd := &cobra.Command{
		Use:   "count-packets -t ADDRESS... | -R",
		Short: "Say how many packets a message would take",
		Long: "Reads a message as send does, and says how many packets it would take to the address, or as\n" +
			"a reply. A reply takes one reply block for each packet.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.checkStatus(); err != nil {
				return err
			}
			n, err := o.count(cmd.Context(), s)
			if err != nil {
				return err
			}
			return printCount(s, n)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.to, "to", "t", nil, "count for `ADDRESS`, or for several as in send; may be given again")
	f.BoolVarP(&o.reply, "reply", "R", false, "count for a reply, which goes through reply blocks")
	f.StringVarP(&o.input, "input", "i", "-", "read the message from `FILE`; - is standard input")
	f.StringVarP(&o.path, "path", "P", "", "checked and ignored: the path, a `SPEC`, does not change the number")
	f.StringVar(&o.headers.Subject, "subject", "", "the mail's subject, a line of `TEXT`")
	f.StringVar(&o.headers.From, "from", "", "a `NAME` that is shown as the sender, marked as anonymous")
	f.StringVar(&o.headers.InReplyTo, "in-reply-to", "", "the `ID` of the mail that this one answers")
	f.StringVar(&o.headers.References, "references", "", "the `ID`s of earlier mails")
	f.StringVar(&o.encryptTo, "encrypt-to", "", "count for a message that is encrypted to the public key in `FILE`")
	f.BoolVar(&o.deliverFragments, "deliver-fragments", false, "count for fragments that are delivered one by one")
	return cmd
}

func (o *countOptions) count(ctx context.Context, s *streams) (int, error) {
	switch {
	case len(o.to) == 0 && !o.reply:
		return 0, errors.New("no recipient given: use -t ADDRESS, or -R for a reply")
	case o.encryptTo != "" && o.reply:
		return 0, errors.New("what goes through a reply block is always encrypted to its maker: leave out --encrypt-to")
	case len(o.to) > 0 && o.reply:
		return 0, errors.New("a reply has no address: use either -t or -R")
	}
	if o.path != "" {
		if _, err := path.ParseSpec(o.path); err != nil {
			return 0, fmt.Errorf("path %q: %w", o.path, err)
		}
	}
	if err := o.headers.Validate(); err != nil {
		return 0, err
	}
	m := client.Message{Headers: o.headers, DeliverFragments: o.deliverFragments}
	var to []client.Address
	var err error
	if m.EncryptTo, err = readPublicKey(s, o.encryptTo); err != nil {
		return 0, err
	}
	if !o.reply {
		if to, err = parseRecipients(o.to); err != nil {
			return 0, err
		}
		if m.To = to[0]; m.To.Type == packet.TypeDrop {
			return client.CountPackets(m)
		}
	}
	body, err := readMessage(ctx, s, o.input)
	if err != nil {
		return 0, err
	}
	if o.reply {
		return client.CountReplyPackets(o.headers, body)
	}
	m.Body = body
	total := 0
	for _, m.To = range to {
		n, err := client.CountPackets(m)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func printCount(s *streams, n int) error {
	packets := "packets"
	if n == 1 {
		packets = "packet"
	}
	if _, err := fmt.Fprintf(s.out, "%d %s needed\n", n, packets); err != nil {
		return err
	}
	return s.status("COUNT_PACKETS %d", n)
}
