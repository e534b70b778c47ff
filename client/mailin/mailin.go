// Package mailin takes a mail as mail programs write it (RFC 5322, MIME) apart, and keeps what an anonymous message can carry: the
// recipients, the subject, the name in From, the identifiers in In-Reply-To and References, and the text.
//
// What else stands in a mail tells who wrote it, with which program, when and where: it is dropped, and the caller learns what. Parts
// that are no plain text are not dropped but refused, since a writer who attached something wants it to arrive. What is kept can give
// its writer away as well; the warnings say where to look.
//
// A header of a message holds printable ASCII (E2E-spec 3.1.2). Subjects in other scripts become encoded words of RFC 2047, always in
// the same form, whatever the mail program had made of them.
package mailin

import (
	"errors"
	"fmt"

	"mixminion/message"
)

// MaxMail is how long a mail may be, in bytes.
const MaxMail = 64 << 20

const (
	maxHeader     = 256 << 10 // bytes of the header
	maxRecipients = 1000
	maxDepth      = 8   // of parts within parts
	maxParts      = 100 // of all depths together
	maxShown      = 60  // characters of what a mail says that stand in an error's text
)

// Errors of Parse. Their texts name what is in the way, and hold neither addresses nor text of the mail.
var (
	// ErrMail says that what was given is no mail, or a damaged one.
	ErrMail = errors.New("not a mail that can be read")
	// ErrPart says that the mail has something in it that is no plain text.
	ErrPart = errors.New("only plain text can be sent")
	// ErrCharset says that the text or a header is in an unknown charset or encoding, or not in the one that it claims.
	ErrCharset = errors.New("characters that cannot be understood")
	// ErrTooLong says that the mail or its header is too long, or has too many recipients.
	ErrTooLong = errors.New("the mail is too long")
)

// A Mail is what is kept of a mail.
type Mail struct {
	// To, Cc and Bcc are the bare addresses in the fields of that name, in their order. Nobody has checked yet whether mail
	// can be sent there.
	To, Cc, Bcc []string
	Headers     message.Headers
	// Body is the text in UTF-8, with lines that end in a bare NL.
	Body []byte
	// Resent says that the mail was sent before, to To, Cc and Bcc, and that whoever sends it now means others.
	Resent bool

	Dropped  []string // names of the header fields that are not kept, each once, in their order
	Warnings []string // what in the mail may give the writer away, a clause each
}

// Parse takes a mail apart.
func Parse(raw []byte) (*Mail, error) {
	if len(raw) > MaxMail {
		return nil, fmt.Errorf("%w: more than %d MB", ErrTooLong, MaxMail>>20)
	}
	header, text, err := read(raw)
	if err != nil {
		return nil, err
	}
	m := &Mail{Body: text}
	f := fields{header: header, mail: m}
	if err := f.collect(); err != nil {
		return nil, err
	}
	m.Warnings = append(m.Warnings, f.warnings()...)
	m.Warnings = append(m.Warnings, textWarnings(string(text), f.own)...)
	return m, nil
}

// shown is something that the mail says, for an error's text.
func shown(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "..."
	}
	return fmt.Sprintf("%q", s)
}
