package client

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"mixminion/dirclient"
	"mixminion/internal/clock"
	"mixminion/internal/store/durable"
	"mixminion/message"
	"mixminion/message/keyring"
	"mixminion/mmtp"
	"mixminion/packet"
)

// MaxRetry is the longest time that a server keeps trying to pass a packet on; every hop of a path must be valid that much longer.
const MaxRetry = 6 * 24 * time.Hour

// Options configures a Client. The zero value is good.
type Options struct {
	Clock clock.Clock // the system's by default
	// Nicknames of servers that random hops avoid: everywhere, as the first hop, as the last hop.
	BlockServers, BlockEntries, BlockExits []string
	// NoIPv4 says that this machine has IPv6 only, so that paths must begin at servers which are reached over it. Everybody else begins at
	// servers that are reached over IPv4, whatever their machine has besides, so that their choices do not differ.
	NoIPv4 bool
	// Connect is how long to wait for a server, 0 means the default of package mmtp.
	Connect time.Duration
	// Directories says who is trusted to sign the directory and where to download it; Open fills in Dir and the clock.
	// If nobody is trusted there is no directory, and paths are chosen among all servers that were imported.
	Directories dirclient.Options
	// UseOldDirectory has paths chosen from a directory that is too old otherwise: see directory.Grace.
	UseOldDirectory bool
}

// A Client works on one home directory.
type Client struct {
	home  string
	opts  Options
	clock clock.Clock
	dirs  *dirclient.Client
	locks atomic.Int32 // how many calls of Lock hold the lock: 0 or 1
}

// Open opens a home directory, and makes it if it is missing.
func Open(home string, opts Options) (*Client, error) {
	if opts.Clock == nil {
		opts.Clock = clock.Real{}
	}
	opts.Directories.Dir, opts.Directories.Fetch.Now = home, opts.Clock.Now
	c := &Client{home: home, opts: opts, clock: opts.Clock, dirs: dirclient.New(opts.Directories)}
	for _, dir := range []string{home, c.path(importedDir), c.path(keysDir), c.path(queueDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open home directory: %w", explain(err))
		}
	}
	return c, nil
}

const (
	importedDir = "imported"
	keysDir     = "keys"
	keyringFile = "keyring.txt"
)

func (c *Client) path(parts ...string) string {
	return filepath.Join(append([]string{c.home}, parts...)...)
}

// transport returns an MMTP client; the caller closes it. legacy says to which servers legacy links may be made; nil means to none.
func (c *Client) transport(legacy func(packet.Hop) bool) *mmtp.Client {
	return mmtp.NewClient(mmtp.ClientConfig{Now: c.clock.Now, ConnectTimeout: c.opts.Connect, Legacy: legacy})
}

// Keyring reads the keyring. Without a file it returns an empty one. A wrong password gives keyring.ErrPassword.
func (c *Client) Keyring(password []byte) (*keyring.Keyring, error) {
	text, err := os.ReadFile(c.path(keysDir, keyringFile))
	if errors.Is(err, fs.ErrNotExist) {
		return new(keyring.Keyring), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read keyring: %w", err)
	}
	ring, err := keyring.Parse(text, password)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	return ring, nil
}

// HasKeyring reports whether there is a keyring.
func (c *Client) HasKeyring() (bool, error) {
	_, err := os.Stat(c.path(keysDir, keyringFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for keyring: %w", err)
	}
	return true, nil
}

// SaveKeyring writes the keyring, encrypted with password. The caller holds the lock, from before it read the keyring.
func (c *Client) SaveKeyring(ring *keyring.Keyring, password []byte) error {
	if err := c.checkLocked(); err != nil {
		return fmt.Errorf("write keyring: %w", err)
	}
	text, err := ring.Marshal(rand.Reader, password)
	if err != nil {
		return fmt.Errorf("write keyring: %w", err)
	}
	if err := durable.WriteFile(c.path(keysDir, keyringFile), text, 0o600); err != nil {
		return fmt.Errorf("write keyring: %w", explain(err))
	}
	return nil
}

// Keys returns what the keyring's owner can open messages with.
func (c *Client) Keys(ring *keyring.Keyring) message.Keys {
	return message.Keys{Identities: ring.Identities(c.clock.Now())}
}
