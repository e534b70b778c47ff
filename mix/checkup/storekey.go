package checkup

import (
	"errors"
	"os"
	"path/filepath"

	"mixminion/internal/config"
	"mixminion/internal/vault"
)

// storeKey looks whether what StoreKey names opens the master key.
func (c *checker) storeKey() {
	const about = "store key"
	path := filepath.Join(c.paths.BaseDir, vault.FileName)
	_, err := os.Lstat(path)
	exists := err == nil
	key := c.cfg.Main.StoreKey
	switch {
	case key.From == config.StoreKeyNone && exists:
		c.add(Problem, about, "write the StoreKey again that was there before", "what waits is encrypted, and StoreKey is none")
	case key.From == config.StoreKeyFile:
		secret, err := vault.KeyFile(config.Path(key.Name).In(c.paths.BaseDir, c.home))
		if err != nil {
			c.add(Problem, about, "put the key file where StoreKey says, readable for the mix's user alone", "%v", err)
			return
		}
		defer secret.Wipe()
		v, err := vault.Open(path, secret)
		switch {
		case errors.Is(err, vault.ErrNoVault):
			c.add(Note, about, "", "there is no master key yet; the next start makes it, and encrypts what is there")
		case err != nil:
			c.add(Problem, about, "put the right key file in its place", "%v", err)
		default:
			v.Wipe()
			c.add(OK, about, "", "the key file opens the master key")
		}
	}
}
