package mail

import (
	"bytes"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"mixminion/message"
)

// wrapWidth is where the operator's own texts are broken.
const wrapWidth = 70

// wrap fills lines of at most wrapWidth columns with the words of text: prefix in front of the first line, indent in front of the
// others, CRLF between them. A longer word has a line of its own.
func wrap(prefix, text, indent string) string {
	var b strings.Builder
	b.WriteString(prefix)
	column, lineEmpty := len(prefix), true
	for _, word := range strings.Fields(text) {
		switch {
		case lineEmpty:
		case column+1+len(word) > wrapWidth:
			b.WriteString("\r\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
		lineEmpty = false
	}
	return b.String()
}

// longLine reports whether text has a line that is too long for a mail.
func longLine(text string) bool {
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > maxLine {
			return true
		}
	}
	return false
}

// note is what a recipient has to know about a message that is not plain text.
func (b *boilerplate) note(f message.Form) string {
	if f == message.FormPlaintext {
		return ""
	}
	if note, ok := b.notes[f]; ok {
		return note
	}
	return b.notes[message.FormEncrypted]
}

// encoding is how a text travels in the mail. Bytes above 127 always travel as quoted-printable, whatever the next server offers:
// the bytes of a mail then depend on nothing but the message.
type encoding struct {
	quoted bool // quoted-printable, else 7bit
	utf8   bool
}

func chooseEncoding(text []byte) (encoding, error) {
	var e encoding
	if !utf8.Valid(text) {
		return e, ErrNotText
	}
	column := 0
	for _, c := range text {
		column++
		switch {
		case c == 0:
			return e, ErrNotText
		case c == '\n', c == '\r':
			column = 0
		case c >= 0x80:
			e.utf8, e.quoted = true, true
		case c < 0x20 && c != '\t', c == 0x7F:
			e.quoted = true
		}
		if column > maxLine {
			e.quoted = true
		}
	}
	return e, nil
}

func (e encoding) charset() string {
	if e.utf8 {
		return "utf-8"
	}
	return "us-ascii"
}

func (e encoding) transferEncoding() string {
	if e.quoted {
		return "quoted-printable"
	}
	return "7bit"
}

// append appends text to dst. CRLF, LF and a lone CR all become CRLF: a lone CR or LF means different things to different mail
// servers, and what follows it could pass for a mail of its own.
func (e encoding) append(dst, text []byte) []byte {
	if len(text) == 0 {
		return dst
	}
	if e.quoted {
		a := appender{dst}
		q := quotedprintable.NewWriter(&a)
		// Neither call can fail: an appender takes everything.
		_, _ = q.Write(text)
		_ = q.Close()
		return endLine(a.b)
	}
	for len(text) > 0 {
		end := bytes.IndexAny(text, "\r\n")
		if end < 0 {
			dst = append(dst, text...)
			break
		}
		dst = append(dst, text[:end]...)
		dst = append(dst, "\r\n"...)
		if text[end] == '\r' && end+1 < len(text) && text[end+1] == '\n' {
			end++
		}
		text = text[end+1:]
	}
	return endLine(dst)
}

func endLine(b []byte) []byte {
	if bytes.HasSuffix(b, []byte("\r\n")) {
		return b
	}
	return append(b, "\r\n"...)
}

type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}
