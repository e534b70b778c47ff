package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

func newCompletion(s *streams, program string) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that completes commands and options",
		Long: "Prints a script for your shell, which then completes commands and options when you press\n" +
			"the tabulator key. To use it:\n\n" +
			"  " + program + " completion bash > ~/.local/share/bash-completion/completions/" + program + "\n" +
			"  " + program + " completion zsh > ~/.zfunc/_" + program + "    (a directory in your fpath)\n" +
			"  " + program + " completion fish > ~/.config/fish/completions/" + program + ".fish",
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				switch root := cmd.Root(); args[0] {
				case "bash":
					return root.GenBashCompletionV2(s.out, true)
				case "zsh":
					return root.GenZshCompletion(s.out)
				case "fish":
					return root.GenFishCompletion(s.out, true)
				}
			}
			return errors.New("name one shell: bash, zsh or fish")
		},
	}
}
