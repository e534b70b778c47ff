package directory

import "testing"

// Two servers can be neighbours if they have a TLS in common; one without the entry is taken for a server of series 0.0.8.
func TestCanRelayToByTLS(t *testing.T) {
	server := func(name string, versions []string) *Descriptor {
		return &Descriptor{Fields: Fields{
			Nickname: name,
			Incoming: &Incoming{Hostname: "mix.example", Port: 1, Protocols: MMTPProtocols(true, false), TLS: versions},
			Outgoing: &Outgoing{Protocols: MMTPProtocols(true, false), TLS: versions},
		}}
	}
	old, modern, both := server("old", nil), server("modern", TLSVersions(false)), server("both", TLSVersions(true))
	for _, c := range []struct {
		from, to *Descriptor
		want     bool
	}{
		{old, server("older", nil), true}, {old, modern, false}, {modern, old, false}, {old, both, true}, {both, old, true},
		{modern, both, true}, {both, modern, true}, {modern, server("newer", TLSVersions(false)), true},
	} {
		if got := c.from.CanRelayTo(c.to); got != c.want {
			t.Errorf("%s to %s: %v", c.from.Nickname, c.to.Nickname, got)
		}
	}
	if old.AcceptsTLS13() || !modern.AcceptsTLS13() || !both.AcceptsTLS13() || (&Descriptor{}).AcceptsTLS13() {
		t.Error("AcceptsTLS13")
	}
}
