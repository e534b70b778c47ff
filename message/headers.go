package message

import (
	"bytes"
	"fmt"
	"strings"
)

// MaxHeaderLen is how many bytes the value of a header may have (E2E-spec 3.1.2).
const MaxHeaderLen = 900

// The names of the headers that a message may have, as they stand in it (E2E-spec 3.2.2).
const (
	nameFrom       = "FROM"
	nameInReplyTo  = "IN-REPLY-TO"
	nameReferences = "REFERENCES"
	nameSubject    = "SUBJECT"
)

// Headers are the mail headers that a sender may set. An empty value means that the header is absent.
type Headers struct {
	From       string // a display name, not an address; the exit decides whether it is used
	InReplyTo  string
	References string
	Subject    string
}

// field gives the header of that name, nil if there is none.
func (h *Headers) field(name string) *string {
	switch name {
	case nameFrom:
		return &h.From
	case nameInReplyTo:
		return &h.InReplyTo
	case nameReferences:
		return &h.References
	case nameSubject:
		return &h.Subject
	}
	return nil
}

// names is in the order in which headers must stand (E2E-spec 3.1.2).
var names = [...]string{nameFrom, nameInReplyTo, nameReferences, nameSubject}

// Validate reports, wrapping ErrHeader, which header may not be sent and why.
func (h Headers) Validate() error {
	for _, name := range names {
		if reason := objection(name, strings.Trim(*h.field(name), " ")); reason != "" {
			return fmt.Errorf("%w: %s %s", ErrHeader, name, reason)
		}
	}
	return nil
}

// objection says what is wrong with a header's value, "" if nothing is.
func objection(name, value string) string {
	if len(value) > MaxHeaderLen {
		return fmt.Sprintf("has %d characters, at most %d are allowed", len(value), MaxHeaderLen)
	}
	for i := range len(value) {
		if c := value[i]; !printable(c) {
			return fmt.Sprintf("has a character at position %d that is not printable ASCII", i+1)
		} else if name == nameFrom && strings.IndexByte(`"[]:`, c) >= 0 {
			return fmt.Sprintf("has the character %c at position %d, which is not allowed there", c, i+1)
		}
	}
	return ""
}

func printable(c byte) bool { return c >= 0x20 && c <= 0x7e }

// Encode returns what stands before the body of a message: one line for each header that is set, in the order that E2E-spec
// 3.1.2 prescribes, without the blanks around the values, and an empty line. It returns an error if Validate does.
func (h Headers) Encode() ([]byte, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	var out []byte
	for _, name := range names {
		if value := strings.Trim(*h.field(name), " "); value != "" {
			out = append(out, name+":"+value+"\n"...)
		}
	}
	return append(out, '\n'), nil
}

// ParseHeaders splits a message into its headers and its body, which shares memory with msg. It gives those headers only that E2E-spec
// 3.1.2 and 3.2.2 let an exit use: known, well-formed and in order. All others are dropped, as is the second of two headers
// with the same name. A message that does not begin with a well-formed header block is all body.
//
// The first implementation is laxer: it uses headers in any order, and a FROM header whatever it holds. Correct senders see no difference.
func ParseHeaders(msg []byte) (Headers, []byte) {
	var h Headers
	last := ""
	for rest := msg; ; {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return Headers{}, msg
		}
		if len(line) == 0 {
			return h, after
		}
		rest = after
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !headerName(name) || !headerValue(value) {
			return Headers{}, msg
		}
		field := h.field(string(name))
		if field == nil || string(name) <= last {
			continue
		}
		last = string(name)
		if v := trimValue(last, string(value)); objection(last, v) == "" {
			*field = v
		}
	}
}

func headerName(name []byte) bool {
	for _, c := range name {
		if !printable(c) || c == ' ' {
			return false
		}
	}
	return len(name) > 0
}

func headerValue(value []byte) bool {
	for _, c := range value {
		if !printable(c) {
			return false
		}
	}
	return true
}

// trimValue takes the blanks around a value away, and the surplus ones inside a FROM header (E2E-spec 3.2.3).
func trimValue(name, value string) string {
	if name == nameFrom {
		return strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r == ' ' }), " ")
	}
	return strings.Trim(value, " ")
}
