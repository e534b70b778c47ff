package checkup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"mixminion/internal/config"
	"mixminion/internal/vault"
	"mixminion/mix"
)

// storeKey looks whether what StoreKey names opens the master key.
func (c *checker) storeKey() {
	const about = "store key"
	path := filepath.Join(c.paths.BaseDir, vault.FileName)
	_, err := os.Lstat(path)
	exists := err == nil
	key := c.cfg.Main.StoreKey
	if !exists {
		var lost *mix.LostKeyError
		switch err := mix.CheckNoMasterKey(c.paths); {
		case errors.As(err, &lost):
			c.add(Problem, about, lost.Mend, "%s is missing, and without it nothing opens %s", path, strings.Join(lost.Parts, ", "))
			return
		case err != nil:
			c.add(Problem, about, "let the user that runs the mix read its files", "%v", err)
			return
		}
	}
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
