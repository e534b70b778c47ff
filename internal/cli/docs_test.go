package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mixminion/internal/config"
)

const docsDir = "../../docs"

// The manual in docs/ is the one that the help of the programs gives.
func TestDocsAreCurrent(t *testing.T) {
	const advice = "; write the manual again with: make docs"
	pages := Pages()
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(docsDir, filepath.FromSlash(name)))
		if err != nil {
			t.Errorf("%v%s", err, advice)
		} else if !bytes.Equal(bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")), want) {
			t.Errorf("docs/%s is not what the help says%s", name, advice)
		}
	}
	old, err := filepath.Glob(filepath.Join(docsDir, "man", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range old {
		if name := "man/" + filepath.Base(file); pages[name] == nil {
			t.Errorf("docs/%s describes no command%s", name, advice)
		}
	}
}

// Whoever adds a key says what it protects, in internal/config/protects.go.
func TestDocsSayWhatSettingsProtect(t *testing.T) {
	for line := range strings.Lines(string(config.Manual())) {
		if strings.HasSuffix(line, "|  |\n") {
			t.Errorf("missing: %s", line)
		}
	}
}

// tableRow is a row of the tables of flags.md: command, flag, state, script or test.
var tableRow = regexp.MustCompile("^\\| ([a-z-]+|all) \\| `([^`]+)` \\| (done|not yet|other) \\| ([^|]*) \\|$")

// What docs/flags.md calls done exists, and the file that is said to hold it uses it.
func TestFlagsTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(docsDir, "flags.md"))
	if err != nil {
		t.Fatal(err)
	}
	root := newMixminion(&streams{})
	root.InitDefaultHelpCmd()
	rows := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| command |") {
			continue
		}
		m := tableRow.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not of the form of a row: %s", line)
			continue
		}
		rows++
		command, flags, state, test := m[1], m[2], m[3], m[4]
		if state != "done" {
			continue
		}
		cmd := root
		if command != "all" {
			found, _, err := root.Find([]string{command})
			if err != nil {
				t.Errorf("%s is done, but: %v", command, err)
				continue
			}
			cmd = found
		}
		place := strings.Trim(test, "`")
		if strings.HasSuffix(place, ".txtar") {
			place = filepath.Join("testdata", "script", place)
		}
		held, err := os.ReadFile(place)
		if err != nil {
			t.Errorf("%s %s: no test: %v", command, flags, err)
			continue
		}
		names := append([]string{cmd.Name()}, cmd.Aliases...)
		if command == "all" {
			names = []string{""}
		}
		used := false
		for flag := range strings.FieldsSeq(flags) {
			if flag != "(none)" && flagNamed(cmd, flag) == nil {
				t.Errorf("%s %s is done, but there is no such option", command, flag)
			}
			for _, name := range names {
				used = used || usesFlag(string(held), name, flag)
			}
		}
		if !used {
			t.Errorf("%s does not use %s %s", place, command, flags)
		}
	}
	if rows < 50 {
		t.Errorf("%d rows", rows)
	}
}

// flagNamed finds an option by its long or short name, with dashes.
func flagNamed(cmd *cobra.Command, name string) (found *pflag.Flag) {
	visitOptions(cmd, func(f *pflag.Flag) {
		if name == "--"+f.Name || name == "-"+f.Shorthand {
			found = f
		}
	})
	return found
}

// usesFlag reports whether a line of a test calls a command with an option. A short option may stand in a cluster.
func usesFlag(test, command, flag string) bool {
	pattern := `(^|[\s'"])` + regexp.QuoteMeta(flag) + `\b`
	switch {
	case flag == "(none)":
		pattern = ""
	case len(flag) == 2:
		pattern = `(^|[\s'"])-[A-Za-z]*` + flag[1:]
	}
	word := regexp.MustCompile(`(^|[\s'"])` + regexp.QuoteMeta(command) + `($|[\s'"])`)
	option := regexp.MustCompile(pattern)
	for line := range strings.Lines(test) {
		if word.MatchString(line) && option.MatchString(line) {
			return true
		}
	}
	return false
}

// TestErrorTable: each row of docs/errors.md names tests that are there.
func TestErrorTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 3 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "what" {
			continue
		}
		rows++
		if len(cells) != 8 {
			t.Errorf("%d cells: %s", len(cells)-2, line)
			continue
		}
		for name := range strings.SplitSeq(cells[6], ",") {
			name = strings.Trim(name, " `")
			found := false
			for _, dir := range []string{"testdata/script", ".", "../../client"} {
				_, err := os.Stat(filepath.Join(dir, name))
				found = found || name != "" && err == nil
			}
			if !found {
				t.Errorf("no test %q: %s", name, line)
			}
		}
	}
	if rows == 0 {
		t.Error("no rows found")
	}
}
