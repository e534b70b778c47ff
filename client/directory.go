package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/path"
)

// UpdateServers downloads the directory (dir-spec 8), whatever is held, and holds the newest that it finds. Without
// trusted authorities the error is dirclient.ErrNoAuthorities; if no source had a directory that counts, it is a
// *dirclient.UpdateError, and what was held stays.
func (c *Client) UpdateServers(ctx context.Context) (*dirclient.Update, error) {
	up, err := c.dirs.Update(ctx)
	return up, explain(err)
}

// UpdateDue reports whether a directory should be downloaded before packets are made: there are authorities to trust, and none
// that can be used was downloaded since midnight (UTC).
func (c *Client) UpdateDue() bool { return c.dirs.Due() }

// HasAuthorities reports whether there are authorities to trust, so that directories can be downloaded.
func (c *Client) HasAuthorities() bool { return c.dirs.Trusts() }

// Directory returns the directory that is held, its signatures verified; nil if there is none. If it is damaged, or no
// longer signed by enough of those who are trusted, the error is dirclient.ErrHeld.
func (c *Client) Directory() (*dirclient.Consensus, error) { return c.dirs.Held() }

// usable returns the directory that is held if it is not too old to be used.
func (c *Client) usable() (*dirclient.Consensus, error) {
	d, err := c.dirs.Held()
	if err != nil || d == nil {
		return nil, err
	}
	if err := d.CheckFresh(c.clock.Now()); err != nil && !(c.opts.UseOldDirectory && errors.Is(err, directory.ErrStale)) {
		return nil, fmt.Errorf("%w; download a newer one", err)
	}
	return d, nil
}

// DirectoryUsable returns nil if paths can be chosen: there is no directory, or one that is not too old. Otherwise the error, such as
// directory.ErrStale, says what to do.
func (c *Client) DirectoryUsable() error {
	_, err := c.usable()
	return err
}

// beside returns those imported descriptors that are of no server of the directory: of its servers, everybody uses the
// descriptors that stand in it.
func beside(d *dirclient.Consensus, imported []*directory.Descriptor) []*directory.Descriptor {
	if d == nil {
		return imported
	}
	listed := listedServers(d)
	return slices.DeleteFunc(imported, func(i *directory.Descriptor) bool {
		return listed[i.Fingerprint()] || listed[strings.ToLower(i.Nickname)]
	})
}

// listedServers is the set of the fingerprints and nicknames in a directory. No nickname has the form of a fingerprint.
func listedServers(d *dirclient.Consensus) map[string]bool {
	set := map[string]bool{}
	for _, s := range d.Servers {
		set[s.Fingerprint()], set[strings.ToLower(s.Nickname)] = true, true
	}
	return set
}

// Recommended returns what tells whether a server may be chosen at random: the directory recommends it, or there is no
// directory and the user has imported it.
func (c *Client) Recommended() (func(*directory.Descriptor) bool, error) {
	d, err := c.dirs.Held()
	if err != nil {
		return nil, err
	}
	return recommends(d), nil
}

func recommends(d *dirclient.Consensus) func(*directory.Descriptor) bool {
	if d == nil {
		return func(*directory.Descriptor) bool { return true }
	}
	return d.Recommends
}

// network returns the servers that paths may go through, and which of them may be chosen at random. If there is a
// directory, these are the ones that it recommends, with the descriptors in it, so that everybody who has it chooses in
// the same way; what the user has imported beside that can only be named.
func (c *Client) network() ([]*directory.Descriptor, *dirclient.Consensus, error) {
	d, err := c.usable()
	if err != nil {
		return nil, nil, err
	}
	if d == nil {
		servers, err := c.Servers()
		return servers, nil, err
	}
	imported, err := c.imported()
	if err != nil {
		return nil, nil, err
	}
	return append(slices.Clone(d.Servers), beside(d, imported)...), d, nil
}

// unlisted warns about servers on the paths that are not in the directory.
func unlisted(d *dirclient.Consensus, paths []path.Path) (warnings []path.Warning) {
	if d == nil {
		return nil
	}
	listed := listedServers(d)
	for _, p := range paths {
		for _, s := range slices.Concat(p.Leg1, p.Leg2) {
			w := path.Warning{Code: path.WarnNotRecommended,
				Text: s.Nickname + " is not in the directory: few others use it, and that can give you away"}
			if !listed[s.Fingerprint()] && !slices.Contains(warnings, w) {
				warnings = append(warnings, w)
			}
		}
	}
	return warnings
}
