package mail_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The examples in the documentation are the golden files.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "exits.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)<!-- golden: (\\S+) -->\n```\n(.*?)```\n").FindAllStringSubmatch(string(text), -1) {
		shown[m[1]] = m[2]
	}
	for name := range goldens() {
		data, err := os.ReadFile(filepath.Join("testdata", name+".eml"))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(string(data), "\r\n", "\n"); shown[name] != want {
			t.Errorf("the example %s differs from the golden file; the document shows\n%s", name, shown[name])
		}
		delete(shown, name)
	}
	for name := range shown {
		t.Errorf("example %s is no golden file", name)
	}
}
