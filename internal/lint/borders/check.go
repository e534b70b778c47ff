package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// check reads every Go file of the module in the tree, whatever its build
// tags, and returns one "file:line: text" for each broken rule.
func check(tree fs.FS) (problems []string, err error) {
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipDir(tree, name) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		found, err := checkFile(tree, name)
		problems = append(problems, found...)
		return err
	})
	return problems, err
}

// skipDir reports whether a directory is no part of the module's packages.
func skipDir(tree fs.FS, name string) bool {
	if name == "." {
		return false
	}
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := fs.Stat(tree, path.Join(name, "go.mod"))
	return err == nil
}

func checkFile(tree fs.FS, name string) (problems []string, err error) {
	src, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	report := func(pos token.Pos, format string, args ...any) {
		p := files.Position(pos)
		problems = append(problems, fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...)))
	}

	pkg := path.Dir(name)
	if within(pkg, exempt) != "" {
		return nil, nil
	}
	from, layer := roomOf(pkg)
	if from == "" {
		report(file.Package, "package %s is in no room; give it a place in internal/lint/borders/rules.go", pkg)
		return problems, nil
	}
	isPure := within(pkg, pure) != ""
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		why := judge(from, layer, imported, isPure)
		if why == "" && within(imported, unguarded) != "" && within(pkg, testOnly) == "" {
			why = "random choices come from crypto/rand"
		}
		if why != "" {
			report(spec.Pos(), "%s may not import %s: %s", from, imported, why)
		}
		if isPure && imported == "time" {
			for _, use := range clockUses(file, spec) {
				report(use.Pos(), "%s may not use time.%s: pure rooms get the time as an argument", from, use.Sel.Name)
			}
			if spec.Name != nil && spec.Name.Name == "." {
				report(spec.Pos(), "%s may not import time with a dot: uses of the clock would not be seen", from)
			}
		}
	}
	return problems, nil
}

// judge returns why a room may not import a package, or "".
func judge(from string, layer int, imported string, isPure bool) string {
	if isPure && within(imported, impure) != "" && !slices.Contains(harmless, imported) {
		return "pure rooms know no network, file, log or system"
	}
	target := imported
	inside, ours := strings.CutPrefix(imported, module+"/")
	if ours {
		target = inside
	}
	for restricted, importers := range only {
		if within(target, []string{restricted}) != "" && from != restricted && !slices.Contains(importers, from) {
			return "only " + strings.Join(importers, ", ") + " may"
		}
	}
	if !ours {
		return ""
	}
	to, below := roomOf(inside)
	switch {
	case within(inside, testOnly) != "":
		return "it serves tests"
	case to == "":
		return "it is in no room"
	case to == from || slices.Contains(siblings[from], to):
		return ""
	case below < layer:
		return "it is in a higher layer"
	case below == layer:
		return "it is in the same layer"
	case isPure && within(inside, pure) == "":
		return "it is not pure"
	}
	return ""
}

// roomOf returns the room of a package and the index of its layer.
func roomOf(pkg string) (room string, layer int) {
	for i, rooms := range layers {
		if r := within(pkg, rooms); r != "" {
			return r, i
		}
	}
	return "", 0
}

// within returns the root that is the path or contains it, or "".
func within(name string, roots []string) string {
	for _, r := range roots {
		if name == r || strings.HasPrefix(name, r+"/") {
			return r
		}
	}
	return ""
}

// clockUses finds the selectors of package time that read or wait for the clock.
func clockUses(file *ast.File, spec *ast.ImportSpec) (uses []*ast.SelectorExpr) {
	local := "time"
	if spec.Name != nil {
		local = spec.Name.Name
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == local && clock[sel.Sel.Name] {
			uses = append(uses, sel)
		}
		return true
	})
	return uses
}
