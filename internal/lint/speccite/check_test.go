package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

const index = `# Index

| 9.9 | not under a document | |

## minion-spec

| section | title |
|---|---|
| 3 | Packet format |
| 3.2 | The packet |
| 3.2.4 | Constructing |
| A.1 | Pooling |

## E2E-spec: encoding

|3.2|MBOX|
`

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		want             string // "" when nothing is wrong
	}{
		{"good", "a/a.go", "// See minion-spec 3.2.4.\npackage a", ""},
		{"good appendix", "a/a.go", "package a\n\n// (minion-spec A.1)", ""},
		{"good short", "a/a.go", "package a\n\n// minion-spec 3, 24 of them", ""},
		{"bad", "a/a.go", "package a\n\n// x\n// minion-spec 3.2.5 says", "a/a.go:4: minion-spec has no section 3.2.5"},
		{"other document", "a/a.go", "package a // E2E-spec 3.2.4", "a/a.go:1: E2E-spec has no section 3.2.4"},
		{"document without sections", "a/a.go", "package a // dir-spec 3.2", "dir-spec has no section 3.2"},
		{"document not checked", "a/a.go", "package a // api-spec 77", ""},
		{"no section", "a/a.go", "package a // as the minion-spec says", ""},
		{"over two lines", "a/a.go", "package a\n\n// as minion-spec\n// 7.7 says", "a/a.go:3: minion-spec has no section 7.7"},
		{"over two good lines", "a/a.go", "package a\n\n// as minion-spec\n// 3.2 says", ""},
		{"list", "a/a.go", "package a // minion-spec 3.2, 3.2.4 and A.1", ""},
		{"bad list", "a/a.go", "package a // minion-spec 3.2 and 3.3", "no section 3.3"},
		{"block comment", "a/a.go", "package a\n/* one\nminion-spec A.2 */", "a/a.go:3: minion-spec has no section A.2"},
		{"wrong form", "a/a.go", "package a // minion-spec section 3.2", "write a citation as in"},
		{"string", "a/a.go", "package a\n\nvar x = \"minion-spec 8\"", ""},
		{"test file", "a/a_test.go", "package a // minion-spec 8", "no section 8"},
		{"document", "docs/b.md", "x\n\nminion-spec 8", "docs/b.md:3: minion-spec has no section 8"},
		{"readme", "README.md", "minion-spec 8", "no section 8"},
		{"other text", "a/testdata/b.md", "minion-spec 8", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := check(fstest.MapFS{indexFile: {Data: []byte(index)}, c.file: {Data: []byte(c.text)}})
			if err != nil {
				t.Fatal(err)
			}
			if (len(got) > 0) != (c.want != "") || len(got) > 1 {
				t.Fatalf("problems %q, want %q", got, c.want)
			}
			if c.want != "" && !strings.Contains(got[0], c.want) {
				t.Errorf("problem %q, want %q", got[0], c.want)
			}
		})
	}
	for name, tree := range map[string]fstest.MapFS{
		"no index":    {},
		"empty index": {indexFile: {Data: []byte("# Index\n")}},
		"no Go":       {indexFile: {Data: []byte(index)}, "a.go": {Data: []byte("packag")}},
	} {
		if _, err := check(tree); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}
