package client

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"mixminion/directory"
	"mixminion/internal/store/durable"
	"mixminion/mmtp"
	"mixminion/path"
)

// Errors of Import.
var (
	ErrExpired    = errors.New("server descriptor is already expired")
	ErrSuperseded = errors.New("server descriptor is older than one that is known already")
	ErrKnown      = errors.New("server descriptor is known already")
	// ErrNoDescriptors says that a text holds none.
	ErrNoDescriptors = errors.New("no server descriptor found")
)

// maxImport bounds a file of descriptors.
const maxImport = 64 << 20

// Import adds the descriptors in text to those that the client knows. It returns the ones it added. A descriptor that is expired,
// superseded, known or contradicts a known server is left out, and errors (joined) say why. The caller holds the lock.
func (c *Client) Import(text []byte) ([]*directory.Descriptor, error) {
	if err := c.checkLocked(); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if len(text) > maxImport {
		return nil, fmt.Errorf("import: %d MB of descriptors are too much", len(text)>>20)
	}
	known, err := c.imported()
	if err != nil {
		return nil, err
	}
	// A directory that cannot be used is no reason to import nothing.
	if d, err := c.dirs.Held(); err == nil && d != nil {
		known = append(known, d.Servers...)
	}
	parts := directory.SplitDescriptors(text)
	if len(parts) == 0 {
		return nil, ErrNoDescriptors
	}
	var added []*directory.Descriptor
	var errs []error
	for _, part := range parts {
		d, err := directory.ParseDescriptor(part)
		if err == nil {
			err = c.acceptable(d, known)
		}
		if err == nil {
			err = c.store(d)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		added, known = append(added, d), append(known, d)
	}
	return added, errors.Join(errs...)
}

func (c *Client) acceptable(d *directory.Descriptor, known []*directory.Descriptor) error {
	now := c.clock.Now()
	err := d.CheckPublished(now)
	switch {
	case err != nil:
	case d.Expired(now):
		err = ErrExpired
	case slices.ContainsFunc(known, func(k *directory.Descriptor) bool { return k.Digest() == d.Digest() }):
		err = ErrKnown
	case directory.Superseded(d, known, now):
		err = ErrSuperseded
	default:
		err = directory.CheckConflict(d, known)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.Nickname, err)
	}
	return nil
}

func (c *Client) store(d *directory.Descriptor) error {
	name := d.Nickname + "-" + d.Published.UTC().Format("20060102150405")
	path := c.path(importedDir, name)
	for n := 1; ; n++ {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			break
		}
		path = c.path(importedDir, fmt.Sprintf("%s.%d", name, n))
	}
	if err := durable.WriteFile(path, d.Text(), 0o600); err != nil {
		return fmt.Errorf("import %s: %w", d.Nickname, explain(err))
	}
	return nil
}

// Servers returns all descriptors that have not expired: those of the directory, if there is one, of whatever age, and
// of what was imported those of other servers. They are sorted by nickname.
func (c *Client) Servers() ([]*directory.Descriptor, error) {
	all, err := c.imported()
	if err != nil {
		return nil, err
	}
	d, err := c.dirs.Held()
	if err != nil {
		return nil, err
	}
	if d != nil {
		all = sortByName(append(beside(d, all), d.Servers...))
	}
	now := c.clock.Now()
	return slices.DeleteFunc(all, func(d *directory.Descriptor) bool { return d.Expired(now) }), nil
}

func sortByName(list []*directory.Descriptor) []*directory.Descriptor {
	slices.SortStableFunc(list, func(a, b *directory.Descriptor) int {
		return strings.Compare(strings.ToLower(a.Nickname), strings.ToLower(b.Nickname))
	})
	return list
}

// imported returns all descriptors that were imported, also the expired ones, whose nicknames are still taken.
func (c *Client) imported() ([]*directory.Descriptor, error) {
	entries, err := os.ReadDir(c.path(importedDir))
	if err != nil {
		return nil, fmt.Errorf("read imported servers: %w", err)
	}
	var list []*directory.Descriptor
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		d, err := readDescriptor(c.path(importedDir, e.Name()))
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return sortByName(list), nil
}

func readDescriptor(path string) (*directory.Descriptor, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read server descriptor: %w", err)
	}
	d, err := directory.ParseDescriptor(text)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged; delete the file, then import the server again: %w", path, err)
	}
	return d, nil
}

// lookupFile reads the descriptor that a path names as a file.
func (c *Client) lookupFile(name string) (*directory.Descriptor, error) {
	d, err := readDescriptor(name)
	if err == nil && d.Expired(c.clock.Now()) {
		err = fmt.Errorf("%s: %w", d.Nickname, ErrExpired)
	}
	return d, err
}

// selectPaths chooses paths among the servers that the client knows.
func (c *Client) selectPaths(spec path.Spec, req path.Request) ([]path.Path, []path.Warning, error) {
	servers, d, err := c.network()
	if err != nil {
		return nil, nil, fmt.Errorf("choose a path: %w", err)
	}
	req.Lookup, req.Recommended = c.lookupFile, recommends(d)
	req.BlockServers, req.BlockEntries, req.BlockExits = c.opts.BlockServers, c.opts.BlockEntries, c.opts.BlockExits
	req.Links = directory.MMTPProtocols(!c.opts.NoIPv4, c.opts.NoIPv4)
	paths, warnings, err := path.Select(rand.Reader, servers, spec, req)
	if errors.Is(err, path.ErrLegacyEntry) && !mmtp.LegacyAvailable {
		err = fmt.Errorf("%w; %w", err, mmtp.ErrNoLegacy)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("choose a path: %w", err)
	}
	return paths, append(warnings, unlisted(d, paths)...), nil
}
