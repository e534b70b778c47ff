package path

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"mixminion/directory"
)

// A SpecError says where a path specification is wrong, and what is.
type SpecError struct {
	Column int // of the byte, counted from 1
	Msg    string
}

func (e *SpecError) Error() string {
	return fmt.Sprintf("path specification, column %d: %s", e.Column, e.Msg)
}

// ParseSpec reads a path specification: elements separated by "," and at most one ":" between two legs, with blanks around them as one
// likes (path-spec 3.1). An element is a nickname, "?", "*N", "~N", or the name of a descriptor file: anything in single or
// double quotes, or without quotes when it contains "/" or ".". Errors are of type *SpecError.
func ParseSpec(text string) (Spec, error) {
	var s Spec
	if len(text) > maxSpecLen {
		return s, &SpecError{maxSpecLen + 1, fmt.Sprintf("longer than %d characters", maxSpecLen)}
	}
	p := specParser{text: text}
	leg := &s.Leg1
	for n := 1; ; n++ {
		if n > maxElements {
			return Spec{}, p.errorf("more than %d elements", maxElements)
		}
		e, err := p.element()
		if err != nil {
			return Spec{}, err
		}
		*leg = append(*leg, e)
		p.skipBlanks()
		switch p.peek() {
		case 0:
			return s, nil
		case ',':
		case ':':
			if s.Split {
				return Spec{}, p.errorf("only one ':' is permitted in a path")
			}
			s.Split, leg = true, &s.Leg2
		default:
			return Spec{}, p.errorf("expected ',' or ':' behind %s", e)
		}
		p.pos++
	}
}

type specParser struct {
	text string
	pos  int
}

func (p *specParser) errorf(format string, args ...any) error {
	return &SpecError{p.pos + 1, fmt.Sprintf(format, args...)}
}

// peek returns the next byte, or 0 at the end. NUL itself is no part of any element.
func (p *specParser) peek() byte {
	if p.pos == len(p.text) {
		return 0
	}
	if p.text[p.pos] == 0 {
		return ' '
	}
	return p.text[p.pos]
}

func (p *specParser) skipBlanks() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t') {
		p.pos++
	}
}

func (p *specParser) element() (Element, error) {
	p.skipBlanks()
	switch c := p.peek(); c {
	case 0, ',', ':':
		return Element{}, p.errorf("a server, '?', '*N' or '~N' is missing here")
	case '?':
		p.pos++
		return Element{Kind: Random}, nil
	case '*':
		n, err := p.number(`'*' needs the number of hops behind it, such as "*2"`)
		return Element{Kind: Count, N: n}, err
	case '~':
		n, err := p.number(`'~' needs the average number of hops behind it, such as "~4"`)
		return Element{Kind: Gaussian, N: n}, err
	case '\'', '"':
		return p.quoted(c)
	}
	return p.bare()
}

// number reads the digits behind "*" or "~".
func (p *specParser) number(missing string) (int, error) {
	p.pos++
	rest := p.text[p.pos:]
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	if digits == "" {
		return 0, p.errorf("%s", missing)
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n > MaxHops {
		return 0, p.errorf("at most %d hops are allowed", MaxHops)
	}
	p.pos += len(digits)
	return n, nil
}

func (p *specParser) quoted(quote byte) (Element, error) {
	name, _, closed := strings.Cut(p.text[p.pos+1:], string(quote))
	switch {
	case !closed:
		return Element{}, p.errorf("the quote is not closed")
	case name == "":
		return Element{}, p.errorf("there is no name between the quotes")
	case !isPrintable(name):
		return Element{}, p.errorf("the name contains unprintable characters")
	}
	p.pos += len(name) + 2
	return Element{Kind: File, Name: name}, nil
}

func (p *specParser) bare() (Element, error) {
	name := p.text[p.pos:]
	if end := strings.IndexAny(name, ",: \t"); end >= 0 {
		name = name[:end]
	}
	var e Element
	switch {
	case directory.ValidNickname(name):
		e = Element{Kind: Named, Name: name}
	case strings.ContainsAny(name, "/.") && !strings.ContainsAny(name, `'"?*~`) && isPrintable(name):
		e = Element{Kind: File, Name: name}
	default:
		return Element{}, p.errorf("%.40q is not a nickname; put the name of a descriptor file in quotes", name)
	}
	p.pos += len(name)
	return e, nil
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
