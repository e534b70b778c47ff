package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// nearby is how many letters a mistyped command may differ in from one that is suggested in its place.
const nearby = 2

// explainArgs has a program and its commands say in one line what is wrong with their arguments, and what would be right.
func explainArgs(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = nearby
	check := cmd.Args
	switch {
	case !cmd.HasParent():
		cmd.Args = unknownCommand
		cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
			if cmd.Flags().Lookup("path") != nil && isUnknown(err, "H", "hops") {
				return errors.New("--hops is gone: for a path of N random mixes use --path '*N'")
			}
			if isUnknown(err, "version") {
				return fmt.Errorf("%w; the command %s version prints it", err, cmd.Root().Name())
			}
			var invalid *pflag.InvalidValueError
			if errors.As(err, &invalid) && errors.As(err, new(*strconv.NumError)) {
				err = fmt.Errorf("--%s: %q is no number that can stand there", invalid.GetFlag().Name, invalid.GetValue())
			}
			return fmt.Errorf("%w; %s --help lists the options", err, cmd.CommandPath())
		})
	case cmd.HasSubCommands():
		cmd.Args = unknownCommand
	case check != nil:
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			switch {
			case err == nil:
				return nil
			case len(args) > 0 && check(cmd, nil) == nil && check(cmd, args[:1]) != nil:
				return fmt.Errorf("%s accepts no arguments, but there is %q; usage: %s", cmd.Name(), args[0], synopsis(cmd))
			case len(args) == 0:
				return fmt.Errorf("%s needs to be told what to work on; usage: %s", cmd.Name(), synopsis(cmd))
			}
			return fmt.Errorf("%w; usage: %s", err, synopsis(cmd))
		}
	}
	for _, sub := range cmd.Commands() {
		explainArgs(sub)
	}
}

// isUnknown reports whether one of these options was not understood.
func isUnknown(err error, names ...string) bool {
	var unknown *pflag.NotExistError
	return errors.As(err, &unknown) && slices.Contains(names, unknown.GetSpecifiedName())
}

// newHelp is like the help command of package cobra, but for it a mistyped command is a mistake.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begin string) (names []string, _ cobra.ShellCompDirective) {
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 && c.IsAvailableCommand() && strings.HasPrefix(c.Name(), begin) {
					names = append(names, c.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			found, rest, err := root.Find(args)
			if err != nil {
				return err
			}
			if err := unknownCommand(root, rest); err != nil {
				return err
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// unknownCommand refuses what stands in the place of a command.
func unknownCommand(parent *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := parent.Name() + " help lists them all"
	if parent.HasParent() {
		hint = parent.CommandPath() + " --help lists them all"
	}
	if old := args[0]; parent.Name() == "mixminion" && (strings.HasPrefix(old, "server-") || old == "dir") {
		// So the first implementation called what operators need.
		return fmt.Errorf("unknown command %q: mixes and directory authorities are run by the program mixminiond", old)
	}
	if near := parent.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q: %s", args[0], hint)
}
