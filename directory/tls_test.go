package directory

import "testing"

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
