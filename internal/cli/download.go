package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// errNoDownload is what there is to say about directories as long as none can be downloaded.
var errNoDownload = errors.New("directories cannot be downloaded yet: add mixes with mixminion import-server")

// usesDirectory names the commands that look mixes up.
var usesDirectory = map[string]bool{
	"send": true, "queue": true, "inspect-queue": true, "import-server": true, "list-servers": true, "generate-surb": true, "ping": true,
	"list-fragments": true,
}

// addDownload gives --download-directory to those of a program's commands that look mixes up, since scripts say no to it.
func addDownload(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if !usesDirectory[cmd.Name()] || cmd.Flags().Lookup("download-directory") != nil {
			continue
		}
		value := cmd.Flags().StringP("download-directory", "D", "no", "download a directory first, `yes|no`; only no is possible yet")
		next := cmd.PreRunE
		cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
			if err := checkDownload(*value); err != nil || next == nil {
				return err
			}
			return next(cmd, args)
		}
	}
}

// checkDownload reads the value of --download-directory, in all the ways in which it may be written.
func checkDownload(value string) error {
	switch strings.ToLower(value) {
	case "no", "n", "false", "f", "0":
		return nil
	case "yes", "y", "true", "t", "1", "force":
		return errNoDownload
	}
	return fmt.Errorf("--download-directory: %q is neither yes nor no", value)
}

func newUpdateServers() *cobra.Command {
	return &cobra.Command{
		Use:   "update-servers",
		Short: "Download the directory of mixes (not possible yet)",
		Long: "Will download the directory of mixes. This version cannot do that yet: add mixes with\n" +
			"mixminion import-server, from descriptors that you have from someone you trust.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errNoDownload },
	}
}
