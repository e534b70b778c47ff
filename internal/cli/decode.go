package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"mixminion/client"
	"mixminion/internal/armor"
	"mixminion/message"

	"github.com/spf13/cobra"
)

type decodeOptions struct {
	input, output string
	force         bool
	passphrase    passphrase
}

func newDecode(s *streams, configFile *string) *cobra.Command {
	var o decodeOptions
	cmd := &cobra.Command{
		Use:   "decode",
		Short: "Read the anonymous messages that you got",
		Long: "Finds the anonymous messages in a text, a mail, an mbox file or a Maildir, opens them with\n" +
			"your keys if they are answers or encrypted to you, and writes them one after the other. The mails may\n" +
			"have attachments and any transfer encoding. A message that cannot be decoded does not stop\n" +
			"the others; the exit status is then 1.\n\n" +
			"Long messages may arrive in fragments. They are kept until there are enough of them; the\n" +
			"commands list-fragments and reassemble do the rest.\n\n" +
			"If a message came with headers of its own, like a subject, they are written in front of it,\n" +
			"as lines NAME:value and an empty line. Otherwise nothing but the message is written.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.input == "-" && o.passphrase.fd == 0 {
				return errors.New("standard input cannot hold both the messages and the passphrase")
			}
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			return u.decode(cmd.Context(), s, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.input, "input", "i", "-", "read messages from `FILE`, a file or a Maildir; - is standard input")
	f.StringVarP(&o.output, "output", "o", "-", "write messages to `FILE`; - is standard output")
	f.BoolVarP(&o.force, "force", "F", false, "accept messages that expand excessively, and show binary ones on a terminal")
	o.passphrase.register(cmd)
	return cmd
}

func (u *user) decode(ctx context.Context, s *streams, o decodeOptions) (err error) {
	out, err := newOutput(s, o.output, o.force)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	if err := out.differsFrom(o.input); err != nil {
		return err
	}
	t := tally{s: s, fragments: map[message.ID]client.Partial{}}
	o.passphrase.stdinTaken = o.input == "-"
	opts := client.DecodeOptions{
		Force:  o.force,
		OnWait: func() { s.say("Waiting for another mixminion to finish.") },
		Keys: func() (message.Keys, error) {
			keys, err := u.keys(ctx, s, o.passphrase)
			t.keys = err
			return keys, err
		},
	}
	messages := u.DecodePath(ctx, o.input, opts)
	if o.input == "-" {
		if isTerminal(s.in) {
			s.say("Paste the message. End it with Ctrl-D on a line of its own.")
		}
		messages = u.Decode(ctx, interruptibleReader{ctx, s.in}, opts)
	}
	for r, err := range messages {
		if errors.Is(err, context.Canceled) {
			return err
		}
		if err == nil && r.Fragment == nil {
			err = out.write(&r)
			if errors.Is(err, errOutput) {
				return err
			}
		}
		t.add(&r, err)
	}
	if err := out.commit(); err != nil {
		return err
	}
	return t.result(o.input)
}

// A tally keeps account of what was decoded.
type tally struct {
	s            *streams
	good, bad    int
	keys         error // why the keyring was not opened
	locked, late int
	fragments    map[message.ID]client.Partial
	input        error // trouble with the input as a whole
	other        int
}

func (t *tally) add(r *client.Received, err error) {
	switch {
	case errors.Is(err, client.ErrKeys): // the same for all: said once
		t.bad++
		t.locked++
	case errors.Is(err, client.ErrFragmentFile): // the input is in order
		t.s.warn("%v", err)
	case err != nil && r.Position == (client.Position{}) && t.input == nil:
		t.input = err
	case err != nil && r.Message == 0:
		t.other++
		t.s.warn("%v: %v", r.Position, err)
	case err != nil:
		t.bad++
		t.s.warn("%v: %v", r.Position, advise(err))
	case r.Late:
		t.late++
	case r.Fragment != nil:
		t.good++
		t.fragments[r.Fragment.ID] = *r.Fragment
	default:
		t.good++
		t.s.say("%s: %s%s.", capital(r.String()), count(len(r.Body), "byte"), openedBy(r.By))
	}
}

// result says what became of fragments, and what failed.
func (t *tally) result(input string) error {
	byID := func(a, b client.Partial) int { return strings.Compare(a.ShortID(), b.ShortID()) }
	for _, p := range slices.SortedFunc(maps.Values(t.fragments), byID) {
		if p.Ready() {
			t.s.say("The long message %s is complete. Get it with: mixminion reassemble %s", p.ShortID(), p.ShortID())
		} else {
			t.s.say("The long message %s has %d of the %s that it needs. The others should arrive in the next days.",
				p.ShortID(), p.Have, count(p.Need, "fragment"))
		}
	}
	if t.late > 0 {
		t.s.say("Dropped %s of long messages that you have purged, or that were given up.", count(t.late, "fragment"))
	}
	if t.locked > 0 {
		t.s.warn("%s not opened: %v", count(t.locked, "encrypted message"), t.keys)
	}
	if input == "-" {
		input = "standard input"
	}
	switch {
	case t.input != nil && !strings.Contains(t.input.Error(), input):
		return fmt.Errorf("%s: %w", input, t.input)
	case t.input != nil:
		return t.input
	case t.bad > 0:
		return fmt.Errorf("%d of %s could not be decoded", t.bad, count(t.bad+t.good+t.late, "message"))
	case t.other > 0:
		return errors.New("not all of the input could be looked at")
	}
	return nil
}

// advise adds to an error what the user can do about it.
func advise(err error) error {
	switch {
	case errors.Is(err, message.ErrNotForUs):
		return errors.New("none of your keys opens it. It is for somebody else, or damaged, or its reply block has expired")
	case errors.Is(err, message.ErrOvercompressed):
		return fmt.Errorf("%w. If you trust its sender, use --force", err)
	case errors.Is(err, message.ErrInconsistent):
		return fmt.Errorf("%w. All of them were deleted: somebody has tampered with the message. Ask for it again", err)
	case errors.Is(err, armor.ErrNoEnd):
		return fmt.Errorf("%w: the message was cut off", err)
	}
	return err
}

// openedBy tells for whom a message was.
func openedBy(by message.Opener) string {
	switch {
	case by.Via == message.ViaIdentity && by.Name != "":
		return fmt.Sprintf(", an answer to your identity %s", by.Name)
	case by.Via == message.ViaIdentity:
		return ", an answer to your default identity"
	case by.Via == message.ViaKey && by.Name != "":
		return fmt.Sprintf(", encrypted to your key %s", by.Name)
	case by.Via == message.ViaKey:
		return ", encrypted to your key"
	}
	return ""
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// interruptibleReader reads until the context ends.
type interruptibleReader struct {
	ctx context.Context
	r   io.Reader
}

func (r interruptibleReader) Read(p []byte) (int, error) {
	if _, ok := r.r.(*os.File); !ok {
		return r.r.Read(p)
	}
	// A read that is left behind must not write into p.
	data, err := interruptible(r.ctx, func() ([]byte, error) {
		buf := make([]byte, len(p))
		n, err := r.r.Read(buf)
		if n > 0 {
			err = nil // it will come again
		}
		return buf[:n], err
	})
	return copy(p, data), err
}
