package pickle

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       any
	}{
		{"none", "N.", nil},
		{"one byte", "K\xff.", 255},
		{"two bytes", "M\x01\x02.", 0x201},
		{"four bytes", "J\x01\x02\x03\x04.", 0x4030201},
		{"negative", "J\xff\xff\xff\xff.", -1},
		{"string", "U\x02ab.", []byte("ab")},
		{"long string", "T\x02\x00\x00\x00ab.", []byte("ab")},
		{"empty tuple", "(t.", []any{}},
		{"tuple", "(K\x01U\x01a(Ntt.", []any{1, []byte("a"), []any{nil}}},
		{"dictionary", "}(U\x01aK\x01U\x01bNu.", map[string]any{"a": 1, "b": nil}},
		{"dictionary item by item", "}U\x01aK\x01s.", map[string]any{"a": 1}},
		{"object", "(cm\nC\no}U\x01aK\x01sb.", &Object{Class: "m.C", Fields: map[string]any{"a": 1}}},
		{"object without fields", "(cm\nC\no.", &Object{Class: "m.C"}},
		{"twice the same", "(U\x01aq\x01h\x01t.", []any{[]byte("a"), []byte("a")}},
		{"far memory", "(U\x01ar\x00\x01\x00\x00j\x00\x01\x00\x00t.", []any{[]byte("a"), []byte("a")}},
		{"a class twice", "((cm\nC\nq\x01o(h\x01ot.", []any{&Object{Class: "m.C"}, &Object{Class: "m.C"}}},
	} {
		got, err := Load([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestLoadMalformed(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                "",
		"no end":                 "N",
		"no value":               ".",
		"two values":             "NN.",
		"more behind the end":    "N.N",
		"a mark is no value":     "(.",
		"a class is no value":    "cm\nC\n.",
		"short number":           "J\x01\x02",
		"short string":           "U\x05ab.",
		"string without length":  "T\x05\x00",
		"huge string":            "T\xff\xff\xff\x7fab.",
		"huger string":           "T\xff\xff\xff\xffab.",
		"tuple without mark":     "NNt.",
		"class in a tuple":       "(cm\nC\nt.",
		"key without value":      "}(U\x01au.",
		"key that is no string":  "}(K\x01K\x01u.",
		"long key":               "}(T\x81\x00\x00\x00" + strings.Repeat("a", 129) + "Nu.",
		"class as a value":       "}(U\x01acm\nC\nu.",
		"items for no one":       "(U\x01aNu.",
		"items of a number":      "K\x01(U\x01aNu.",
		"item of nothing":        "s",
		"item without key":       "Ns",
		"object without class":   "(o.",
		"object of a number":     "(K\x01o.",
		"object with arguments":  "(cm\nC\nK\x01o.",
		"object without mark":    "cm\nC\no.",
		"fields for no one":      "}b.",
		"fields of a number":     "K\x01}b.",
		"fields that are none":   "(cm\nC\noNb.",
		"fields twice":           "(cm\nC\no}b}b.",
		"fields of nothing":      "b",
		"class without name":     "cm\n",
		"class with empty name":  "(cm\n\no.",
		"class with a blank":     "(cm m\nC\no.",
		"class with a long name": "(cm\n" + strings.Repeat("C", 200) + "\no.",
		"forgotten value":        "h\x01.",
		"memory of nothing":      "q\x01",
		"memory of a mark":       "(q\x01t.",
		"short memory":           "Nr\x01",
		"deep":                   strings.Repeat("(", 65) + strings.Repeat("t", 65) + ".",
		"long":                   strings.Repeat("N", MaxLen+1),
		"a call":                 "cos\nsystem\n(U\x02idtR.",
		"an instance":            "(ios\nsystem\n.",
		"protocol 2":             "\x80\x02N.",
		"much memory":            "N" + manyPuts(300) + ".",
	} {
		if v, err := Load([]byte(text)); !errors.Is(err, ErrForm) {
			t.Errorf("%s: got %v, %v", name, v, err)
		}
	}
}

// manyPuts remembers a value under n numbers.
func manyPuts(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("r" + string([]byte{byte(i), byte(i >> 8), 1, 0}))
	}
	return b.String()
}

// A dictionary that holds itself is no trouble for who reads it.
func TestLoop(t *testing.T) {
	v, err := Load([]byte("}q\x01U\x01ah\x01s."))
	if dict, ok := v.(map[string]any); err != nil || !ok || len(dict) != 1 {
		t.Errorf("%T, %v", v, err)
	}
}

func FuzzLoad(f *testing.F) {
	meta, err := os.ReadFile("testdata/meta-0.0.8")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(meta)
	f.Add([]byte("(U\x08PACKET-0q\x01T\x02\x00\x00\x00abq\x02(cm\nC\nq\x03oq\x04}U\x01aM\x01\x02sbJ\x00\x00\x00\x01tq\x09."))
	f.Add([]byte("(Nq\x00h\x00r\x00\x00\x01\x00j\x00\x00\x01\x00K\x01t."))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Load(data)
		switch {
		case err != nil && !errors.Is(err, ErrForm):
			t.Error(err)
		case err == nil && !isValue(v):
			t.Errorf("%T", v)
		}
	})
}

// meta is the file meta_X of a packet that Mixminion 0.0.8 has queued.
func TestReal(t *testing.T) {
	meta, err := os.ReadFile("testdata/meta-0.0.8")
	if err != nil {
		t.Fatal(err)
	}
	v, err := Load(meta)
	if err != nil {
		t.Fatal(err)
	}
	tuple, ok := v.([]any)
	if !ok || len(tuple) != 3 {
		t.Fatalf("got %v", v)
	}
	o, ok := tuple[1].(*Object)
	if !ok || o.Class != "mixminion.Packet.MMTPHostInfo" || len(o.Fields) != 3 {
		t.Errorf("got %+v", tuple[1])
	}
}
