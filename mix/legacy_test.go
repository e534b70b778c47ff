package mix

import (
	"slices"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/internal/testnet/testdir"
	"mixminion/packet"
)

// A legacy link is made only to a server of the directory whose newest descriptor does not say that it speaks TLS 1.3.
func TestLegacyHops(t *testing.T) {
	server := func(name string, n int, later time.Duration, versions []string) *directory.Descriptor {
		d, err := testdir.Server(name, n, coverStart.Truncate(day), func(f *directory.Fields) {
			f.Incoming.TLS, f.Published = versions, f.Published.Add(later)
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	old := server("old", 0, 0, nil)
	modern := server("modern", 1, 0, directory.TLSVersions(false))
	both := server("both", 2, 0, directory.TLSVersions(true))
	before, after := server("renewed", 3, 0, nil), server("renewed", 3, time.Hour, directory.TLSVersions(true))
	m := coverMix(t, clock.NewManual(coverStart), func(c *Config) {
		c.Servers = func() []*directory.Descriptor {
			return []*directory.Descriptor{old, modern, both, before, after}
		}
	})
	moved, stranger := old.Node().Hop, old.Node().Hop
	moved.Host = "proxy.example.com"
	stranger.KeyID = crypt.KeyID{1}
	for name, c := range map[string]struct {
		hop  packet.Hop
		want bool
	}{
		"0.0.8": {old.Node().Hop, true}, "TLS 1.3": {modern.Node().Hop, false}, "both": {both.Node().Hop, false},
		"upgraded": {before.Node().Hop, false}, "elsewhere": {moved, false}, "unknown": {stranger, false},
	} {
		if got := m.isLegacy(c.hop); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if m.legacyHop() != nil {
		t.Error("legacy links are made without having been asked for")
	}
}

// The descriptor says what links are made with, and warns users of legacy ones.
func TestLegacyInDescriptor(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		c := Config{Relay: true, Interval: time.Hour, Rule: Rule{MinSize: 10}, LegacyIncoming: legacy, LegacyOutgoing: legacy}
		f := c.describe(directory.Fields{})
		want := directory.TLSVersions(legacy)
		if !slices.Equal(f.Incoming.TLS, want) || !slices.Equal(f.Outgoing.TLS, want) {
			t.Errorf("legacy %v: %v, %v", legacy, f.Incoming.TLS, f.Outgoing.TLS)
		}
		const base = "Software is under development"
		if why := f.WhyInsecure; legacy && why != base+", Legacy TLS is on" || !legacy && why != base {
			t.Errorf("legacy %v: %q", legacy, why)
		}
	}
}
