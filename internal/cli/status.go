package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// statusFD is where lines for other programs go, one for each result: --status-fd.
type statusFD struct {
	fd   int // 0, which nobody can write to: not given
	open io.Writer
}

// register adds --status-fd to a program.
func (d *statusFD) register(root *cobra.Command) {
	root.PersistentFlags().IntVar(&d.fd, "status-fd", 0, "write lines for programs, \"[MIXMINION:] ...\", to descriptor `N`")
}

// status writes a line for other programs if the user wants them.
func (s *streams) status(format string, args ...any) error {
	w, err := s.statusWriter()
	if w == nil || err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "[MIXMINION:] "+format+"\n", args...); err != nil {
		return fmt.Errorf("write to status descriptor %d: %w", s.machine.fd, err)
	}
	return nil
}

// checkStatus fails if the user names a descriptor that is not open. Commands that change something call it first.
func (s *streams) checkStatus() error {
	_, err := s.statusWriter()
	return err
}

func (s *streams) statusWriter() (io.Writer, error) {
	d := &s.machine
	switch {
	case d.fd == 0:
		return nil, nil
	case d.open != nil:
	case d.fd == 1:
		d.open = s.out
	case d.fd == 2:
		d.open = s.err
	default:
		f := os.NewFile(uintptr(d.fd), "the status descriptor") // nil, with an error of its own, if the number is negative
		if _, err := f.Stat(); err != nil {
			return nil, fmt.Errorf("--status-fd: descriptor %d is not open: %w", d.fd, err)
		}
		d.open = f
	}
	return d.open, nil
}
