package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mixminion/internal/config"
	"mixminion/internal/store/durable"
	"mixminion/internal/vault"
	"mixminion/mix"

	"github.com/spf13/cobra"
)

var (
	errStorePassphrase = errors.New("StoreKey is passphrase, and there is no terminal to ask for it: give it with --passphrase-fd")
	errStoreNoKey      = errors.New("files of this mix are encrypted, and the configuration says StoreKey: none; " +
		"write the StoreKey again that it had before")
)

// registerStorePassphrase adds --passphrase-fd to a command that unlocks a mix.
func (p *passphrase) registerStore(cmd *cobra.Command) {
	cmd.Flags().IntVar(&p.fd, "passphrase-fd", -1, "read the passphrase that [Server] StoreKey asks for, one line, from descriptor `N`")
}

// asker finds out whom to ask for a passphrase, and how often it makes sense to ask again.
type asker func(ctx context.Context, s *streams) (ask func(prompt string) ([]byte, error), tries int, err error)

// ask is the source of passphrases of StoreKey. It is found once, so that several lines can be read from one descriptor.
func (p passphrase) ask() asker {
	var ask func(string) ([]byte, error)
	var tries int
	return func(ctx context.Context, s *streams) (func(string) ([]byte, error), int, error) {
		if ask != nil {
			return ask, tries, nil
		}
		var err error
		if ask, tries, err = p.source(ctx, s); errors.Is(err, errNoPassphrase) {
			err = errStorePassphrase
		}
		return ask, tries, err
	}
}

// unlock opens the master key of a server, or makes one if there is none yet; nil if StoreKey is none.
func unlock(ctx context.Context, s *streams, cfg *config.Server, home string, p passphrase) (*vault.Vault, error) {
	return unlockWith(ctx, s, cfg, home, p.ask())
}

func unlockWith(ctx context.Context, s *streams, cfg *config.Server, home string, source asker) (*vault.Vault, error) {
	paths := cfg.Paths(home)
	path, exists, err := findVault(paths)
	if err != nil {
		return nil, err
	}
	none := cfg.Main.StoreKey.From == config.StoreKeyNone
	switch {
	case exists && none:
		return nil, fmt.Errorf("%s: %w", path, errStoreNoKey)
	case exists:
		return openVault(ctx, s, cfg, home, path, source)
	case none:
		return nil, nil
	}
	if err := os.MkdirAll(paths.BaseDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the base directory: %w", err)
	}
	secret, err := storeSecret(ctx, s, cfg, home, source)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe()
	return vault.Create(path, secret)
}

// findVault says which file the master key is in, and whether there is one. It fails if there is none and something is encrypted.
func findVault(paths config.ServerPaths) (path string, exists bool, err error) {
	path = filepath.Join(paths.BaseDir, vault.FileName)
	_, err = os.Lstat(path)
	switch {
	case err == nil:
		return path, true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return path, false, fmt.Errorf("read the master key: %w", err)
	}
	if err := mix.CheckNoMasterKey(paths); err != nil {
		return path, false, fmt.Errorf("%s: %w", path, err)
	}
	return path, false, nil
}

// openVault opens the master key that is there; a person may mistype a passphrase.
func openVault(ctx context.Context, s *streams, cfg *config.Server, home, path string, source asker) (*vault.Vault, error) {
	use := func(secret vault.Secret, err error) (*vault.Vault, error) {
		if err != nil {
			return nil, err
		}
		defer secret.Wipe()
		return vault.Open(path, secret)
	}
	if cfg.Main.StoreKey.From != config.StoreKeyPassphrase {
		return use(keySecret(cfg, home))
	}
	ask, tries, err := source(ctx, s)
	if err != nil {
		return nil, err
	}
	for ; ; tries-- {
		v, err := use(askPassphrase(ask, "Passphrase of the mix: "))
		if !errors.Is(err, vault.ErrWrongKey) || tries <= 1 {
			return v, err
		}
		_, _ = fmt.Fprintln(s.err, "That is not it.")
	}
}

// storeSecret finds what StoreKey names, to lock a master key with it. A new passphrase is asked for twice on a terminal.
func storeSecret(ctx context.Context, s *streams, cfg *config.Server, home string, source asker) (vault.Secret, error) {
	if cfg.Main.StoreKey.From != config.StoreKeyPassphrase {
		return keySecret(cfg, home)
	}
	ask, tries, err := source(ctx, s)
	if err != nil {
		return vault.Secret{}, err
	}
	secret, err := askPassphrase(ask, "New passphrase of the mix, which each start will ask for: ")
	if err != nil || tries <= 1 {
		return secret, err
	}
	again, err := askPassphrase(ask, "The same passphrase again: ")
	if err != nil {
		secret.Wipe()
		return vault.Secret{}, err
	}
	defer again.Wipe()
	if !secret.Equal(again) {
		secret.Wipe()
		return vault.Secret{}, errMismatch
	}
	return secret, nil
}

// keySecret reads the key file or the credential.
func keySecret(cfg *config.Server, home string) (secret vault.Secret, err error) {
	key := cfg.Main.StoreKey
	if key.From == config.StoreKeyCredential {
		secret, err = vault.Credential(os.Getenv("CREDENTIALS_DIRECTORY"), key.Name)
	} else {
		name := config.Path(key.Name)
		secret, err = vault.KeyFile(name.In(cfg.Paths(home).BaseDir, home))
	}
	if err != nil {
		return vault.Secret{}, fmt.Errorf("[Server] StoreKey: %w", err)
	}
	return secret, nil
}

func askPassphrase(ask func(string) ([]byte, error), prompt string) (vault.Secret, error) {
	text, err := ask(prompt)
	if err != nil {
		return vault.Secret{}, err
	}
	defer clear(text)
	return vault.Passphrase(text)
}

// makeStoreKey makes the key file that StoreKey names if there is none.
func makeStoreKey(s *streams, cfg *config.Server, home string) error {
	if cfg.Main.StoreKey.From != config.StoreKeyFile {
		return nil
	}
	paths := cfg.Paths(home)
	path := config.Path(cfg.Main.StoreKey.Name).In(paths.BaseDir, home)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := vault.NewKey()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, key, 0o600); err != nil {
		return fmt.Errorf("make the key file: %w", err)
	}
	s.say("Made the key file %s. Keep a copy of it: without it the mix loses all packets that it holds.", path)
	return nil
}
