package mix

import (
	"errors"
	"fmt"

	"mixminion/internal/store"
)

// storeLabel is the label of the key under which packets and replay logs are encrypted.
const storeLabel = "packets and replay logs"

// Disk is what packets and replay logs lie on: in clear, or encrypted under the master key. Whoever reads them while the mix is stopped
// needs it, too.
func (c *Config) Disk() (store.FS, error) {
	if c.Vault == nil {
		return store.OS, nil
	}
	key, err := c.Vault.Subkey(storeLabel)
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	return store.Sealed(store.OS, key)
}

var errSealedStore = errors.New("the packets and replay logs are encrypted: write the StoreKey into [Server] that was there when they were made")

var errOtherVault = errors.New("the packets and replay logs were encrypted under another master key: put back the file vault that was in the base " +
	"directory then. If it is lost they are, too: remove the directory of the queues and the packet keys, and new ones are made")

// mendSealed says what to do when the key of the store does not fit.
func mendSealed(err error) error {
	switch {
	case errors.Is(err, store.ErrSealed):
		return fmt.Errorf("%w: %w", err, errSealedStore)
	case errors.Is(err, store.ErrKey):
		return fmt.Errorf("%w: %w", err, errOtherVault)
	}
	return err
}
