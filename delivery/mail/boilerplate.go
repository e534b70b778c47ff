package mail

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mixminion/message"
)

// The names of the templates: the texts in a mail that an operator can replace.
const (
	TemplateSubject        = "subject.txt"             // the Subject line when the sender gave none
	TemplateDisclaimer     = "disclaimer.txt"          // above every message
	TemplateBinary         = "note-binary.txt"         // above a message that is not text
	TemplateEncrypted      = "note-encrypted.txt"      // above a message that the exit cannot read
	TemplateFragment       = "note-fragment.txt"       // above a part of a longer message
	TemplateOvercompressed = "note-overcompressed.txt" // above a message that is left compressed
	TemplateOptOut         = "optout.txt"              // below every message of an exit that has an opt-out address
)

// MaxTemplate is how many bytes a template may have.
const MaxTemplate = 4096

// maxSubject bounds a subject of the operator's.
const maxSubject = 200

//go:embed templates/*.txt
var shipped embed.FS

// TemplateNames lists the templates in alphabetical order.
func TemplateNames() []string {
	return []string{
		TemplateDisclaimer, TemplateBinary, TemplateEncrypted, TemplateFragment, TemplateOvercompressed, TemplateOptOut, TemplateSubject,
	}
}

// ShippedTemplate returns the text of a template as it is without an operator's own; nil if there is no such template.
func ShippedTemplate(name string) []byte {
	if !slices.Contains(TemplateNames(), name) {
		return nil
	}
	text, err := shipped.ReadFile("templates/" + name)
	if err != nil {
		return nil
	}
	return text
}

// TemplateError says what is wrong with a template.
type TemplateError struct {
	Name string
	Line int // from 1; 0 when it is about the whole file
	Err  error
}

func (e *TemplateError) Error() string {
	if e.Line == 0 {
		return e.Name + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s:%d: %v", e.Name, e.Line, e.Err)
}

func (e *TemplateError) Unwrap() error { return e.Err }

// boilerplate is the operator's part of a mail, ready to be used: texts end with CRLF and an empty line, or are "".
type boilerplate struct {
	subject    string
	disclaimer string
	notes      map[message.Form]string
	optOut     string // begins with an empty line instead
}

// placeholders are what may stand in braces in a template.
type placeholders map[string]string

// fill makes the boilerplate of the operator's templates and, for those that are missing, the shipped ones.
func fill(own map[string][]byte, values placeholders) (*boilerplate, error) {
	names := TemplateNames()
	texts := map[string]string{}
	for name := range own {
		if !slices.Contains(names, name) {
			return nil, &TemplateError{Name: name, Err: errors.New("no template has this name; there are " + strings.Join(names, ", "))}
		}
	}
	for _, name := range names {
		source, given := own[name]
		if !given {
			source = ShippedTemplate(name)
		}
		if name == TemplateOptOut && values[optOutAddress] == "" && !given {
			continue // there is nothing that it could say
		}
		text, err := fillTemplate(name, source, values)
		if err != nil {
			return nil, err
		}
		texts[name] = text
	}
	b := &boilerplate{
		subject:    strings.TrimSuffix(texts[TemplateSubject], "\r\n"),
		disclaimer: paragraph(texts[TemplateDisclaimer]),
		notes: map[message.Form]string{
			message.FormBinary:         paragraph(texts[TemplateBinary]),
			message.FormEncrypted:      paragraph(texts[TemplateEncrypted]),
			message.FormFragment:       paragraph(texts[TemplateFragment]),
			message.FormOvercompressed: paragraph(texts[TemplateOvercompressed]),
		},
	}
	if text := texts[TemplateOptOut]; text != "" {
		b.optOut = "\r\n" + text
	}
	switch lines := strings.Count(b.subject, "\r\n") + 1; {
	case b.subject == "":
		return nil, &TemplateError{Name: TemplateSubject, Err: errors.New("it is empty; a mail needs a subject")}
	case lines > 1:
		return nil, &TemplateError{Name: TemplateSubject, Line: 2, Err: errors.New("a subject has one line")}
	case len(b.subject) > maxSubject:
		return nil, &TemplateError{Name: TemplateSubject, Line: 1, Err: fmt.Errorf("a subject has at most %d characters", maxSubject)}
	case strings.HasPrefix(b.subject, " "):
		b.subject = strings.TrimLeft(b.subject, " ")
	}
	return b, nil
}

// paragraph adds the empty line that parts a text from what follows it.
func paragraph(text string) string {
	if text == "" {
		return ""
	}
	return text + "\r\n"
}

// fillTemplate puts the values into a template and checks it: printable ASCII, so that armored data below it travels as it is; nothing
// that could pass for the border of a message; lines that fit into a mail.
func fillTemplate(name string, source []byte, values placeholders) (string, error) {
	fail := func(line int, format string, args ...any) (string, error) {
		return "", &TemplateError{Name: name, Line: line, Err: fmt.Errorf(format, args...)}
	}
	if len(source) > MaxTemplate {
		return fail(0, "it has %d bytes; %d are allowed", len(source), MaxTemplate)
	}
	var b strings.Builder
	text := strings.ReplaceAll(string(source), "\r\n", "\n")
	empty := 0 // lines that wait for one that is not empty
	for i, line := range strings.Split(text, "\n") {
		n := i + 1
		line = strings.TrimRight(line, " \t")
		if !printable(line) {
			return fail(n, "only printable ASCII characters may stand here: with others, the message below would have to be encoded")
		}
		if strings.Contains(line, "-----") {
			return fail(n, "five dashes in a row could pass for the border of a message; use fewer, or another character")
		}
		filled, err := values.put(line)
		if err != nil {
			return fail(n, "%w", err)
		}
		if len(filled) > maxLine {
			return fail(n, "the line has %d characters; a mail allows %d", len(filled), maxLine)
		}
		if filled == "" {
			empty++
			continue
		}
		if b.Len() > 0 {
			b.WriteString(strings.Repeat("\r\n", empty))
		}
		empty = 0
		b.WriteString(filled + "\r\n")
	}
	return b.String(), nil
}

// put replaces the placeholders in a line.
func (p placeholders) put(line string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(line, "{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}")
		value, known := p[name]
		switch {
		case !closed || !known:
			return "", fmt.Errorf("{ must begin one of the placeholders %s", p.names())
		case value == "" && name == optOutAddress:
			return "", fmt.Errorf("{%s} stands here, and OptOutAddress is not given", name)
		case value == "":
			return "", fmt.Errorf("nothing is known that could stand for {%s}", name)
		}
		b.WriteString(value)
		line = after
	}
}

const optOutAddress = "optout-address"

func (p placeholders) names() string {
	var names []string
	for name := range p {
		names = append(names, "{"+name+"}")
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
