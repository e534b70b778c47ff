package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// factRow is a row of the tables of interop.md: number, fact, source, tests.
	factRow = regexp.MustCompile(`^\| ([A-Z][0-9]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	quoted  = regexp.MustCompile("`([^`]+)`")
	factNo  = regexp.MustCompile(`\b[A-Z][0-9]+\b`)
	// seenRun is in the source of a fact that 0.0.8 itself has shown.
	seenRun = regexp.MustCompile(`\b(vector|run)\b`)
)

// Each test and file that docs/interop.md names exists, and its list of facts that no run of 0.0.8 has shown is complete.
func TestInteropTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(docsDir, "interop.md"))
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(docsDir)
	var unseen, all []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		m := factRow.FindStringSubmatch(line)
		if m == nil {
			if factRow.MatchString(strings.Split(line+" | ", " | ")[0] + " | a | b | c |") {
				t.Errorf("not of the form of a row: %s", line)
			}
			continue
		}
		number, source, tests := m[1], m[3], m[4]
		if slices.Contains(all, number) {
			t.Errorf("%s stands twice", number)
		}
		all = append(all, number)
		if !seenRun.MatchString(source) {
			unseen = append(unseen, number)
		}
		for _, q := range quoted.FindAllStringSubmatch(source, -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(q[1]))); err != nil {
				t.Errorf("%s: %v", number, err)
			}
		}
		held := quoted.FindAllStringSubmatch(tests, -1)
		if len(held) == 0 {
			t.Errorf("%s: no test", number)
		}
		for _, q := range held {
			if err := findTest(root, q[1]); err != "" {
				t.Errorf("%s: %s", number, err)
			}
		}
	}
	if len(all) < 50 {
		t.Errorf("%d facts", len(all))
	}
	_, list, _ := strings.Cut(string(text), "\n## Not run live\n")
	list, _, _ = strings.Cut(list, "\n## ")
	_, list, _ = strings.Cut(list, "may find them wrong:")
	listed := factNo.FindAllString(strings.SplitN(list, "\n\n", 2)[0], -1)
	slices.Sort(listed)
	slices.Sort(unseen)
	if !slices.Equal(listed, unseen) {
		t.Errorf("not run live are\n%q, listed are\n%q", unseen, listed)
	}
}

// findTest looks for "room TestName" or "room name.txtar", and says what is wrong.
func findTest(root, name string) string {
	room, test, ok := strings.Cut(name, " ")
	if !ok {
		return name + " is no room and test"
	}
	dir := filepath.Join(root, filepath.FromSlash(room))
	if strings.HasSuffix(test, ".txtar") {
		if _, err := os.Stat(filepath.Join(dir, "testdata", "script", test)); err != nil {
			return err.Error()
		}
		return ""
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err.Error()
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		if strings.Contains(string(text), "\nfunc "+test+"(t *testing.T)") {
			return ""
		}
	}
	return "there is no test " + name
}
