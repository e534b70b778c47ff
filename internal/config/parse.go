package config

import (
	"errors"
	"fmt"
	"strings"
)

// parser holds the state between lines. An error never stops it: a value that
// cannot be used is reported and left at its default.
type parser struct {
	file     *File
	sections []Section
	errs     []*Error

	section *Section // where keys now belong; nil before the first, or in an unknown one
	unknown bool     // inside an unknown or repeated section: its keys are not judged

	key   string // the entry that continuation lines would add to
	value string
	line  int // its first line
	open  bool
}

func (p *parser) fail(line int, section, key, format string, args ...any) {
	p.errs = append(p.errs, &Error{
		File: p.file.name, Line: line, Section: section, Key: key, Err: fmt.Errorf(format, args...),
	})
}

func (p *parser) parse(data []byte) {
	if len(data) > MaxFileSize {
		p.fail(0, "", "", "file has %d bytes; at most %d are read", len(data), MaxFileSize)
		return
	}
	n := 0
	for text := range strings.SplitSeq(string(data), "\n") {
		n++
		p.parseLine(n, strings.TrimSuffix(text, "\r"))
	}
	p.flush()
}

func (p *parser) parseLine(n int, text string) {
	if col, c := badCharacter(text); col > 0 {
		p.errs = append(p.errs, &Error{File: p.file.name, Line: n, Column: col,
			Err: fmt.Errorf("character %U is not printable ASCII", c)})
		return
	}
	trimmed := strings.Trim(text, " \t")
	indented := trimmed != "" && text[0] != trimmed[0]
	switch {
	case trimmed == "":
		p.flush()
	case trimmed[0] == '#':
		// A comment may stand between a value and its continuation.
	case indented && trimmed[0] == '[' && strings.HasSuffix(trimmed, "]"):
		p.flush()
		p.fail(n, "", "", "a section must begin in the first column: %s", quote(trimmed))
		p.section, p.unknown = nil, true
	case indented:
		if !p.open {
			p.fail(n, "", "", "a line that begins with a blank continues the line above it, but none is there: %s", quote(trimmed))
			return
		}
		p.value = strings.TrimLeft(p.value+" "+trimmed, " ")
	case trimmed[0] == '[':
		p.flush()
		p.startSection(n, trimmed)
	default:
		p.flush()
		p.startEntry(n, trimmed)
	}
}

// badCharacter returns the first character, with its column from one, that
// may not stand in a file, or column 0.
func badCharacter(text string) (column int, c rune) {
	for _, c := range text {
		column++
		if c != '\t' && (c < ' ' || c > '~') {
			return column, c
		}
	}
	return 0, 0
}

func (p *parser) startSection(n int, text string) {
	p.section, p.unknown = nil, true
	if !strings.HasSuffix(text, "]") {
		p.fail(n, "", "", "section without a closing bracket: %s", quote(text))
		return
	}
	name := text[1 : len(text)-1]
	for i := range p.sections {
		if p.sections[i].Name != name {
			continue
		}
		w := where{name, ""}
		if first := p.file.lines[w]; first > 0 {
			p.fail(n, "", "", "section [%s] stands a second time; the first is in line %d", name, first)
			return
		}
		p.file.lines[w] = n
		p.section, p.unknown = &p.sections[i], false
		return
	}
	names := make([]string, 0, len(p.sections))
	for _, s := range p.sections {
		names = append(names, s.Name)
	}
	hint := ""
	if s, fold := nearest(name, names); fold {
		hint = fmt.Sprintf("; capitals matter: [%s]", s)
	} else if s != "" {
		hint = fmt.Sprintf("; did you mean [%s]?", s)
	}
	p.fail(n, "", "", "unknown section %s%s", quote("["+name+"]"), hint)
}

// startEntry splits "Key: value", "Key=value" or "Key value".
func (p *parser) startEntry(n int, text string) {
	end := strings.IndexAny(text, " \t:=")
	if end <= 0 {
		p.fail(n, "", "", "expected \"Key: value\", found %s", quote(text))
		return
	}
	p.key, p.line, p.open = text[:end], n, true
	rest := strings.TrimLeft(text[end:], " \t")
	if rest != "" && (rest[0] == ':' || rest[0] == '=') {
		rest = rest[1:]
	}
	p.value = strings.TrimLeft(rest, " \t")
}

// flush stores the entry whose last line has been seen.
func (p *parser) flush() {
	if !p.open {
		return
	}
	p.open = false
	if p.section == nil {
		if !p.unknown {
			p.fail(p.line, "", "", "key %s stands before the first [Section]", quote(p.key))
		}
		return
	}
	k := p.section.find(p.key)
	if k == nil {
		p.unknownKey()
		return
	}
	section := p.section.Name
	if strings.Contains(p.value, "\t") {
		p.fail(p.line, section, p.key, "a value must not contain tabs")
		return
	}
	w := where{section, k.Name}
	first := p.file.lines[w]
	if first == 0 {
		p.file.lines[w] = p.line
	} else if !k.Repeatable() {
		p.fail(p.line, "", "", "[%s] %s is given a second time; the first is in line %d", section, p.key, first)
		return
	}
	if p.key != k.Name {
		p.file.lines[where{section, p.key}] = p.line
	}
	if err := bind(k.To).Set(p.value); err != nil {
		p.fail(p.line, section, p.key, "%w", err)
	}
}

func (s *Section) find(name string) *Key {
	for i := range s.Keys {
		if k := &s.Keys[i]; k.Name == name || k.Alias != "" && k.Alias == name {
			return k
		}
	}
	return nil
}

func (p *parser) unknownKey() {
	names := make([]string, 0, len(p.section.Keys))
	for _, k := range p.section.Keys {
		names = append(names, k.Name)
	}
	hint := ""
	if s, fold := nearest(p.key, names); fold {
		hint = "; capitals matter: " + s
	} else if other := p.elsewhere(p.key); other != "" {
		hint = fmt.Sprintf("; it belongs in section [%s]", other)
	} else if s != "" {
		hint = fmt.Sprintf("; did you mean %s?", s)
	}
	p.fail(p.line, "", "", "unknown key %s in section [%s]%s", quote(p.key), p.section.Name, hint)
}

// elsewhere returns the section that knows the key, if exactly one does.
func (p *parser) elsewhere(key string) string {
	found := ""
	for i := range p.sections {
		if p.sections[i].find(key) == nil {
			continue
		}
		if found != "" {
			return ""
		}
		found = p.sections[i].Name
	}
	return found
}

var errMissing = errors.New("is missing, but required in this section")

// required reports the required keys that are missing from present sections.
func (p *parser) required() {
	for _, s := range p.sections {
		line := p.file.lines[where{s.Name, ""}]
		if line == 0 {
			continue
		}
		for _, k := range s.Keys {
			if k.Required && !p.file.Given(s.Name, k.Name) {
				p.fail(line, s.Name, k.Name, "%w", errMissing)
			}
		}
	}
}

// quote makes a piece of a file safe and short enough for an error text.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%q", s)
}
