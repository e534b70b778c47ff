package path

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseSpec(t *testing.T) {
	named := func(n string) Element { return Element{Kind: Named, Name: n} }
	file := func(n string) Element { return Element{Kind: File, Name: n} }
	for text, c := range map[string]struct {
		want      Spec
		canonical string
	}{
		"alice":                   {Spec{Leg1: []Element{named("alice")}}, "alice"},
		"alice,?,*2:~3,bob":       {Spec{[]Element{named("alice"), {Kind: Random}, {Kind: Count, N: 2}}, []Element{{Kind: Gaussian, N: 3}, named("bob")}, true}, "alice,?,*2:~3,bob"},
		" a\t, b :c ,\t~0 ":       {Spec{[]Element{named("a"), named("b")}, []Element{named("c"), {Kind: Gaussian}}, true}, "a,b:c,~0"},
		"*032":                    {Spec{Leg1: []Element{{Kind: Count, N: 32}}}, "*32"},
		"'a,b:c',x/y,z.desc":      {Spec{Leg1: []Element{file("a,b:c"), file("x/y"), file("z.desc")}}, "'a,b:c','x/y','z.desc'"},
		`"it's",'say "x"',"a"`:    {Spec{Leg1: []Element{file("it's"), file(`say "x"`), file("a")}}, `"it's",'say "x"','a'`},
		"'\u00fcber/stra\u00dfe'": {Spec{Leg1: []Element{file("\u00fcber/stra\u00dfe")}}, "'\u00fcber/stra\u00dfe'"},
	} {
		got, err := ParseSpec(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
		if got.String() != c.canonical {
			t.Errorf("%q: printed as %q", text, got)
		}
	}
}

func TestParseSpecRefuses(t *testing.T) {
	for text, column := range map[string]int{
		"":                             1,
		"  ":                           3,
		",a":                           1,
		"a,":                           3,
		"a,,b":                         3,
		":a":                           1,
		"a:":                           3,
		"a:b:c":                        4,
		"a b":                          3,
		"?2":                           2,
		"??":                           2,
		"*":                            2,
		"~":                            2,
		"*x":                           2,
		"*3x":                          3,
		"*-1":                          2,
		"* 3":                          2,
		"~33":                          2,
		"*99999999999999999999":        2,
		"a,'b":                         3,
		"''":                           1,
		"'a'b":                         4,
		"'a\nb'":                       1,
		"'\xff'":                       1,
		"x'y/z":                        1,
		"9lives":                       1,
		"-a":                           1,
		"a_b":                          1,
		"a\nb":                         1,
		"a\x00":                        1,
		"a,\x00":                       3,
		"./\x00":                       1,
		strings.Repeat("n", 25):        1,
		strings.Repeat("a,", 64) + "a": 129,
		strings.Repeat(" ", 5000):      4097,
	} {
		s, err := ParseSpec(text)
		var spec *SpecError
		if !errors.As(err, &spec) {
			t.Errorf("%q: %v, %v", text, s, err)
		} else if spec.Column != column {
			t.Errorf("%q: column %d, want %d (%v)", text, spec.Column, column, err)
		}
	}
}

func TestSpecCheck(t *testing.T) {
	for _, c := range []struct {
		spec    string
		kind    Kind
		lastHop bool
		want    error
	}{
		{"a", Forward, false, ErrTooShort}, {"a", Forward, true, nil}, {"a", Reply, false, nil}, {"a", SURB, false, nil},
		{"a,b", Forward, false, nil}, {"a:b", Forward, false, nil}, {"a:b", Reply, false, ErrSwap}, {"a:b", SURB, false, ErrSwap},
		{"?", Forward, false, ErrTooShort}, {"*1", Forward, false, ErrTooShort}, {"*2", Forward, false, nil}, {"~1", Forward, false, nil},
		{"~0", Forward, false, nil}, {"~0,*0", Forward, false, nil}, {"*0", Reply, false, ErrTooShort}, {"*0", SURB, true, nil},
		{"*0:a", Forward, false, ErrTooShort}, {"a:*0", Forward, false, ErrTooShort}, {"a:*0", Forward, true, nil},
		{"*0,a:b", Forward, false, nil}, {"~1:~1", Forward, false, nil}, {"*0", Forward, true, ErrTooShort},
	} {
		s, err := ParseSpec(c.spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(c.kind, c.lastHop); !errors.Is(err, c.want) {
			t.Errorf("%s, kind %d, last hop %v: %v", c.spec, c.kind, c.lastHop, err)
		}
	}
	if err := (Spec{}).Check(Forward, false); err != nil {
		t.Error(err)
	}
}

// anySpec draws specifications over the servers a, b, c, ...
func anySpec(split bool) *rapid.Generator[Spec] {
	element := rapid.Custom(func(t *rapid.T) Element {
		e := Element{Kind: ElementKind(rapid.IntRange(int(Named), int(Gaussian)).Draw(t, "kind"))}
		switch e.Kind {
		case Named:
			e.Name = rapid.StringMatching(`[a-hA-H]`).Draw(t, "name")
		case File:
			e.Name = rapid.StringMatching(`[a-h]|[a-h/., :]{2,4}`).Draw(t, "file")
		case Count, Gaussian:
			e.N = rapid.IntRange(0, 4).Draw(t, "n")
		}
		return e
	})
	return rapid.Custom(func(t *rapid.T) Spec {
		s := Spec{Leg1: rapid.SliceOfN(element, 1, 4).Draw(t, "leg 1")}
		if split && rapid.Bool().Draw(t, "split") {
			s.Split, s.Leg2 = true, rapid.SliceOfN(element, 1, 4).Draw(t, "leg 2")
		}
		return s
	})
}

func TestSpecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anySpec(true).Draw(t, "spec")
		got, err := ParseSpec(want.String())
		if err != nil {
			t.Fatalf("%q: %v", want, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{"alice,?,*2:~3,bob", " a\t, 'x,y' : \"z\"", "*32,./file", "''", "a:b:c", "~99"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text)
		if err != nil {
			var spec *SpecError
			if !errors.As(err, &spec) || spec.Column < 1 || spec.Column > len(text)+1 {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := ParseSpec(s.String())
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", text, s, err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
