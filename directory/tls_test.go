package directory

import (
	"slices"
	"testing"
)

// A server without the entry is taken for a server of series 0.0.8.
func TestAcceptsTLS13(t *testing.T) {
	for _, c := range []struct {
		versions []string
		want     bool
	}{{nil, false}, {[]string{TLSLegacy}, false}, {TLSVersions(false), true}, {TLSVersions(true), true}} {
		d := &Descriptor{Fields: Fields{Incoming: &Incoming{TLS: c.versions}}}
		if d.AcceptsTLS13() != c.want {
			t.Errorf("%v: %v", c.versions, !c.want)
		}
	}
	if (&Descriptor{}).AcceptsTLS13() {
		t.Error("a server that takes no connections")
	}
}

// Two servers are joined when they have a version of TLS in common; to itself a server needs no link.
func TestRelayByTLS(t *testing.T) {
	server := func(name string, in, out []string) *Descriptor {
		v4 := MMTPProtocols(true, false)
		return &Descriptor{Fields: Fields{Nickname: name, Incoming: &Incoming{Protocols: v4, TLS: in}, Outgoing: &Outgoing{Protocols: v4, TLS: out}}}
	}
	modern, both := server("modern", TLSVersions(false), TLSVersions(false)), server("both", TLSVersions(true), TLSVersions(true))
	old, says := server("old", nil, nil), server("says", []string{TLSLegacy}, []string{TLSLegacy})
	takes, makes := server("takes", TLSVersions(true), TLSVersions(false)), server("makes", TLSVersions(false), TLSVersions(true))
	inward := server("inward", TLSVersions(false), nil)
	for _, c := range []struct {
		from *Descriptor
		to   []*Descriptor
	}{
		{modern, []*Descriptor{modern, both, takes, makes, inward}},
		{both, []*Descriptor{modern, both, old, says, takes, makes, inward}},
		{old, []*Descriptor{both, old, says, takes}},
		{says, []*Descriptor{both, old, says, takes}},
		{takes, []*Descriptor{modern, both, takes, makes, inward}},
		{makes, []*Descriptor{modern, both, old, says, takes, makes, inward}},
		{inward, []*Descriptor{both, old, says, takes, inward}},
	} {
		for _, to := range []*Descriptor{modern, both, old, says, takes, makes, inward} {
			if got := c.from.CanRelayTo(to); got != slices.Contains(c.to, to) {
				t.Errorf("%s to %s: %v", c.from.Nickname, to.Nickname, got)
			}
		}
	}
	if (&Descriptor{}).AcceptsTLS() {
		t.Error("a server that takes no connections")
	}
}
