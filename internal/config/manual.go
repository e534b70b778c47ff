package config

import (
	"fmt"
	"slices"
	"strings"
)

const manualIntro = `# The settings of a mix

All keys of the configuration file of mixminiond, section by section: what each does, what it protects, and its default. With "reload", ` + "`mixminiond reload`" + ` puts a
changed value into use; others need a stop and a start. The file that ` + "`mixminiond init`" + ` writes has all of them, with comments.

This page is made from the table that the program itself uses (make docs).
`

// Manual returns the page that explains all keys of a mix, in Markdown.
func Manual() []byte {
	var b strings.Builder
	b.WriteString(manualIntro)
	for _, s := range new(Server).Sections() {
		if s.Unused != "" || allUnused(s.Keys) {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | default | change by | what it does | what it protects |\n|---|---|---|---|---|\n", s.Name, s.Doc)
		for _, k := range s.Keys {
			if k.Unused == "" {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, k.manualDefault(), changeBy(s.Name, k.Name), cell(k.Doc), cell(protected(s.Name, k.Name)))
			}
		}
	}
	b.WriteString("\n## Keys of 0.0.8 that do nothing here\n\nThey are read, and `mixminiond check` says so.\n\n| key | why |\n|---|---|\n")
	for _, s := range new(Server).Sections() {
		if s.Unused != "" {
			fmt.Fprintf(&b, "| all of `[%s]` | %s |\n", s.Name, cell(s.Unused))
			continue
		}
		for _, k := range s.Keys {
			if k.Unused != "" {
				fmt.Fprintf(&b, "| `[%s]` `%s` | %s |\n", s.Name, k.Name, cell(k.Unused))
			}
		}
	}
	return []byte(b.String())
}

func (k Key) manualDefault() string {
	if k.Required || k.Default == "" {
		return ""
	}
	return "`" + k.Default + "`"
}

func changeBy(section, key string) string {
	if can := live[section]; slices.Contains(can, key) || slices.Contains(can, "*") {
		return "reload"
	}
	return "restart"
}

// cell makes text fit for a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }
