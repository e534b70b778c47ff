package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode"
	"unicode/utf8"

	"mixminion/client"
)

// Errors of an output.
var (
	// errOutput says that nothing more can be written.
	errOutput = errors.New("cannot write the messages")
	// errBinary says that a message would do strange things to a terminal.
	errBinary = errors.New("not shown, because it is no text that is safe for a terminal: write it to a file with -o, or use --force")
)

// output is where messages go: a stream, or a file that changes only when all is written. A file comes into being with the first message.
type output struct {
	w        *bufio.Writer
	terminal bool
	force    bool

	name  string   // of the file, "" for a stream
	plain bool     // not a regular file: written to as it is
	file  *os.File // nil until the first message
}

func newOutput(s *streams, name string, force bool) (*output, error) {
	if name == "-" {
		return &output{w: bufio.NewWriter(s.out), terminal: isTerminal(s.out), force: force}, nil
	}
	o := &output{name: name, force: force}
	switch info, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(name)); err != nil {
			return nil, fmt.Errorf("%w: %w", errOutput, err)
		}
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errOutput, err)
	case info.IsDir():
		return nil, fmt.Errorf("%w: %s is a directory", errOutput, name)
	default:
		o.plain = !info.Mode().IsRegular()
		if o.name, err = filepath.EvalSymlinks(name); err != nil {
			return nil, fmt.Errorf("%w: %w", errOutput, err)
		}
	}
	return o, nil
}

// differsFrom refuses an output that would take the place of the input.
func (o *output) differsFrom(input string) error {
	if o.name == "" || o.plain || input == "-" {
		return nil
	}
	in, err := os.Stat(input)
	if err != nil {
		return nil // that will be said when it is read
	}
	out, err := os.Stat(o.name)
	if err == nil && os.SameFile(in, out) {
		return fmt.Errorf("%w: %s is the input", errOutput, o.name)
	}
	return nil
}

// write writes the headers, if there are any, and the body of a message. The error is errBinary or wraps errOutput.
func (o *output) write(r *client.Received) error {
	if o.terminal && !o.force && !(safe(r.Headers) && safe(r.Body)) {
		return errBinary
	}
	if o.w == nil {
		if err := o.create(); err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
	}
	for _, part := range [][]byte{r.Headers, r.Body} {
		if _, err := o.w.Write(part); err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
	}
	return nil
}

func (o *output) create() (err error) {
	if o.plain {
		o.file, err = os.OpenFile(o.name, os.O_WRONLY, 0)
	} else {
		// Mode 0600: what arrived is for nobody else.
		o.file, err = os.CreateTemp(filepath.Dir(o.name), "."+filepath.Base(o.name)+".*.tmp")
	}
	if err == nil {
		o.w = bufio.NewWriter(io.Writer(o.file))
	}
	return err
}

// commit makes the file appear under its name, or sends what is left to the stream.
func (o *output) commit() error {
	if o.w == nil {
		return nil
	}
	err := o.w.Flush()
	if f := o.file; f != nil {
		o.file = nil
		if !o.plain && err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
		if !o.plain && err == nil {
			err = os.Rename(f.Name(), o.name)
		}
		if !o.plain && err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

// close drops what was not committed to a file.
func (o *output) close() error {
	f := o.file
	if f == nil {
		return nil
	}
	o.file = nil
	if o.plain {
		return f.Close()
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// safe reports whether a terminal shows a text and does nothing else.
func safe(text []byte) bool {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n <= 1 || unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' {
			return false
		}
		text = text[n:]
	}
	return true
}
