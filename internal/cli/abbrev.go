package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// expandArgs writes out long options that are shortened to a prefix which only one option of the chosen command begins with. What is not
// an option, or no option that is known, stays as it is; package cobra will complain about it.
func expandArgs(root *cobra.Command, args []string) ([]string, error) {
	out := append([]string(nil), args...)
	cmd := chosenCommand(root, args)
	return out, walkOptions(cmd, args, func(i int, name, value string) error {
		full, err := expandOption(cmd, name)
		if err == nil {
			out[i] = "--" + full + value
		}
		return err
	}, func(string) bool { return true })
}

// chosenCommand finds the command that the arguments name. Options may stand in front of it and between its words.
func chosenCommand(root *cobra.Command, args []string) *cobra.Command {
	cmd := root
	ignore := func(int, string, string) error { return nil }
	for found := true; found && cmd.HasSubCommands(); {
		found = false
		depth := len(strings.Fields(cmd.CommandPath())) - 1
		_ = walkOptions(cmd, args, ignore, func(word string) bool { // ignore never fails
			if depth > 0 {
				depth--
				return true
			}
			for _, sub := range cmd.Commands() {
				if sub.Name() == word || sub.HasAlias(word) {
					cmd, found = sub, true
				}
			}
			return false
		})
	}
	return cmd
}

// walkOptions calls option for each long option in args, with its name and what stands behind the name ("" or "=..."), and word for each
// argument that is neither option nor value, until it returns false. Nothing behind "--" is walked over.
func walkOptions(cmd *cobra.Command, args []string, option func(i int, name, value string) error, word func(string) bool) error {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return nil
		case strings.HasPrefix(arg, "--"):
			name, value, hasValue := strings.Cut(arg[2:], "=")
			if hasValue {
				value = "=" + value
			}
			if err := option(i, name, value); err != nil {
				return err
			}
			if full, err := expandOption(cmd, name); err == nil && !hasValue && takesValue(findOption(cmd, full)) {
				i++
			}
		case len(arg) > 1 && arg[0] == '-':
			if clusterTakesValue(cmd, arg[1:]) {
				i++
			}
		case !word(arg):
			return nil
		}
	}
	return nil
}

// expandOption gives the name of the only option that begins with prefix, or prefix itself if there is none.
func expandOption(cmd *cobra.Command, prefix string) (string, error) {
	if prefix == "" || findOption(cmd, prefix) != nil {
		return prefix, nil
	}
	var found []string
	visitOptions(cmd, func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, prefix) && !f.Hidden {
			found = append(found, f.Name)
		}
	})
	switch len(found) {
	case 0:
		return prefix, nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("--%s is not unique: it can be --%s", prefix, strings.Join(found, ", --"))
}

// visitOptions calls f for each option of a command, those of the commands above it included.
func visitOptions(cmd *cobra.Command, f func(*pflag.Flag)) {
	cmd.InitDefaultHelpFlag()
	own := map[string]bool{}
	cmd.LocalFlags().VisitAll(func(o *pflag.Flag) {
		own[o.Name] = true
		f(o)
	})
	cmd.InheritedFlags().VisitAll(func(o *pflag.Flag) {
		if !own[o.Name] {
			f(o)
		}
	})
}

func findOption(cmd *cobra.Command, name string) (found *pflag.Flag) {
	visitOptions(cmd, func(f *pflag.Flag) {
		if f.Name == name {
			found = f
		}
	})
	return found
}

func takesValue(f *pflag.Flag) bool { return f != nil && f.NoOptDefVal == "" }

// clusterTakesValue reports whether the value of a cluster of short options is in the next argument.
func clusterTakesValue(cmd *cobra.Command, letters string) bool {
	for i := range len(letters) {
		var option *pflag.Flag
		visitOptions(cmd, func(f *pflag.Flag) {
			if f.Shorthand == letters[i:i+1] {
				option = f
			}
		})
		if takesValue(option) {
			return i == len(letters)-1
		}
	}
	return false
}
