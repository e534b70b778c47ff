package cli_test

import (
	"os"
	"path/filepath"
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"
)

// compareLines compares a file, or stdout, with a file that is one regular expression: cmpre FILE PATTERNS.
func compareLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cmpre file patterns")
	}
	got := ts.ReadFile(args[0])
	pattern := ts.ReadFile(args[1])
	re, err := regexp.Compile(`\A` + pattern + `\z`)
	ts.Check(err)
	if !re.MatchString(got) {
		ts.Fatalf("%s is\n%s\nand does not match\n%s", args[0], got, pattern)
	}
}

// damageFile cuts one of the files in a directory short: damage DIRECTORY.
func damageFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage directory")
	}
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no files in %s", args[0])
	}
	ts.Check(os.Truncate(files[0], 100))
}
