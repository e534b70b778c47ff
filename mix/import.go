package mix

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// An ImportedKey is a packet key of another program, with the hashes of all packets that it has opened.
type ImportedKey struct {
	Name       string // key_ and a number
	Key        *rsa.PrivateKey
	Descriptor []byte // that announces it
	Seen       [][20]byte
}

// Import makes the keys of a mix of an identity and packet keys that it had elsewhere, where they must not be used any
// more. What is missing is made as at a first start. There must be no keys yet.
func Import(c Config, identity *rsa.PrivateKey, keys []ImportedKey) (err error) {
	entries, err := os.ReadDir(c.KeyDir)
	if len(entries) > 0 {
		return fmt.Errorf("%s holds keys already", c.KeyDir)
	}
	if err != nil {
		if err := os.MkdirAll(c.KeyDir, 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	if err := c.keyFiles().write(filepath.Join(c.KeyDir, identityFile), identityFile, identity, c.EncryptIdentityKey); err != nil {
		return err
	}
	m, err := open(c, func(r *keyRing) error {
		for _, k := range keys {
			if _, err := r.install(k.Name, k.Key, k.Descriptor, k.Seen); err != nil {
				return fmt.Errorf("key set %s: %w", k.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(err, m.Close())
}
