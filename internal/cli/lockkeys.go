package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"mixminion/internal/config"

	"github.com/spf13/cobra"
)

var errNothingLocked = errors.New("there is no master key: the configuration says StoreKey: none, or the mix was never started with it. " +
	"Write the StoreKey that you want into [Server] and start the mix")

func newLockKeys(s *streams, configFile *string) *cobra.Command {
	var storeKey string
	var p passphrase
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Change what unlocks the encrypted store",
		Long: "Locks the master key of the mix with something else than before: another passphrase, another key file,\n" +
			"another credential. What is encrypted stays as it is. It asks for what unlocks it now, as StoreKey in\n" +
			"the configuration says, and then for the new passphrase if --store-key is passphrase; --passphrase-fd\n" +
			"gives both, one line each. A key file that does not exist is made. Without --store-key the kind stays\n" +
			"the same: that is for a new passphrase. If StoreKey is another one from then on, the command says so;\n" +
			"write it into the configuration before the next start. The mix may run. The old lock is overwritten,\n" +
			"but copies of the file vault that somebody has made open with the old key or passphrase for ever.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lockKeys(cmd.Context(), s, *configFile, storeKey, p)
		},
	}
	cmd.Flags().StringVar(&storeKey, "store-key", "", "lock with `WHAT`: passphrase, file NAME, or credential NAME")
	p.registerStore(cmd)
	return cmd
}

func lockKeys(ctx context.Context, s *streams, configFile, text string, p passphrase) error {
	home, err := os.UserHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	cfg, configFile, err := readServerConfig(configFile, home)
	if err != nil {
		return err
	}
	next := *cfg
	if text != "" {
		if err := next.Main.StoreKey.Set(text); err != nil {
			return fmt.Errorf("--store-key: %w", err)
		}
	}
	was, now := cfg.Main.StoreKey, next.Main.StoreKey
	if now.From == config.StoreKeyNone {
		return errors.New("--store-key: a master key cannot be without a lock; a mix goes back to a store in clear only when it is empty, as docs/operator-guide.md says")
	}
	path, exists, err := findVault(cfg.Paths(home))
	if err != nil {
		return err
	}
	if !exists {
		return fmt.Errorf("%s: %w", path, errNothingLocked)
	}
	// One for both, so that two lines of one descriptor are read in turn.
	source := p.ask()
	key, err := unlockWith(ctx, s, cfg, home, source)
	if err != nil {
		return err
	}
	defer key.Wipe()
	if err := makeStoreKey(s, &next, home); err != nil {
		return err
	}
	secret, err := storeSecret(ctx, s, &next, home, source)
	if err != nil {
		return err
	}
	defer secret.Wipe()
	if err := key.Lock(path, secret); err != nil {
		return err
	}
	s.say("The master key is locked anew. Destroy copies of %s, and what unlocked it before.", path)
	if was != now {
		s.say("Write this into [Server] of %s before the next start: StoreKey: %s", configFile, now.String())
	}
	return nil
}
