package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mixminion/authority/inbox"

	"github.com/spf13/cobra"
)

func newDirectory(s *streams, configFile *string) *cobra.Command {
	root := &cobra.Command{
		Use:   "directory",
		Short: "Decide which mixes a directory authority votes for, and look after it",
		Long: "Works on what a directory authority, a mixminiond with a section [Directory], keeps of mixes:\n" +
			"their descriptors, and what you have decided about them. It does not matter whether the\n" +
			"authority is running; if it is, it knows at once.\n\n" +
			"A mix is named by its nickname, or by the fingerprint of its identity key, which nobody can\n" +
			"forge. A mix that is new is pending: it is told so, and not voted for, until you have\n" +
			"approved it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return errors.New("say which command you want")
		},
	}
	root.AddCommand(newDirectoryList(s, configFile), newDirectoryShow(s, configFile))
	for _, d := range decisionCommands {
		root.AddCommand(newDecision(s, configFile, d))
	}
	root.AddCommand(newRecommend(s, configFile), newDirectoryImport(s, configFile), newDirectoryExport(s, configFile))
	root.AddCommand(newDirectoryIdentity(s, configFile), newDirectoryAudit(s, configFile))
	return root
}

// openInbox opens the inbox of the authority that a configuration describes.
func openInbox(configFile string, change ...func(*inbox.Config)) (*inbox.Inbox, error) {
	home, err := userHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find the home directory: %w", err)
	}
	cfg, file, err := readServerConfig(configFile, home)
	if err != nil {
		return nil, err
	}
	if !cfg.Given("Directory", "") {
		return nil, fmt.Errorf("%s has no section [Directory]: it describes no directory authority", file)
	}
	dir := cfg.Paths(home).StorageDir
	if err := checkOwner(dir, filepath.Dir(dir)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the authority: %w", err)
	}
	c := inbox.Config{Dir: dir}
	for _, f := range change {
		f(&c)
	}
	return inbox.Open(c)
}

// checkOwner returns an error if the first of the places that exists belongs to another user: what root writes the daemon cannot read.
func checkOwner(places ...string) error {
	for _, p := range places {
		info, err := os.Stat(p)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if owner, foreign := foreignOwner(info); foreign {
			return fmt.Errorf("%s belongs to another user; run this command as that user, with sudo -u '#%d'", p, owner)
		}
		return nil
	}
	return nil
}
