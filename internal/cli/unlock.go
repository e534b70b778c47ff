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

// unlock opens the master key of a server, or makes one if there is none yet; nil if StoreKey is none.
func unlock(ctx context.Context, s *streams, cfg *config.Server, home string, p passphrase) (*vault.Vault, error) {
	base := cfg.Paths(home).BaseDir
	path := filepath.Join(base, vault.FileName)
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the master key: %w", err)
	}
	fresh := err != nil
	key := cfg.Main.StoreKey
	if key.From == config.StoreKeyNone {
		if !fresh {
			return nil, fmt.Errorf("%s: %w", path, errStoreNoKey)
		}
		return nil, nil
	}
	if fresh {
		if err := os.MkdirAll(base, 0o700); err != nil {
			return nil, fmt.Errorf("make the base directory: %w", err)
		}
	}
	use := func(secret vault.Secret) (*vault.Vault, error) {
		defer secret.Wipe()
		if fresh {
			return vault.Create(path, secret)
		}
		return vault.Open(path, secret)
	}
	var secret vault.Secret
	switch key.From {
	case config.StoreKeyPassphrase:
		return unlockByPassphrase(ctx, s, p, fresh, use)
	case config.StoreKeyCredential:
		secret, err = vault.Credential(os.Getenv("CREDENTIALS_DIRECTORY"), key.Name)
	default:
		name := config.Path(key.Name)
		secret, err = vault.KeyFile(name.In(base, home))
	}
	if err != nil {
		return nil, fmt.Errorf("[Server] StoreKey: %w", err)
	}
	return use(secret)
}

// unlockByPassphrase asks as often as it makes sense. A new passphrase is asked for twice on a terminal.
func unlockByPassphrase(ctx context.Context, s *streams, p passphrase, fresh bool, use func(vault.Secret) (*vault.Vault, error)) (*vault.Vault, error) {
	ask, tries, err := p.source(ctx, s)
	if errors.Is(err, errNoPassphrase) {
		err = errStorePassphrase
	}
	if err != nil {
		return nil, err
	}
	for ; ; tries-- {
		v, err := askAndUnlock(ask, fresh, tries > 1, use)
		if !errors.Is(err, vault.ErrWrongKey) || tries <= 1 {
			return v, err
		}
		_, _ = fmt.Fprintln(s.err, "That is not it.")
	}
}

func askAndUnlock(ask func(string) ([]byte, error), fresh, person bool, use func(vault.Secret) (*vault.Vault, error)) (*vault.Vault, error) {
	prompt := "Passphrase of the mix: "
	if fresh {
		prompt = "New passphrase of the mix, which each start will ask for: "
	}
	text, err := ask(prompt)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	secret, err := vault.Passphrase(text)
	if err != nil {
		return nil, err
	}
	if fresh && person {
		again, err := ask("The same passphrase again: ")
		if err != nil {
			return nil, err
		}
		defer clear(again)
		if string(again) != string(text) {
			return nil, errMismatch
		}
	}
	return use(secret)
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
