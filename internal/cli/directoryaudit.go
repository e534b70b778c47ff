package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mixminion/authority"
	"mixminion/directory"
	"mixminion/internal/config"

	"github.com/spf13/cobra"
)

func newDirectoryAudit(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "audit",
		Short: "Verify the history of all directories",
		Long: "Verifies every directory that this authority has kept since it began: that it is whole, that a\n" +
			"majority of the authorities has signed the last one, and that each names the one before, so that\n" +
			"nobody can have replaced one later. Prints the hash of the last one: authorities that print the\n" +
			"same for the same day have the same history. Fails if something is wrong.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return auditDirectory(s, *configFile) },
	}
}

func newDirectoryIdentity(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "identity",
		Short: "Print the line by which others know this authority",
		Long: "Prints the line Authority that the configurations of all authorities of the group need in their\n" +
			"section [Directory], and those of users and mixes in [DirectoryServers]. It names the identity key of\n" +
			"this authority, which is made if there is none yet, and its URL.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return directoryIdentity(s, *configFile) },
	}
}

// authorityConfig reads the configuration of a directory authority and returns where it keeps its files.
func authorityConfig(configFile string) (cfg *config.Server, file, dir string, err error) {
	home, err := userHomeDir()
	if err != nil {
		return nil, "", "", fmt.Errorf("find the home directory: %w", err)
	}
	cfg, file, err = readServerConfig(configFile, home)
	if err != nil {
		return nil, "", "", err
	}
	if !cfg.Given("Directory", "") {
		return nil, "", "", fmt.Errorf("%s has no section [Directory]: it describes no directory authority", file)
	}
	return cfg, file, cfg.Paths(home).StorageDir, nil
}

func directoryIdentity(s *streams, configFile string) error {
	cfg, file, dir, err := authorityConfig(configFile)
	if err != nil {
		return err
	}
	if cfg.Directory.URL == "" {
		return fmt.Errorf("%s: [Directory] has no URL; say under which one others will find this authority", file)
	}
	if err := checkOwner(dir, filepath.Dir(dir)); err != nil {
		return err
	}
	key, fresh, err := authority.LoadIdentity(dir)
	if err != nil {
		return err
	}
	if fresh {
		s.say("A new identity key was made in %s. Keep a copy of it in a safe place.", dir)
	}
	_, err = fmt.Fprintf(s.out, "Authority: %s %s\n", authority.Fingerprint(key), cfg.Directory.URL)
	return err
}

func auditDirectory(s *streams, configFile string) error {
	cfg, file, dir, err := authorityConfig(configFile)
	if err != nil {
		return err
	}
	var group []directory.Voter
	for _, a := range cfg.Directory.Authority {
		group = append(group, directory.Voter{Fingerprint: a.Fingerprint, URL: string(a.URL)})
	}
	if len(group) == 0 {
		// An authority that votes with nobody.
		key, _, err := authority.LoadIdentity(dir)
		if err != nil {
			return err
		}
		group = []directory.Voter{{Fingerprint: authority.Fingerprint(key), URL: string(cfg.Directory.URL)}}
	}
	r, err := authority.Audit(dir, group)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: this authority has kept no directory yet", file)
	}
	if err != nil {
		return err
	}
	var out strings.Builder
	if r.Consensuses == 0 {
		out.WriteString("There is no directory yet.\n")
	} else {
		const layout = "2006-01-02"
		fmt.Fprintf(&out, "%d directories, from %s to %s.\n", r.Consensuses, r.First.Format(layout), r.Last.Format(layout))
		fmt.Fprintf(&out, "The last one: SHA-256 %s\n", r.Head)
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(&out, "Days without one: %s\n", strings.Join(r.Missing, " "))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&out, "Note: %s\n", n)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&out, "Problem: %s\n", p)
	}
	if r.OK() && r.Consensuses > 0 {
		out.WriteString("The history is whole.\n")
	}
	if _, err := fmt.Fprint(s.out, out.String()); err != nil {
		return err
	}
	if !r.OK() {
		return errors.New("the history is not in order; compare with what the other authorities print, and keep everything as it is")
	}
	return nil
}
