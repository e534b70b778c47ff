package path

import (
	"strings"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

// A family is what a descriptor says of it, made for quick comparisons: nicknames in lower case and fingerprints in upper case.
type family struct {
	fingerprint string // of the server itself
	names       map[string]bool
}

// newFamily leaves servers without family the zero value.
func newFamily(d *directory.Descriptor, key crypt.KeyID) family {
	if len(d.Family) == 0 {
		return family{}
	}
	f := family{fingerprint: key.Fingerprint(), names: make(map[string]bool, len(d.Family))}
	for _, name := range d.Family {
		if directory.ValidNickname(name) {
			name = strings.ToLower(name)
		}
		f.names[name] = true
	}
	return f
}

// relatedTo reports whether two different servers are of one family: each names the other (see directory.Descriptor.SameFamily).
func (a *server) relatedTo(b *server) bool {
	return a.family.names != nil && b.family.names != nil && a.claims(b) && b.claims(a) && !a.same(b)
}

// claims is for servers which both have a family.
func (a *server) claims(b *server) bool {
	return a.family.names[b.name] || a.family.names[b.family.fingerprint]
}

// related reports whether srv is of one family with a server that is on the path, or with the one that it leads to.
func (c *chooser) related(path []*server, srv *server) bool {
	if srv.family.names == nil {
		return false
	}
	for _, p := range path {
		if p != nil && p.relatedTo(srv) {
			return true
		}
	}
	return c.next != nil && c.next.relatedTo(srv)
}
