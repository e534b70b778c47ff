package authority

import (
	"fmt"
	"log/slog"

	"mixminion/authority/inbox"
	"mixminion/directory"
	"mixminion/internal/config"
)

// FromConfig makes a Config of an operator's file, with the inbox that it votes from. The first call makes the identity key, and says so
// by fresh. home is what "~/" stands for.
func FromConfig(c *config.Server, home string, log *slog.Logger) (out Config, fresh bool, err error) {
	d := &c.Directory
	dir := c.Paths(home).StorageDir
	out = Config{
		Dir:            dir,
		ClientVersions: d.ClientVersions, ServerVersions: d.ServerVersions,
		Contact: d.Contact, Policy: d.Policy,
		Logger: log,
	}
	if out.Contact == "" {
		out.Contact = string(c.Main.ContactEmail)
	}
	if out.Identity, fresh, err = LoadIdentity(dir); err != nil {
		return Config{}, false, err
	}
	box, err := inbox.Open(inbox.Config{Dir: dir, AutoApprove: d.AutoApprove, BehindProxy: d.BehindProxy, Logger: log})
	if err != nil {
		return Config{}, false, err
	}
	out.Source, out.Exchange, out.Upload = box, box, box.Upload()
	for _, a := range d.Authority {
		out.Group = append(out.Group, directory.Voter{Fingerprint: a.Fingerprint, URL: string(a.URL)})
	}
	if len(out.Group) == 0 {
		out.Group = []directory.Voter{OwnLine(c, out)}
	}
	return out, fresh, nil
}

// OwnLine is the line by which the members of the group, and those who trust it, know this authority.
func OwnLine(c *config.Server, out Config) directory.Voter {
	return directory.Voter{Fingerprint: Fingerprint(out.Identity), URL: string(c.Directory.URL)}
}

// CheckGroup returns an error that matches ErrGroup unless the group is in order and has this authority in it.
func (c *Config) CheckGroup() error {
	own := Fingerprint(c.Identity)
	found := false
	for _, v := range c.Group {
		if !directory.ValidFingerprint(v.Fingerprint) || !directory.ValidBaseURL(v.URL) {
			return fmt.Errorf("%w: %q is not a fingerprint and a base URL that ends with a slash", ErrGroup, v.String())
		}
		found = found || v.Fingerprint == own
	}
	if !found {
		return fmt.Errorf("%w: this authority, %s, is not in it", ErrGroup, own)
	}
	return nil
}
