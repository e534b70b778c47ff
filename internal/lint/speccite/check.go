package main

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

const indexFile = "docs/spec-index.md"

const (
	document = `\b(minion|E2E|dir|path)-spec`
	number   = `(?:[A-Z]\.[0-9]+|[0-9]+)(?:\.[0-9]+)*`
	dotted   = `(?:[A-Z]|[0-9]+)(?:\.[0-9]+)+`
)

var (
	// A citation may go on: "minion-spec 3.2.4, 3.2.5 and A.1". What goes on
	// must hold a dot, as "dir-spec 3, 24 characters" names one section.
	citation = regexp.MustCompile(document + `\s+(` + number + `(?:(?:,|\s+and|\s+or)\s+` + dotted + `)*)`)
	section  = regexp.MustCompile(number)
	// malformed finds citations that would escape the check.
	malformed = regexp.MustCompile(`(?i)` + document + `(?:\.txt)?,?\s+(?:sections?|sect?\.|chapter|appendix)\s+[A-Z0-9]`)

	heading = regexp.MustCompile(`^## (\S+-spec)\b`)
	row     = regexp.MustCompile(`^\| *(` + number + `) *\|`)
)

// check returns one "file:line: text" for each citation of a section that the
// index does not list.
func check(tree fs.FS) (problems []string, err error) {
	text, err := fs.ReadFile(tree, indexFile)
	if err != nil {
		return nil, err
	}
	index := parseIndex(string(text))
	if len(index) == 0 {
		return nil, errors.New(indexFile + " lists no sections")
	}
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (base == "testdata" || base == "vendor" || base[0] == '.') {
				return fs.SkipDir
			}
			return nil
		}
		var found []string
		switch dir := path.Dir(name); {
		case strings.HasSuffix(name, ".go"):
			found, err = checkGo(tree, name, index)
		case strings.HasSuffix(name, ".md") && (dir == "." || dir == "docs"):
			found, err = checkText(tree, name, index)
		}
		problems = append(problems, found...)
		return err
	})
	return problems, err
}

// parseIndex reads the index: under a heading "## minion-spec", each table row
// begins with the number of a section.
func parseIndex(text string) map[string]bool {
	index := make(map[string]bool)
	doc := ""
	for line := range strings.Lines(text) {
		if m := heading.FindStringSubmatch(line); m != nil {
			doc = m[1]
		} else if m := row.FindStringSubmatch(line); m != nil && doc != "" {
			index[doc+" "+m[1]] = true
		}
	}
	return index
}

func checkText(tree fs.FS, name string, index map[string]bool) ([]string, error) {
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	return citations(name, 1, string(text), index), nil
}

// checkGo looks into comments only, so that tests may hold wrong citations in
// strings.
func checkGo(tree fs.FS, name string, index map[string]bool) (problems []string, err error) {
	src, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, group := range file.Comments {
		// One line of text for each line of source, without the slashes, so
		// that a citation may be broken over two lines.
		var text strings.Builder
		for _, c := range group.List {
			text.WriteString(strings.TrimPrefix(c.Text, "//") + "\n")
		}
		line := files.Position(group.Pos()).Line
		problems = append(problems, citations(name, line, text.String(), index)...)
	}
	return problems, nil
}

func citations(name string, firstLine int, text string, index map[string]bool) (problems []string) {
	report := func(offset int, format string, args ...any) {
		line := firstLine + strings.Count(text[:offset], "\n")
		problems = append(problems, fmt.Sprintf("%s:%d: %s", name, line, fmt.Sprintf(format, args...)))
	}
	for _, m := range citation.FindAllStringSubmatchIndex(text, -1) {
		doc := text[m[2]:m[3]] + "-spec"
		for _, s := range section.FindAllString(text[m[4]:m[5]], -1) {
			if cited := doc + " " + s; !index[cited] {
				report(m[0], "%s has no section %s in %s", doc, s, indexFile)
			}
		}
	}
	for _, m := range malformed.FindAllStringIndex(text, -1) {
		report(m[0], "write a citation as in \"minion-spec 3.2.4\", not %q", text[m[0]:m[1]])
	}
	return problems
}
