// Package config reads the files that operators and users write:
// mixminiond.conf and .mixminionrc.
//
// A file is made of [Section] lines and "Key: value" lines. One table per
// program ([Server.Sections], [Client.Sections]) names every section and key
// with its type, default and meaning; the parser, the defaults, the commented
// example files and the manual all come from that table.
//
// Parsing is strict: an unknown or misspelt key is an error, never ignored,
// since a mix that runs with a setting its operator did not mean is worse than
// one that does not start. All errors of a file are reported together, each
// with its line. What is legal but unwise, or not used by this version, comes
// back from Warnings.
//
// The package opens no file and logs nothing: it is handed bytes and returns
// values. The sections that a mix publishes about itself follow other, stricter
// rules and live in package directory.
package config

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// MaxFileSize is the largest configuration file that Parse accepts, in bytes.
const MaxFileSize = 1 << 20

// maxErrors bounds how many errors one Parse reports.
const maxErrors = 50

// A Section of a configuration file, bound to the struct fields of its keys.
type Section struct {
	Name string
	Doc  string
	// Unused says why this version makes nothing of the section, if so.
	Unused string
	Keys   []Key
}

// A Key binds one "Key: value" line to a field.
type Key struct {
	Name string
	// Alias is an older name that is still read, with a warning.
	Alias string
	// To points to the field: a *string, *bool, *int, *netip.Addr or a Value.
	To any
	// Default is the value, as written in a file, when the key is absent.
	Default string
	// Example is shown in the example file in place of an empty default.
	Example string
	// Required keys must be present wherever their section is.
	Required bool
	Doc      string
	// Unused says why this version makes nothing of the key, if so.
	Unused string
}

// Kind names the type of the key's value, for manuals.
func (k Key) Kind() string { return bind(k.To).Kind() }

// Repeatable reports whether the key may stand more than once.
func (k Key) Repeatable() bool {
	_, ok := bind(k.To).(multiValue)
	return ok
}

// Schema is a configuration: a struct that embeds [File] and binds its fields
// to sections and keys. Validate checks what no single value shows.
type Schema interface {
	Sections() []Section
	Validate() error
	file() *File
}

// File remembers where the keys of a configuration were given, so that
// errors and warnings can point there. Its zero value stands for a
// configuration that was made by a program.
type File struct {
	name  string
	lines map[where]int
}

// where is a key in a section; an empty key means the section itself.
type where struct{ section, key string }

func (f *File) file() *File { return f }

// Given reports whether the file has the key, or with an empty key the section.
func (f *File) Given(section, key string) bool {
	return f.lines[where{section, key}] > 0
}

// An Error is one mistake in a configuration. Line and Column count from one;
// zero means that the mistake has no one place (a missing key, say).
type Error struct {
	File         string
	Line, Column int
	Section, Key string
	Err          error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
		b.WriteString(": ")
	}
	if e.Section != "" {
		fmt.Fprintf(&b, "[%s] ", e.Section)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, "%s: ", e.Key)
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Parse fills a zero configuration with its defaults and then with what the
// file says. The name appears in error texts. The error, if any, joins one
// [*Error] for each mistake, in the order of the file.
func Parse(data []byte, name string, into Schema) error {
	f := into.file()
	*f = File{name: name, lines: make(map[where]int)}
	sections := into.Sections()
	setDefaults(sections)

	p := parser{file: f, sections: sections}
	p.parse(data)
	p.required()
	p.errs = append(p.errs, unjoin(into.Validate())...)
	return join(p.errs)
}

// setDefaults gives every key that has a default this value.
func setDefaults(sections []Section) {
	for _, s := range sections {
		for _, k := range s.Keys {
			if k.Default == "" {
				continue
			}
			if err := bind(k.To).Set(k.Default); err != nil {
				panic(fmt.Sprintf("config: default of [%s] %s: %v", s.Name, k.Name, err))
			}
		}
	}
}

// problems collects the errors of Validate.
type problems struct {
	file *File
	errs []*Error
}

func (p *problems) add(section, key, format string, args ...any) {
	line := p.file.lines[where{section, key}]
	if line == 0 {
		line = p.file.lines[where{section, ""}]
	}
	p.errs = append(p.errs, &Error{
		File: p.file.name, Line: line, Section: section, Key: key, Err: fmt.Errorf(format, args...),
	})
}

func (p *problems) err() error { return join(p.errs) }

// join sorts errors by line and keeps the first one about each key: a value
// that could not be read needs no second complaint about what is missing.
func join(errs []*Error) error {
	sort.SliceStable(errs, func(i, j int) bool {
		a, b := errs[i].Line, errs[j].Line
		return a != 0 && (b == 0 || a < b)
	})
	seen := make(map[where]bool)
	var out []error
	for _, e := range errs {
		w := where{e.Section, e.Key}
		if e.Key != "" && seen[w] {
			continue
		}
		seen[w] = true
		if len(out) == maxErrors {
			out = append(out, &Error{File: e.File, Err: errors.New("too many errors; the rest is not shown")})
			break
		}
		out = append(out, e)
	}
	return errors.Join(out...)
}

func unjoin(err error) []*Error {
	var out []*Error
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range j.Unwrap() {
			var e *Error
			if errors.As(err, &e) {
				out = append(out, e)
			}
		}
	}
	return out
}
