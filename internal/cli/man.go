package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mixminion/internal/config"
)

// Pages returns the manual that is made of the help of both programs, by file name below docs/: a page in roff for each command, and, in
// Markdown, a reference of the commands and one of the settings of a mix. It depends on nothing but the source.
func Pages() map[string][]byte {
	pages := map[string][]byte{}
	programs := []*cobra.Command{newMixminion(&streams{}), newMixminiond(&streams{})}
	for _, p := range programs {
		for _, c := range documented(p) {
			pages["man/"+pageName(c)+".1"] = manPage(c)
		}
	}
	pages["commands.md"] = reference(programs)
	pages["settings.md"] = config.Manual()
	return pages
}

// documented lists a command and those below it that users are told about.
func documented(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			list = append(list, documented(sub)...)
		}
	}
	return list
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// synopsis is how a command is called.
func synopsis(cmd *cobra.Command) string {
	switch {
	case !cmd.HasParent():
		return cmd.Name() + " COMMAND [options]"
	case cmd.HasSubCommands():
		return cmd.CommandPath() + " COMMAND [options]"
	}
	return cmd.Parent().CommandPath() + " " + cmd.Use + " [options]"
}

// A paragraph of help is either running text or, where its lines are indented, an example.
type paragraph struct {
	lines   []string
	example bool
}

// paragraphs splits the text of a command's help.
func paragraphs(text string) []paragraph {
	var all []paragraph
	open := false
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		example := strings.HasPrefix(line, "  ")
		switch {
		case strings.TrimSpace(line) == "":
			open = false
			continue
		case !open || all[len(all)-1].example != example:
			all = append(all, paragraph{example: example})
			open = true
		}
		p := &all[len(all)-1]
		p.lines = append(p.lines, strings.TrimRight(strings.TrimPrefix(line, "  "), " "))
	}
	return all
}

// An option as the manual shows it.
type option struct{ short, long, value, text string }

// options lists the options of a command that users are told about: its own, or those that it has from the commands above it.
func options(cmd *cobra.Command, inherited bool) []option {
	flags := cmd.LocalFlags()
	if inherited {
		flags = cmd.InheritedFlags()
	}
	var list []option
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" && !strings.Contains(text, "default") {
			text += " (default " + f.DefValue + ")"
		}
		if f.NoOptDefVal != "" {
			value = ""
		}
		list = append(list, option{f.Shorthand, f.Name, value, text})
	})
	return list
}

// Everything that all pages say.
const (
	docStatus    = "0 when all was done, 1 when something went wrong. Then a line on standard error says what, and what to do."
	docShorten   = "Long options may be shortened as long as they stay unique, and options may follow arguments. Each command knows --help."
	docGenerated = "Made by \"make docs\" from the help of the programs; do not edit."
)

// docFiles are the files of each program.
var docFiles = map[string][]struct{ name, text string }{
	"mixminion": {
		{"~/.mixminionrc", "the configuration; in its place $MIXMINIONRC or ~/mixminionrc"},
		{"~/.mixminion", "keys, known mixes and waiting packets, unless the configuration names another directory"},
	},
	"mixminiond": {
		{"~/.mixminiond.conf", "the configuration; in its place ~/etc/mixminiond.conf, /etc/mixminiond.conf or /etc/mixminion/mixminiond.conf"},
	},
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`)

// roff makes a line of plain text safe for roff.
func roff(line string) string {
	line = roffEscapes.Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

// manPage writes a manual page, with the macros of man(7).
func manPage(cmd *cobra.Command) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	name := pageName(cmd)
	line(`.\" %s`, docGenerated)
	line(`.TH %s 1 "" "Mixminion" "User Commands"`, roff(strings.ToUpper(name)))
	line(".SH NAME")
	line(`%s \- %s`, roff(name), roff(strings.ToLower(cmd.Short[:1])+cmd.Short[1:]))
	line(".SH SYNOPSIS")
	line(".nf")
	line(".B %s", roff(synopsis(cmd)))
	for _, a := range cmd.Aliases {
		line(".B %s", roff(strings.Replace(synopsis(cmd), cmd.Name(), a, 1)))
	}
	line(".fi")
	line(".SH DESCRIPTION")
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	for _, p := range paragraphs(text) {
		line(".PP")
		if p.example {
			line(".RS 4\n.nf")
		}
		for _, l := range p.lines {
			line("%s", roff(l))
		}
		if p.example {
			line(".fi\n.RE")
		}
	}
	if subs := documented(cmd)[1:]; len(subs) > 0 {
		line(".SH COMMANDS")
		for _, sub := range subs {
			line(".TP\n.B %s\n%s", roff(strings.TrimPrefix(sub.CommandPath(), cmd.CommandPath()+" ")), roff(sub.Short))
		}
	}
	manOptions(line, "OPTIONS", options(cmd, false))
	manOptions(line, "OPTIONS OF EVERY COMMAND", options(cmd, true))
	line(".PP\n%s", roff(docShorten))
	line(".SH EXIT STATUS\n%s", roff(docStatus))
	if files := docFiles[cmd.Name()]; !cmd.HasParent() && len(files) > 0 {
		line(".SH FILES")
		for _, f := range files {
			line(".TP\n.I %s\n%s", roff(f.name), roff(f.text))
		}
	}
	if cmd.HasParent() {
		line(".SH SEE ALSO\n.BR %s (1)", roff(pageName(cmd.Root())))
	}
	return []byte(b.String())
}

func manOptions(line func(string, ...any), title string, list []option) {
	if len(list) == 0 {
		return
	}
	line(".SH %s", title)
	for _, o := range list {
		head := `\fB\-\-` + roff(o.long) + `\fP`
		if o.short != "" {
			head = `\fB\-` + roff(o.short) + `\fP, ` + head
		}
		if o.value != "" {
			head += ` \fI` + roff(o.value) + `\fP`
		}
		line(".TP\n%s\n%s", head, roff(o.text))
	}
}
