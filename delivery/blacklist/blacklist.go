// Package blacklist holds the mailboxes to which an exit delivers nothing, by the rules in a file of the operator's. The grammar is that
// of Mixminion 0.0.8: one rule on a line, "#" in front of a comment,
//
//	Deny address bob@example.com    this mailbox
//	Deny user postmaster            this local part at every host
//	Deny onehost example.com        every mailbox at this host
//	Deny allhosts example.com       and at hosts below it
//	Deny pattern /^sales[0-9]+@/    every mailbox in which the regular expression is found
//
// The first two words are separated by exactly one blank; they and all values are the same in upper and lower case. An address and a user also stand
// for those with a tag, as in bob+tag. Expressions are those of Go's package regexp, which need time in proportion to the text, whatever
// anybody writes; what Python's have beyond them is refused.
package blacklist

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"mixminion/delivery/livefile"
	"mixminion/delivery/mail"
)

const (
	// MaxPattern is how many bytes an expression may have.
	MaxPattern = 1000
	// maxPatterns bounds the work for each recipient: a lookup does for everything else.
	maxPatterns = 10000
)

// List is a set of rules. It may be used by several goroutines.
type List struct {
	addresses, users, hosts, domains map[string]struct{}
	patterns                         []*regexp.Regexp
}

// Parse reads a file. The error joins those of livefile.Lines; then there is no list.
func Parse(text []byte) (*List, error) {
	l := &List{
		addresses: map[string]struct{}{}, users: map[string]struct{}{}, hosts: map[string]struct{}{}, domains: map[string]struct{}{},
	}
	err := livefile.Lines(text, l.add)
	if len(l.patterns) > maxPatterns {
		err = errors.Join(err, fmt.Errorf("%w: it has %d expressions; %d are allowed", livefile.ErrTooLarge, len(l.patterns), maxPatterns))
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

var errForm = errors.New(`write "Deny KIND VALUE" with one blank between the words, where KIND is address, user, onehost, allhosts or pattern`)

// add adds the rule of one line.
func (l *List) add(line string) error {
	words := strings.SplitN(line, " ", 3)
	if !strings.EqualFold(words[0], "deny") {
		return errors.New("a rule begins with Deny and a blank")
	}
	if len(words) < 3 || words[1] == "" {
		return errForm
	}
	value := strings.TrimSpace(words[2])
	lower := strings.ToLower(value)
	switch strings.ToLower(words[1]) {
	case "address":
		if _, err := mail.ParseAddress([]byte(value)); err != nil {
			return errors.New("the value is not a mail address")
		}
		l.addresses[lower] = struct{}{}
	case "user":
		if !validPart(value + "@example.com") {
			return errors.New("the value is not what may stand before the @ of a mail address")
		}
		l.users[lower] = struct{}{}
	case "onehost", "allhosts":
		if !validPart("a@" + value) {
			return errors.New("the value is not the name of a host")
		}
		if strings.EqualFold(words[1], "onehost") {
			l.hosts[lower] = struct{}{}
		} else {
			l.domains[lower] = struct{}{}
		}
	case "pattern":
		re, err := compile(value)
		if err != nil {
			return err
		}
		l.patterns = append(l.patterns, re)
	default:
		return errForm
	}
	return nil
}

func validPart(addr string) bool {
	_, err := mail.ParseAddress([]byte(addr))
	return err == nil
}

// Blocked reports whether a rule denies a mailbox, in the form that mail.ParseAddress accepts.
func (l *List) Blocked(addr string) bool {
	addr = strings.ToLower(addr)
	plain := mail.Canonical(addr)
	user, host, _ := strings.Cut(addr, "@")
	plainUser, _, _ := strings.Cut(plain, "@")
	if has(l.addresses, addr) || has(l.addresses, plain) || has(l.users, user) || has(l.users, plainUser) || has(l.hosts, host) {
		return true
	}
	for domain := host; ; {
		if has(l.domains, domain) {
			return true
		}
		_, above, found := strings.Cut(domain, ".")
		if !found {
			break
		}
		domain = above
	}
	for _, re := range l.patterns {
		if re.MatchString(addr) {
			return true
		}
	}
	return false
}

func has(set map[string]struct{}, s string) bool {
	_, ok := set[s]
	return ok
}
