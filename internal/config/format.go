package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
)

// fresh returns a Value of the same type as the key's, holding the default.
func (k Key) fresh() Value {
	v := bind(reflect.New(reflect.TypeOf(k.To).Elem()).Interface())
	if k.Default != "" {
		if err := v.Set(k.Default); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", k.Name, err))
		}
	}
	return v
}

// isDefault reports whether the key's field has its default value.
func (k Key) isDefault() bool {
	return bind(k.To).String() == k.fresh().String()
}

// Format writes the file that Parse reads back to the same values: what is
// not at its default, without comments. Text fields must hold what a line
// can: printable ASCII without blanks at the ends.
func Format(s Schema) []byte {
	var b bytes.Buffer
	for _, section := range s.Sections() {
		changed := false
		for _, k := range section.Keys {
			changed = changed || !k.isDefault()
		}
		if !changed {
			continue
		}
		fmt.Fprintf(&b, "[%s]\n", section.Name)
		for _, k := range section.Keys {
			if !k.Required && k.isDefault() {
				continue
			}
			for _, value := range values(k.To) {
				fmt.Fprintf(&b, "%s: %s\n", k.Name, value)
			}
		}
	}
	return b.Bytes()
}

func values(to any) []string {
	v := bind(to)
	if m, ok := v.(multiValue); ok {
		return m.Values()
	}
	return []string{v.String()}
}

const serverTitle = "The configuration of a mix, read by mixminiond."

// ExampleServer returns a commented mixminiond.conf. It parses as it is, and
// changes no default.
func ExampleServer() string { return DefaultServer().Commented() }

// Commented returns a mixminiond.conf with the values of s and all the
// comments of ExampleServer. It parses to the same values; what they have to be
// like is said at Format. Keys that this version does not use are left out.
func (s *Server) Commented() string { return example(serverTitle, s.Sections()) }

// ExampleClient returns a commented .mixminionrc. It parses as it is, and
// changes no default.
func ExampleClient() string {
	return example("The configuration of mixminion.", DefaultClient().Sections())
}

const exampleIntro = "A line that begins with # is a comment. The lines that begin with # and a key " +
	"show defaults or, where there is none, an example: to change one, remove the # and edit the value. " +
	"A line that begins with a blank continues the line above it. Capitals matter in names."

func example(title string, sections []Section) string {
	var b strings.Builder
	comment(&b, title)
	b.WriteString("#\n")
	comment(&b, exampleIntro)
	for _, s := range sections {
		if s.Unused != "" || allUnused(s.Keys) {
			continue
		}
		b.WriteString("\n")
		comment(&b, s.Doc)
		fmt.Fprintf(&b, "[%s]\n", s.Name)
		for _, k := range s.Keys {
			if k.Unused != "" {
				continue
			}
			b.WriteString("\n")
			comment(&b, k.Doc)
			for _, line := range k.lines() {
				b.WriteString(strings.TrimRight(line, " ") + "\n")
			}
		}
	}
	return b.String()
}

// lines are the key in an example: as it is set or, after a #, as it could be.
func (k Key) lines() (lines []string) {
	if !k.isDefault() {
		for _, value := range values(k.To) {
			lines = append(lines, fmt.Sprintf("%s: %s", k.Name, value))
		}
		return lines
	}
	mark, value := "#", k.Default
	if value == "" {
		value = k.Example
	}
	if k.Required {
		mark = ""
	}
	return []string{fmt.Sprintf("%s%s: %s", mark, k.Name, value)}
}

func allUnused(keys []Key) bool {
	for _, k := range keys {
		if k.Unused == "" {
			return false
		}
	}
	return true
}

// comment writes text as lines of at most 76 columns that begin with "# ".
func comment(b *strings.Builder, text string) {
	const columns = 76
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > columns && line != "#" {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
