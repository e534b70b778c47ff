package mix

import (
	"fmt"
	"net/netip"
	"testing"

	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/internal/testnet/testdir"
)

// Only where a server of the directory is to be found by its descriptor is its address believed; a way there through somebody else is not.
func TestLearnMixes(t *testing.T) {
	listed, err := testdir.Server("listed", 0, coverStart.Truncate(day), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := coverMix(t, clock.NewManual(coverStart), func(c *Config) {
		c.Servers = func() []*directory.Descriptor { return []*directory.Descriptor{listed} }
	})
	hop := listed.Node().Hop
	first, second, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")
	other := hop
	other.Host = "proxy.example.com"
	m.learn(other, first)
	other = hop
	other.KeyID = crypt.KeyID{1}
	m.learn(other, first)
	if m.known.at(first) {
		t.Error("an address that anybody can name is believed")
	}
	m.learn(hop, first)
	m.learn(hop, six)
	if !m.known.at(first) || !m.known.at(six) || m.known.at(second) {
		t.Errorf("known: %v", m.known.addresses)
	}
	m.learn(hop, second)
	if m.known.at(first) || !m.known.at(second) || !m.known.at(six) {
		t.Errorf("after the mix has moved: %v", m.known.addresses)
	}
}

func TestKnownMixesAreBounded(t *testing.T) {
	var k knownMixes
	for i := range maxKnown + 100 {
		k.learn(crypt.KeyID{byte(i), byte(i >> 8)}, netip.MustParseAddr(fmt.Sprintf("10.%d.%d.1", i>>8, i&255)))
	}
	if len(k.addresses) > maxKnown || len(k.mixes) > maxKnown || len(k.addresses) == 0 {
		t.Errorf("%d addresses of %d mixes", len(k.addresses), len(k.mixes))
	}
}
