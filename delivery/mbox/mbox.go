// Package mbox reads the address file of the exit MBOX: the names of users who get their mail through this mix, and where it goes. The
// grammar is that of Mixminion 0.0.8: one user on a line, as "name: address" or "name=address", and "#" in front of a comment. Names are
// case-sensitive (E2E-spec 3.2.1 leaves them to the exit).
package mbox

import (
	"errors"
	"strings"

	"mixminion/delivery/livefile"
	"mixminion/delivery/mail"
)

// MaxName is the longest name that fits into a packet beside its address.
const MaxName = 512

// Users are the users of an exit, by name. It may be used by several goroutines.
type Users struct{ addresses map[string]string }

// What is wrong with a line.
var (
	ErrForm    = errors.New(`write "name: address" or "name=address"`)
	ErrAddress = errors.New("what follows the name is not a mail address")
	ErrTwice   = errors.New("this name stands in a line above already")
)

// Parse reads a file. The error is that of livefile.Lines; then there are no users.
func Parse(text []byte) (*Users, error) {
	u := &Users{addresses: map[string]string{}}
	if err := livefile.Lines(text, u.add); err != nil {
		return nil, err
	}
	return u, nil
}

func (u *Users) add(line string) error {
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
