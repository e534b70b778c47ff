package directory

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// parseVersions reads a list of versions of programs, which may be empty, and gives it sorted and without repetitions.
func parseVersions(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	list, err := parseList(s)
	if err != nil {
		return nil, err
	}
	if len(list) > maxVersions {
		return nil, fmt.Errorf("more than %d versions", maxVersions)
	}
	for _, v := range list {
		if !validVersion(v) {
			return nil, errors.New("not a list of versions")
		}
	}
	slices.SortFunc(list, CompareVersions)
	return slices.Compact(list), nil
}

func validVersion(s string) bool {
	return s != "" && len(s) <= maxVersionLen && isDigit(s[0]) &&
		strings.IndexFunc(s, func(c rune) bool {
			return c > '~' || !isLetter(byte(c)) && !isDigit(byte(c)) && !strings.ContainsRune(".+-_", c)
		}) < 0
}

// CompareVersions orders versions of programs as 0.0.8alpha3 < 0.0.8rc1 < 0.0.8 < 0.0.8.1 < 0.0.10: numbers count as
// numbers, a word makes a version earlier than the same without it, and words stand in the order of the alphabet.
// Versions that this does not tell apart, such as 0.1 and 0.01, are ordered as text, so that everybody sorts a list in
// the same way.
func CompareVersions(a, b string) int {
	x, y := a, b
	for x != "" || y != "" {
		var p, q versionPart
		p, x = nextPart(x)
		q, y = nextPart(y)
		if c := p.compare(q); c != 0 {
			return c
		}
	}
	return strings.Compare(a, b)
}

type versionPart struct {
	kind int
	text string // a number has no leading zeros
}

func (p versionPart) compare(q versionPart) int {
	c := cmp.Compare(p.kind, q.kind)
	if c == 0 && p.kind == partNumber {
		c = cmp.Compare(len(p.text), len(q.text))
	}
	return cmp.Or(c, strings.Compare(p.text, q.text))
}

// The order of what can follow equal beginnings.
const (
	partWord = iota
	partEnd
	partNumber
)

func nextPart(s string) (versionPart, string) {
	s = strings.TrimLeft(s, ".+-_")
	if s == "" {
		return versionPart{kind: partEnd}, ""
	}
	n := 0
	if isDigit(s[0]) {
		for n < len(s) && isDigit(s[n]) {
			n++
		}
		return versionPart{partNumber, strings.TrimLeft(s[:n], "0")}, s[n:]
	}
	for n < len(s) && isLetter(s[n]) {
		n++
	}
	return versionPart{partWord, s[:n]}, s[n:]
}
