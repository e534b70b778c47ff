package mailin

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// attribution is a line above a quotation that says whom it is of, as mail programs write it.
var attribution = regexp.MustCompile(`(?i)\b(wrote|writes|said|schrieb|schreef|skrev|\x{e9}crit|escribi\x{f3}|escreveu|ha scritto)\b.{0,80}:\s*$` +
	`|^\s*-{2,}\s*(original message|forwarded message|weitergeleitete nachricht|urspr\x{fc}ngliche nachricht)`)

// inlined is the first line of a file in the text itself (uuencode), with its mode and name.
var inlined = regexp.MustCompile(`^begin 0?[0-7]{3} \S`)

// attributes reports whether a line is an attribution. Most lines need no more than a look at their ends.
func attributes(line string) bool {
	trimmed := strings.TrimSpace(line)
	return (strings.HasSuffix(trimmed, ":") || strings.HasPrefix(trimmed, "--")) && attribution.MatchString(line)
}

// textWarnings says what in the text may give its writer away: where, not what, since texts stay out of messages.
func textWarnings(text string, own identity) []string {
	var quoted, attributed, signature, pgp, address, name, inline, control places
	n, before := 0, 0 // before is the last line with something on it if it ends with a colon
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSuffix(line, "\n")
		isQuote := strings.HasPrefix(line, ">")
		isAttribution := attributes(line)
		switch {
		case isAttribution:
			attributed.add(n)
		case isQuote && before > 0:
			attributed.add(before)
		case isQuote:
			quoted.add(n)
		}
		if strings.TrimSpace(line) != "" {
			before = 0
			if !isQuote && strings.HasSuffix(strings.TrimRight(line, " "), ":") && !isAttribution {
				before = n
			}
		}
		if line == "-- " || line == "--" || strings.HasPrefix(line, "Sent from my ") {
			signature.add(n)
		}
		if strings.HasPrefix(line, "-----BEGIN PGP ") {
			pgp.add(n)
		}
		if strings.Contains(line, "@") && own.isIn(line) {
			address.add(n)
		}
		if own.isNamed(line) {
			name.add(n)
		}
		if strings.HasPrefix(line, "begin ") && inlined.MatchString(line) {
			inline.add(n)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < 0x80 && unicode.IsControl(r) && r != '\t' && r != '\v' }) {
			control.add(n)
		}
	}
	if attributed.count > 0 {
		quoted = places{}
	}
	var out []string
	for _, w := range []struct {
		at   places
		text string
	}{
		{address, "%s of the text holds your own mail address"},
		{name, "%s of the text holds a name of yours, as From has it"},
		{signature, "%s of the text begins a signature"},
		{attributed, "%s of the text says whom you quote, and perhaps which mail you got and when"},
		{quoted, "%s of the text quotes a mail, which tells that you have got it"},
		{pgp, "%s of the text begins something of PGP, which names the keys that it was made with or for"},
		{inline, "%s of the text begins a file, and names it"},
		{control, "%s of the text has a control character, so that the mail will not arrive as plain text"},
	} {
		if w.at.count > 0 {
			out = append(out, fmt.Sprintf(w.text, w.at))
		}
	}
	return out
}

// places counts lines and remembers the first of them.
type places struct{ first, count int }

func (p *places) add(line int) {
	if p.count == 0 {
		p.first = line
	}
	p.count++
}

func (p places) String() string {
	if p.count == 1 {
		return fmt.Sprintf("line %d", p.first)
	}
	return fmt.Sprintf("line %d (and %d more)", p.first, p.count-1)
}
