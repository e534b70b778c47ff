package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

var markdownEscapes = strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`, "[", `\[`, "`", "\\`")

// reference writes the help of all commands of some programs as one document in Markdown.
func reference(programs []*cobra.Command) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Commands\n\n<!-- %s -->\n", docGenerated)
	line("The same text is in the manual pages, [man](man), and is what `--help` prints.\n")
	line("%s\n\nThe exit status is %s", docShorten, docStatus)
	for _, program := range programs {
		line("\n## %s\n", program.Name())
		markdownText(line, program.Long)
		for _, f := range docFiles[program.Name()] {
			line("- `%s`: %s", f.name, markdownEscapes.Replace(f.text))
		}
		commands := documented(program)[1:]
		line("\n| command | what it does |\n|---|---|")
		for _, c := range commands {
			line("| [%s](#%s) | %s |", c.CommandPath(), pageName(c), markdownEscapes.Replace(c.Short))
		}
		line("\nOptions of every command:\n")
		markdownOptions(line, options(program, false))
		for _, c := range commands {
			line("\n### %s\n", c.CommandPath())
			line("```\n%s\n```\n", synopsis(c))
			if len(c.Aliases) > 0 {
				line("Also called `%s`.\n", strings.Join(c.Aliases, "`, `"))
			}
			text := c.Long
			if text == "" {
				text = c.Short + "."
			}
			markdownText(line, text)
			markdownOptions(line, options(c, false))
		}
	}
	text := strings.ReplaceAll(b.String(), "\n\n\n", "\n\n")
	return []byte(strings.TrimRight(text, "\n") + "\n")
}

func markdownText(line func(string, ...any), text string) {
	for _, p := range paragraphs(text) {
		if p.example {
			line("```\n%s\n```\n", strings.Join(p.lines, "\n"))
		} else {
			line("%s\n", markdownEscapes.Replace(strings.Join(p.lines, "\n")))
		}
	}
}

func markdownOptions(line func(string, ...any), list []option) {
	for _, o := range list {
		head := "--" + o.long
		if o.short != "" {
			head = "-" + o.short + "`, `" + head
		}
		if o.value != "" {
			head += " " + o.value
		}
		line("- `%s`: %s", head, markdownEscapes.Replace(o.text))
	}
}
