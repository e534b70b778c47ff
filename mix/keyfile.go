package mix

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mixminion/internal/store/durable"
	"mixminion/internal/vault"
)

// ErrKeySealed says that a key file is encrypted, and the master key is not there.
var ErrKeySealed = errors.New("this key is encrypted: write the StoreKey into the configuration that it had when the key was encrypted")

// keyFiles reads and writes the files of private keys: PEM or, as EncryptIdentityKey and EncryptPrivateKey say, PEM encrypted under the master key.
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

// load reads a key file and, if it is not encrypted as it is to be, writes it anew. The old content is overwritten then.
func (f keyFiles) load(path, name string, seal bool) (*rsa.PrivateKey, error) {
	key, sealed, err := f.read(path, name)
	if err != nil || sealed == seal {
		return key, err
	}
	before, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := before.Stat()
	if err == nil {
		err = f.write(path, name, key, seal)
	}
	if err == nil {
		_, err = before.WriteAt(make([]byte, info.Size()), 0) // the file of before has no name any more
	}
	if err == nil {
		err = before.Sync()
	}
	if err = errors.Join(err, before.Close()); err != nil {
		return nil, fmt.Errorf("write %s anew: %w", path, err)
	}
	return key, nil
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
