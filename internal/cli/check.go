package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"mixminion/internal/config"
	"mixminion/internal/harden"
	"mixminion/internal/store/lockfile"
	"mixminion/mix"
	"mixminion/mix/backup"
	"mixminion/mix/checkup"

	"github.com/spf13/cobra"
)

func newCheck(s *streams, configFile *string) *cobra.Command {
	var packets bool
	var p passphrase
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for what could keep the mix from running well",
		Long: "Reads the configuration and looks at this machine: the name that others will use, ports, files\n" +
			"and who may read them, room on the disk, limits, the clock, the mail server. Each finding\n" +
			"says how to mend it. Nothing is changed, and a running mix is not disturbed. The status is 1\n" +
			"if there is a problem.\n\n" +
			"With --store it also reads all packets and replay logs, to find damage that a failing disk or a\n" +
			"crash has left. For that the mix must have been stopped, and what StoreKey names must be there.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return check(cmd.Context(), s, *configFile, packets, p) },
	}
	cmd.Flags().BoolVar(&packets, "store", false, "read all packets and replay logs, too")
	p.registerStore(cmd)
	return cmd
}

func check(ctx context.Context, s *streams, file string, packets bool, p passphrase) error {
	home, err := userHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	cfg, file, err := readServerConfig(file, home)
	if err != nil {
		return err
	}
	s.say("Configuration: %s", file)
	mixConfig, wrong := mix.FromConfig(cfg, home, software, slog.New(slog.DiscardHandler))
	host := checkup.Host{MemoryLock: harden.MayLockMemory, Running: baseInUse(cfg.Paths(home).BaseDir)}
	for _, x := range mixConfig.Exits {
		if p, ok := x.Exit.(interface{ Probe(context.Context) error }); ok {
			host.MailServers = append(host.MailServers, checkup.MailServer{Exit: x.Type, Probe: p.Probe})
		}
	}
	findings := checkup.Run(ctx, cfg, home, host)
	// A file that the configuration names may be wrong. That is no reason to keep quiet about the rest.
	if wrong != nil && !slices.ContainsFunc(findings, func(f checkup.Finding) bool { return f.Text == wrong.Error() }) {
		findings = slices.Insert(findings, 0, checkup.Finding{
			Level: checkup.Problem, About: "configuration", Text: wrong.Error(), Mend: "correct it; the mix does not start so",
		})
	}
	if packets {
		findings = append(findings, checkStore(ctx, s, cfg, home, p)...)
	}
	problems := 0
	for _, f := range findings {
		if f.Level == checkup.Problem {
			problems++
		}
		if s.quiet && f.Level < checkup.Warning {
			continue
		}
		line := fmt.Sprintf("%-8s %s: %s", f.Level, f.About, f.Text)
		if f.Mend != "" {
			line += "\n         To mend it: " + f.Mend + "."
		}
		if _, err := fmt.Fprintln(s.out, line); err != nil {
			return err
		}
	}
	if problems > 0 {
		return errors.New(count(problems, "problem") + " found")
	}
	return nil
}

// baseInUse reports whether a process works on a base directory.
func baseInUse(base string) bool {
	name := filepath.Join(base, backup.BaseLock)
	if _, err := os.Lstat(name); err != nil {
		return false // nothing was started there yet, and nothing is to be made
	}
	lock, err := lockfile.Try(name)
	if err == nil {
		_ = lock.Close() // it was only opened to be looked at
	}
	return errors.Is(err, lockfile.ErrHeld)
}

// checkStore looks for damage in the packets and replay logs of a mix that does not run.
func checkStore(ctx context.Context, s *streams, cfg *config.Server, home string, p passphrase) []checkup.Finding {
	paths := cfg.Paths(home)
	one := func(level checkup.Level, text, mend string) []checkup.Finding {
		return []checkup.Finding{{Level: level, About: "packets", Text: text, Mend: mend}}
	}
	if _, err := os.Stat(paths.BaseDir); err != nil {
		return one(checkup.Note, "there are none yet", "")
	}
	lock, err := lockBase(paths.BaseDir)
	if err != nil {
		return one(checkup.Problem, err.Error(), "mixminiond stop, if the mix runs; then check again")
	}
	defer func() { _ = lock.Close() }()
	var c mix.Config
	_, exists, err := findVault(paths)
	if exists { // then unlock makes none
		c.Vault, err = unlock(ctx, s, cfg, home, p)
	}
	if err != nil {
		return one(checkup.Problem, err.Error(), "")
	}
	if c.Vault != nil {
		defer c.Vault.Wipe()
	}
	disk, err := c.Disk()
	if err != nil {
		return one(checkup.Problem, err.Error(), "")
	}
	return checkup.Store(disk, paths)
}
