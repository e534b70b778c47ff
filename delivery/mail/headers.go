package mail

import (
	"fmt"
	"mime"
	"strings"
	"unicode"
)

const (
	maxLine  = 998 // characters of a mail's line without its CRLF (RFC 5322, 2.1.1)
	maxValue = 900 // characters of a header value in a payload (E2E-spec 3.1.2)

	maxReferences = 100
)

// fromLine is the From header for the name that a sender chose. A name that is not allowed, and "", give the bare return address.
func (w *Writer) fromLine(name string) string {
	const header = "From: "
	plain := header + w.returnAddress
	if !w.allowFrom || !allowedName(name) {
		return plain
	}
	quoted := strings.ReplaceAll(collapse(name), `\`, `\\`)
	if quoted == "" {
		return plain
	}
	line := header + `"` + w.fromTag + " " + quoted + `" <` + w.returnAddress + ">"
	if len(line) > maxLine {
		return plain
	}
	return line
}

// allowedName checks a name as E2E-spec 3.2.2 wants it. Beyond that it refuses "=?": some mail programs decode an encoded word even
// inside quotes, where it could draw over the tag that marks the name as an anonymous sender's.
func allowedName(name string) bool {
	return len(name) <= maxValue && printable(name) && !strings.ContainsAny(name, `"[]:`) && !strings.Contains(name, "=?")
}

func (w *Writer) subjectFor(s string) string {
	if len(s) > maxValue || !printable(s) {
		return w.text.subject
	}
	if s = strings.Trim(s, " "); s == "" || !harmlessWords(s) {
		return w.text.subject
	}
	return s
}

// harmlessWords reports whether the encoded words in s, if any, all are well-formed and hold visible characters. Mail programs decode
// them, and some would act on a line end or a change of direction in one.
func harmlessWords(s string) bool {
	if !strings.Contains(s, "=?") {
		return true
	}
	text, err := new(mime.WordDecoder).DecodeHeader(s)
	if err != nil || strings.Contains(text, "=?") {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsGraphic(r) })
}

// messageIDs returns the message identifiers in s with one space between them, or "" when s is anything but a list of one to limit
// of them.
func messageIDs(s string, limit int) string {
	if len(s) > maxValue || !printable(s) {
		return ""
	}
	ids := strings.Fields(s)
	if len(ids) > limit {
		return ""
	}
	for _, id := range ids {
		if !validMessageID(id) {
			return ""
		}
	}
	return strings.Join(ids, " ")
}

// validMessageID accepts the identifiers of today's mail (RFC 5322, 3.6.4) and none of the obsolete forms.
func validMessageID(id string) bool {
	if len(id) < 2 || id[0] != '<' || id[len(id)-1] != '>' {
		return false
	}
	left, right, found := strings.Cut(id[1:len(id)-1], "@")
	return found && validDotAtom(left) && (validDotAtom(right) || validLiteral(right))
}

// validLiteral accepts what stands between brackets in place of a domain.
func validLiteral(s string) bool {
	return len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' && !strings.ContainsAny(s[1:len(s)-1], `[]\ `)
}

// fixedHeaders are the header lines that every mail of an exit has.
func fixedHeaders(o Options) (string, error) {
	var b strings.Builder
	b.WriteString("X-Anonymous: yes\r\n")
	for _, h := range []struct{ name, text string }{{"X-Abuse: ", o.Abuse}, {"Comments: ", o.Comments}} {
		if collapse(h.text) == "" {
			continue
		}
		text := wrap(h.name, h.text, "    ")
		if longLine(text) {
			return "", fmt.Errorf("%sa word of more than %d characters does not fit into a mail header", h.name, maxLine)
		}
		b.WriteString(text + "\r\n")
	}
	if o.OptOut != "" {
		b.WriteString("List-Unsubscribe: <mailto:" + escape(o.OptOut) + "?subject=opt-out>\r\n")
	}
	return b.String(), nil
}

// escape writes a mailbox as it stands in a mailto URL (RFC 6068, 2).
func escape(addr string) string {
	var b strings.Builder
	for i := range len(addr) {
		switch c := addr[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~@+", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			return false
		}
	}
	return true
}

// collapse removes white space at both ends of s and makes one space of every run of it in between.
func collapse(s string) string { return strings.Join(strings.Fields(s), " ") }
