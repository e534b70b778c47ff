package cli

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestRoff(t *testing.T) {
	for in, want := range map[string]string{
		"plain":      "plain",
		"--to":       `\-\-to`,
		`a\b`:        `a\eb`,
		".TH":        `\&.TH`,
		"'quoted":    `\&'quoted`,
		"in.the 'm'": "in.the 'm'",
	} {
		if got := roff(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestParagraphs(t *testing.T) {
	got := paragraphs("One\ntwo.\n\nThree:\n  four\n  five\nsix\n\n  seven\n")
	var texts []string
	for _, p := range got {
		kind := "text "
		if p.example {
			kind = "example "
		}
		texts = append(texts, kind+strings.Join(p.lines, "|"))
	}
	want := []string{"text One|two.", "text Three:", "example four|five", "text six", "example seven"}
	if !slices.Equal(texts, want) {
		t.Errorf("%q", texts)
	}
}

// Every page has what readers look for, and nothing in it begins a line with a request by accident.
func TestManPages(t *testing.T) {
	request := regexp.MustCompile(`^\.(\\" |TH |SH |PP$|TP$|B |I |BR |RS 4$|RE$|nf$|fi$)`)
	for name, page := range Pages() {
		if !strings.HasPrefix(name, "man/") {
			continue
		}
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS"} {
			if !bytes.Contains(page, []byte("\n.SH "+section+"\n")) {
				t.Errorf("%s has no section %s", name, section)
			}
		}
		for i, line := range strings.Split(string(page), "\n") {
			if strings.HasPrefix(line, ".") && !request.MatchString(line) || strings.HasPrefix(line, "'") {
				t.Errorf("%s:%d: %s", name, i+1, line)
			}
		}
	}
}
