package directory

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	got, err := Parse([]byte("[One]\r\nKey: value\rOther:\tx  y \n[Two]\n[Three] \nempty:\nspaced : v:w\n[Four]\nlast: 1"), DescriptorLimits)
	if err != nil {
		t.Fatal(err)
	}
	want := []Section{
		{Name: "One", Line: 1, Entries: []Entry{{"Key", "value", 2}, {"Other", "x  y", 3}}},
		{Name: "Two", Line: 4},
		{Name: "Three", Line: 5, Entries: []Entry{{"empty", "", 6}, {"spaced", "v:w", 7}}},
		{Name: "Four", Line: 8, Entries: []Entry{{"last", "1", 9}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	limits := Limits{Bytes: 100, Sections: 3, Entries: 3}
	for name, c := range map[string]struct {
		text string
		line int
	}{
		"nothing":                 {"", 0},
		"one empty line":          {"\n", 1},
		"empty line":              {"[A]\n\nb: c\n", 2},
		"line of blanks":          {"[A]\n \t\nb: c\n", 2},
		"CR CR LF":                {"[A]\r\r\n", 2},
		"comment":                 {"[A]\n# b: c\n", 2},
		"continuation":            {"[A]\nb: c\n d\n", 3},
		"indented entry":          {"[A]\n\tb: c\n", 2},
		"entry without section":   {"b: c\n", 1},
		"no colon":                {"[A]\nb c\n", 2},
		"no key":                  {"[A]\n: c\n", 2},
		"blank in key":            {"[A]\nb d: c\n", 2},
		"bracket in key":          {"[A]\nb]: c\n", 2},
		"open header":             {"[A\n", 1},
		"empty header":            {"[]\n", 1},
		"blank in header":         {"[A B]\n", 1},
		"text behind header":      {"[A] b\n", 1},
		"colon in header":         {"[A:B]\n", 1},
		"NUL":                     {"[A]\nb: \x00\n", 2},
		"DEL":                     {"[A]\nb: \x7f\n", 2},
		"not ASCII":               {"[A]\nb: \u00e9\n", 2},
		"form feed":               {"[A]\nb: c\f\n", 2},
		"too long":                {"[A]\nb: " + strings.Repeat("c", 100), 0},
		"too many sections":       {"[A]\n[A]\n[A]\n[A]\n", 4},
		"too many entries":        {"[A]\na: b\na: b\n[B]\na: b\na: b\n", 6},
		"byte order mark":         {"\ufeff[A]\n", 1},
		"section in another line": {"x[A]\n", 1},
	} {
		_, err := Parse([]byte(c.text), limits)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s: %v", name, err)
		} else if syntax.Line != c.line {
			t.Errorf("%s: line %d, want %d (%v)", name, syntax.Line, c.line, err)
		}
	}
}

func TestFormatRefuses(t *testing.T) {
	for name, s := range map[string]Section{
		"no name":          {},
		"bracket":          {Name: "A]"},
		"no key":           {Name: "A", Entries: []Entry{{Value: "v"}}},
		"colon in key":     {Name: "A", Entries: []Entry{{Key: "a:b"}}},
		"comment":          {Name: "A", Entries: []Entry{{Key: "#a"}}},
		"two lines":        {Name: "A", Entries: []Entry{{Key: "a", Value: "b\nc: d"}}},
		"two lines, CR":    {Name: "A", Entries: []Entry{{Key: "a", Value: "b\rc: d"}}},
		"blank at the end": {Name: "A", Entries: []Entry{{Key: "a", Value: "b "}}},
		"not ASCII":        {Name: "A", Entries: []Entry{{Key: "a", Value: "\u00e9"}}},
	} {
		if text, err := Format([]Section{s}); err == nil {
			t.Errorf("%s: written as %q", name, text)
		}
	}
}

func TestFormatThenParse(t *testing.T) {
	identifier := rapid.StringMatching(`[!-"$-9;-Z\\^-~][!-9;-Z\\^-~]{0,10}`)
	value := rapid.StringMatching(`([!-~]([ -~\t]{0,30}[!-~])?)?`)
	entry := rapid.Custom(func(t *rapid.T) Entry {
		return Entry{Key: identifier.Draw(t, "key"), Value: value.Draw(t, "value")}
	})
	section := rapid.Custom(func(t *rapid.T) Section {
		return Section{Name: identifier.Draw(t, "name"), Entries: rapid.SliceOfN(entry, 0, 6).Draw(t, "entries")}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(section, 1, 6).Draw(t, "sections")
		text, err := Format(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(text, DescriptorLimits)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Format(got)
		if err != nil || string(again) != string(text) {
			t.Fatalf("%q became %q (%v)", text, again, err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d sections became %d", len(want), len(got))
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range loadVectors(f).Servers {
		f.Add(readFile(f, s.File))
	}
	f.Add([]byte("[A]\r\nb : c\r[D]\ne:"))
	f.Fuzz(func(t *testing.T, text []byte) {
		sections, err := Parse(text, DescriptorLimits)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		out, err := Format(sections)
		if err != nil {
			t.Fatalf("parsed text cannot be written: %v", err)
		}
		again, err := Parse(out, DescriptorLimits)
		if err != nil && len(out) <= DescriptorLimits.Bytes {
			t.Fatalf("written text cannot be parsed: %v", err)
		}
		if err == nil {
			if diff := cmp.Diff(sections, again); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
