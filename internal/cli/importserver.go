package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mixminion/directory"

	"github.com/spf13/cobra"
)

// maxDescriptors bounds a file of descriptors.
const maxDescriptors = 16 << 20

func newImportServer(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "import-server FILE...",
		Short: "Add mixes to those you know",
		Long: "Reads server descriptors and adds their mixes to those that paths are chosen from.\n" +
			"Import only descriptors that you have from someone you trust: whoever runs all the\n" +
			"mixes that you know can follow your mail.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			failed := 0
			for _, file := range files {
				added, err := importFile(cmd.Context(), u, s, file)
				for _, d := range added {
					s.say("Imported %s (%s:%d), valid until %s.", d.Nickname, d.Node().Host, d.Node().Port, d.ValidUntil.Format("2006-01-02"))
				}
				if ctx := cmd.Context(); ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					failed++
					s.warn("not imported from %s: %s", file, strings.ReplaceAll(err.Error(), "\n", "; "))
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d files were not imported completely", failed, len(files))
			}
			return nil
		},
	}
}

func importFile(ctx context.Context, u *user, s *streams, file string) (added []*directory.Descriptor, err error) {
	var text []byte
	if file == "-" {
		text, err = readAll(interruptibleReader{ctx, s.in}, "standard input", maxDescriptors)
	} else {
		text, err = readLimited(file, maxDescriptors)
		if err == nil && len(text) == 0 {
			err = errors.New("the file is empty")
		}
	}
	if err != nil {
		return nil, err
	}
	err = u.locked(ctx, s, func() error {
		added, err = u.Import(text)
		return err
	})
	return added, err
}
