// Package mbox reads the address file of the exit MBOX: the names of users who get their mail through this mix, and where it goes. The
// grammar is that of Mixminion 0.0.8: one user on a line, as "name: address" or "name=address", and "#" in front of a comment. Names are
// case-sensitive (E2E-spec 3.2.1 leaves them to the exit).
package mbox

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"mixminion/delivery/mail"
)

// Limits of a file.
const (
	MaxFile = 16 << 20 // bytes
	MaxLine = 4096     // bytes
	// MaxName is the longest name that fits into a packet beside its address.
	MaxName = 512
)

// Users are the users of an exit, by name. It may be used by several goroutines.
type Users struct{ addresses map[string]string }

// LineError is a mistake in a line of the file. It repeats nothing of the line: who the users are is nobody's business.
type LineError struct {
	Line int
	Err  error
}

// Error names the line.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// What is wrong with a file.
var (
	ErrTooLarge = errors.New("the file is too large")
	ErrForm     = errors.New(`write "name: address" or "name=address"`)
	ErrAddress  = errors.New("what follows the name is not a mail address")
	ErrTwice    = errors.New("this name stands in a line above already")
)

// maxErrors is how many mistakes are told at a time.
const maxErrors = 20

// Parse reads a file. The error joins a *LineError for each line that is wrong, up to twenty of them; then there are no users.
func Parse(text []byte) (*Users, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrTooLarge, MaxFile)
	}
	u := &Users{addresses: map[string]string{}}
	var wrong []error
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if err := u.add(line); err != nil {
			wrong = append(wrong, &LineError{n, err})
			if len(wrong) == maxErrors {
				break
			}
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return u, nil
}

func (u *Users) add(raw []byte) error {
	if len(raw) > MaxLine {
		return fmt.Errorf("it has more than %d bytes", MaxLine)
	}
	line := strings.TrimSpace(string(raw))
	if line == "" || line[0] == '#' {
		return nil
	}
	at := strings.IndexAny(line, ":=")
	if at < 0 {
		return ErrForm
	}
	name, addr := strings.TrimSpace(line[:at]), strings.TrimSpace(line[at+1:])
	if name == "" || len(name) > MaxName || strings.ContainsAny(name, " \t\x00") {
		return ErrForm
	}
	addr, err := mail.ParseAddress([]byte(addr))
	if err != nil {
		return ErrAddress
	}
	if _, found := u.addresses[name]; found {
		return ErrTwice
	}
	u.addresses[name] = addr
	return nil
}

// Address returns where the mail of a user goes; false if there is none of that name.
func (u *Users) Address(name []byte) (string, bool) {
	addr, ok := u.addresses[string(name)]
	return addr, ok
}
