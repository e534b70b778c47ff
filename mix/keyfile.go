package mix

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mixminion/internal/store/durable"
	"mixminion/internal/vault"
)

// ErrKeySealed says that a key file is encrypted, and the master key is not there.
var ErrKeySealed = errors.New("this key is encrypted: write the StoreKey into the configuration that it had when the key was encrypted")

// keyFiles reads and writes the files of private keys: PEM or, as EncryptIdentityKey and EncryptPrivateKey say, PEM
// encrypted under the master key.
type keyFiles struct {
	vault                    *vault.Vault
	sealIdentity, sealPacket bool
}

func (c *Config) keyFiles() keyFiles {
	return keyFiles{c.Vault, c.EncryptIdentityKey, c.EncryptPrivateKey}
}

// sealedName is what the file of a packet key is called when it is encrypted.
func sealedName(dir string) string { return filepath.Base(dir) + "/" + packetKeyFile }

// read reads a key file, and says whether it is encrypted. The name is the one that it was encrypted with.
func (f keyFiles) read(path, name string) (key *rsa.PrivateKey, sealed bool, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false, fmt.Errorf("read private key: %w", err)
	}
	if sealed = vault.Sealed(data); sealed {
		if f.vault == nil {
			return nil, true, fmt.Errorf("%s: %w", path, ErrKeySealed)
		}
		if data, err = f.vault.Open(name, data); err != nil {
			return nil, true, fmt.Errorf("%s: %w", path, err)
		}
	}
	defer clear(data)
	if key, err = ParseKey(data); err != nil {
		return nil, sealed, fmt.Errorf("%s: %w", path, err)
	}
	return key, sealed, nil
}

// load reads a key file and, if it is not encrypted as it is to be, writes it anew. The old content is overwritten
// then, also if a crash came in between.
func (f keyFiles) load(path, name string, seal bool) (*rsa.PrivateKey, error) {
	key, sealed, err := f.read(path, name)
	if err != nil {
		return nil, err
	}
	if err := sweepKey(path); err != nil {
		return nil, fmt.Errorf("erase old content of %s: %w", path, err)
	}
	if sealed != seal {
		// The old content keeps a name until it is overwritten, so that the next start finds it.
		old := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".old.tmp")
		if err := f.rewrite(path, old, name, key, seal); err != nil {
			return nil, fmt.Errorf("write %s anew: %w", path, err)
		}
	}
	return key, nil
}

func (f keyFiles) rewrite(path, old, name string, key *rsa.PrivateKey, seal bool) error {
	if err := os.Link(path, old); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := f.write(path, name, key, seal); err != nil {
		return err
	}
	return sweepKey(path)
}

// sweepKey erases what is left beside a key file: its old content, and what was half written in a crash. A second name
// of the file itself, the one that a crash leaves before the new content is there, goes without that.
func sweepKey(path string) error {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp"))
	if err != nil || len(left) == 0 {
		return err
	}
	now, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range left {
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() && (now == nil || !os.SameFile(info, now)) {
			if err := durable.Overwrite(name); err != nil {
				return err
			}
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return durable.SyncDir(filepath.Dir(path))
}

func (f keyFiles) write(path, name string, key *rsa.PrivateKey, seal bool) error {
	text, err := keyPEM(key)
	if err != nil {
		return err
	}
	defer clear(text)
	if !seal {
		return durable.WriteFile(path, text, 0o600)
	}
	if f.vault == nil {
		return fmt.Errorf("%s is to be encrypted, and there is no StoreKey", path)
	}
	box, err := f.vault.Seal(name, text)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, box, 0o600)
}
