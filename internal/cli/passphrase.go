package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"mixminion/message/keyring"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Errors of passphrases.
var (
	errNoPassphrase = errors.New("the keyring needs a passphrase, and there is no terminal to ask for it: give it with --passphrase-fd")
	errPassphrase   = errors.New("the passphrase is wrong, or keys/keyring.txt in your home directory is damaged")
	errMismatch     = errors.New("the two passphrases differ; nothing was made")
)

const (
	// maxPassphrase bounds a line that is read as a passphrase.
	maxPassphrase = 4096
	// passphraseTries is how often a person may mistype.
	passphraseTries = 3
)

// passphrase says where a command gets the keyring's passphrase: from a descriptor if the user named one, else from the terminal, else
// from a line of standard input.
type passphrase struct {
	fd int // negative: not given
	// stdinTaken says that the command reads something else from standard input.
	stdinTaken bool
}

// register adds --passphrase-fd to a command.
func (p *passphrase) register(cmd *cobra.Command) {
	cmd.Flags().IntVar(&p.fd, "passphrase-fd", -1, "read the keyring's passphrase, one line, from descriptor `N`")
}

// keyring opens the keyring for commands that only read it. It asks for no passphrase if there is none, or no keyring, and gives an empty
// keyring in the last case. The passphrase that it returns is the one to save the keyring with.
func (u *user) keyring(ctx context.Context, s *streams, p passphrase) (*keyring.Keyring, []byte, error) {
	ring, err := u.Keyring(nil)
	if !errors.Is(err, keyring.ErrPassword) {
		return ring, nil, err
	}
	ask, tries, err := p.source(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	for range tries {
		password, err := ask("Passphrase of your keyring: ")
		if err != nil {
			return nil, nil, err
		}
		ring, err := u.Keyring(password)
		if err == nil {
			return ring, password, nil
		}
		clear(password)
		if !errors.Is(err, keyring.ErrPassword) {
			return nil, nil, err
		}
		if tries > 1 {
			_, _ = fmt.Fprintln(s.err, "That is not it.")
		}
	}
	return nil, nil, errPassphrase
}

// keyringOrNew opens the keyring for commands that add to it. If there is none it asks for a new passphrase, twice on a terminal; the
// keyring's file comes into being when it is saved.
func (u *user) keyringOrNew(ctx context.Context, s *streams, p passphrase) (*keyring.Keyring, []byte, error) {
	exists, err := u.HasKeyring()
	if err != nil {
		return nil, nil, err
	}
	if exists {
		return u.keyring(ctx, s, p)
	}
	ask, tries, err := p.source(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	password, err := ask("You have no keyring yet. Passphrase for the new one, empty for none: ")
	if err != nil {
		return nil, nil, err
	}
	if tries > 1 { // a person types it
		again, err := ask("The same passphrase again: ")
		if err != nil {
			return nil, nil, err
		}
		defer clear(again)
		if !bytes.Equal(password, again) {
			clear(password)
			return nil, nil, errMismatch
		}
	}
	if len(password) == 0 {
		s.say("Warning: the keyring has no passphrase. Whoever can read your files can read the answers to your messages.")
	}
	return new(keyring.Keyring), password, nil
}

// source finds out whom to ask, and how often it makes sense to ask again.
func (p passphrase) source(ctx context.Context, s *streams) (ask func(prompt string) ([]byte, error), tries int, err error) {
	if p.fd >= 0 {
		r, name := s.in, fmt.Sprintf("descriptor %d", p.fd)
		if p.fd > 0 {
			r = os.NewFile(uintptr(p.fd), name)
		}
		return func(string) ([]byte, error) { return readLine(ctx, r, name) }, 1, nil
	}
	if p.stdinTaken || isTerminal(s.in) {
		tty, prompts := openTerminal(s)
		if tty == nil {
			return nil, 0, errNoPassphrase
		}
		return func(prompt string) ([]byte, error) { return askTerminal(ctx, tty, prompts, prompt) }, passphraseTries, nil
	}
	return func(string) ([]byte, error) {
		s.say("Reading the passphrase from standard input.")
		return readLine(ctx, s.in, "standard input")
	}, 1, nil
}

// openTerminal finds the terminal of the person who runs the program, and where to write prompts; nil if there is none.
func openTerminal(s *streams) (*os.File, io.Writer) {
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		return tty, tty
	}
	if isTerminal(s.in) {
		return s.in.(*os.File), s.err
	}
	return nil, nil
}

// askTerminal asks for a line that is not shown. Ctrl-C ends it with the context's error, and the terminal as it was.
func askTerminal(ctx context.Context, tty *os.File, prompts io.Writer, prompt string) ([]byte, error) {
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("ask for the passphrase: %w", err)
	}
	_, _ = fmt.Fprint(prompts, prompt)
	line, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	_, _ = fmt.Fprintln(prompts)
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), term.Restore(fd, state))
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the passphrase: %w", err)
	}
	return line, nil
}

// readLine reads one line and not a byte more, since something else may follow it.
func readLine(ctx context.Context, r io.Reader, name string) ([]byte, error) {
	return interruptible(ctx, func() ([]byte, error) {
		line := make([]byte, 0, maxPassphrase+1) // it does not grow, and so leaves no copies
		b := make([]byte, 1)
		for len(line) <= maxPassphrase {
			_, err := io.ReadFull(r, b)
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return nil, fmt.Errorf("no passphrase in %s: write one line, an empty one if there is to be none", name)
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("read the passphrase: %w", err)
			}
			if err != nil || b[0] == '\n' {
				return bytes.TrimSuffix(line, []byte("\r")), nil
			}
			line = append(line, b[0])
		}
		return nil, fmt.Errorf("the passphrase in %s is longer than %d bytes", name, maxPassphrase)
	})
}

// interruptible waits for a read until the context ends. A read from a terminal cannot be called off, so it is left behind then; the
// program ends at once.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := read()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
