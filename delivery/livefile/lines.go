package livefile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Limits of a file, in bytes.
const (
	MaxFile = 16 << 20
	MaxLine = 4096
)

// maxErrors is how many mistakes are told at a time.
const maxErrors = 20

// ErrTooLarge says that a file holds more than is read.
var ErrTooLarge = errors.New("the file is too large")

// LineError is a mistake in a line of a file. It repeats nothing of the line, since it goes to the log: whom the file names is nobody's
// business.
type LineError struct {
	Line int
	Err  error
}

// Error names the line.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// Lines hands every line to a function, without blanks at its ends, but neither empty ones nor comments, which begin with "#". The error joins a
// *LineError for each line that is too long or for which the function returns an error, up to twenty of them; or it is ErrTooLarge.
func Lines(text []byte, entry func(line string) error) error {
	if len(text) > MaxFile {
		return fmt.Errorf("%w: it has more than %d bytes", ErrTooLarge, MaxFile)
	}
	var wrong []error
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		var err error
		if line := strings.TrimSpace(string(raw)); len(raw) > MaxLine {
			err = fmt.Errorf("it has more than %d bytes", MaxLine)
		} else if line != "" && line[0] != '#' {
			err = entry(line)
		}
		if err == nil {
			continue
		}
		if wrong = append(wrong, &LineError{n, err}); len(wrong) == maxErrors {
			break
		}
	}
	return errors.Join(wrong...)
}
