package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mixminion/client/mailin"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// mailOptions is what a user says about a whole mail that is to be sent.
type mailOptions struct {
	given  bool
	strict bool
	body   []byte // its text, once it was read
}

func (m *mailOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&m.given, "mail", false, "the message is a whole mail: take recipients, headers and text from it")
	f.BoolVar(&m.strict, "strict", false, "with --mail: send nothing when there is something to warn of")
}

// args checks the arguments: recipients, as mail programs give them, and only for a mail.
func (m *mailOptions) args(cmd *cobra.Command, args []string) error {
	if m.given {
		return nil
	}
	return cobra.NoArgs(cmd, args)
}

// check finds contradictions on the command line; recipients are its arguments.
func (m *mailOptions) check(o *sendOptions, recipients []string, configFile string) error {
	if !m.given {
		if m.strict {
			return errors.New("--strict is for whole mails: use it with --mail")
		}
		return nil
	}
	if strings.Contains(configFile, "@") {
		return errors.New("-f names a configuration file here, and your mail program gives an address with it: " +
			"have it give none (in mutt: set use_envelope_from=no)")
	}
	for _, h := range []struct{ name, value string }{
		{"--subject", o.subject}, {"--from", o.from}, {"--in-reply-to", o.inReplyTo}, {"--references", o.references},
	} {
		if h.value != "" {
			return fmt.Errorf("with --mail the headers come from the mail: leave out %s", h.name)
		}
	}
	switch {
	case len(recipients) > 0 && len(o.to) > 0:
		return errors.New("recipients stand both behind -t and at the end of the command line: give them in one way")
	case len(recipients) > 0 && o.reply.given():
		return errors.New("a reply block leads to its maker: use either recipients or -R FILE")
	case slices.ContainsFunc(append(slices.Clone(recipients), o.to...), func(to string) bool { return strings.EqualFold(to, "drop") }):
		return errors.New("a packet to drop carries no message: leave out --mail")
	}
	return nil
}

// take reads a whole mail and puts what is in it into the options. What it drops, and what it warns of, it says.
func (m *mailOptions) take(ctx context.Context, s *streams, o *sendOptions, recipients []string) error {
	raw, err := readMessage(ctx, s, o.input)
	if err != nil {
		return err
	}
	mail, err := mailin.Parse(raw)
	if err != nil {
		return fmt.Errorf("%w; nothing was sent", err)
	}
	o.to = append(o.to, recipients...)
	dropped := mail.Dropped
	switch {
	case len(o.to) > 0, o.reply.given():
		// Whoever calls says where it goes. The fields are for the eyes of the recipients, who see none of them.
		for _, f := range []struct {
			name string
			list []string
		}{{"To", mail.To}, {"Cc", mail.Cc}, {"Bcc", mail.Bcc}} {
			if len(f.list) > 0 {
				dropped = append(dropped, f.name)
			}
		}
	case mail.Resent:
		return errors.New("the mail was passed on (Resent-To), and its To means those who had it before: " +
			"name its recipients with -t; nothing was sent")
	case o.share && len(mail.Bcc) > 0:
		return errors.New("with --share-packet recipients see each other, those in Bcc as well: leave out one of the two; nothing was sent")
	default:
		o.to = slices.Concat(mail.To, mail.Cc, mail.Bcc)
		if len(o.to) == 0 {
			return errors.New("the mail has no recipient in To, Cc or Bcc; add one, or use -t ADDRESS; nothing was sent")
		}
	}
	o.subject, o.from = mail.Headers.Subject, mail.Headers.From
	o.inReplyTo, o.references = mail.Headers.InReplyTo, mail.Headers.References
	m.body = mail.Body
	if len(dropped) > 0 {
		s.say("Left out of the mail: %s.", strings.Join(dropped, ", "))
	}
	if !m.strict {
		for _, w := range mail.Warnings {
			s.say("Warning: %s.", w)
		}
		return nil
	}
	for _, w := range mail.Warnings {
		s.warn("%s", w)
	}
	if n := len(mail.Warnings); n > 0 {
		return fmt.Errorf("%s in the mail may give you away; nothing was sent. To send it all the same, leave out --strict", count(n, "thing"))
	}
	return nil
}
