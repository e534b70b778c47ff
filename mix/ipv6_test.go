package mix_test

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/testnet/fakedns"
	"mixminion/mix"
)

// newFakeHopOn6 starts a next hop that is reached at [::1] only, as "six.example".
func newFakeHopOn6(t *testing.T, clk *testClock, n int) *fakeHop {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this machine has no [::1]: %v", err)
		}
		t.Skipf("this machine has no [::1]: %v", err)
	}
	h := newFakeHopAt(t, clk, n, l)
	h.Host = "six.example"
	return h
}

func onlySix() *net.Resolver {
	return fakedns.Resolver(map[string][]netip.Addr{"six.example": {netip.IPv6Loopback()}})
}

// A mix that says that it dials IPv6 passes packets on to one that has nothing else, and goes on reaching others over IPv4.
func TestRelayOverIPv6(t *testing.T) {
	r := newRig(t, func(c *mix.Config) { c.OutgoingLinks, c.Resolver = directory.MMTPProtocols(true, true), onlySix() }).run()
	six, four := newFakeHopOn6(t, r.clk, 0), newFakeHop(t, r.clk, 1)
	p, first := r.relayed(six.Node)
	q, second := r.relayed(four.Node)
	r.mustSend(p, q)
	r.mixOnce()
	eventually(t, "both arrive", func() bool { return six.times(first) == 1 && four.times(second) == 1 })
}

// A mix that does not say that it dials IPv6 does not: what it says is what holds.
func TestNoIPv6UnlessDeclared(t *testing.T) {
	r := newRig(t, func(c *mix.Config) { c.Resolver, c.OutgoingRetry = onlySix(), mix.Schedule{7 * time.Minute, day} }).run()
	six := newFakeHopOn6(t, r.clk, 0)
	p, _ := r.relayed(six.Node)
	r.mustSend(p)
	r.mixOnce()
	r.clk.await(t, 7*time.Minute)
	if n := six.visits.Load(); n != 0 {
		t.Errorf("%d connections over IPv6", n)
	}
}

// A packet that names a host of the mix's own machine waits and is given up, unless the operator allows such addresses.
func TestPacketsDoNotLeadToPrivateAddresses(t *testing.T) {
	r := newRig(t, func(c *mix.Config) { c.DialPrivate, c.OutgoingRetry = false, mix.Schedule{7 * time.Minute, day} }).run()
	next := newFakeHop(t, r.clk, 0)
	p, _ := r.relayed(next.Node)
	r.mustSend(p)
	r.mixOnce()
	r.clk.await(t, 7*time.Minute)
	if n := next.visits.Load(); n != 0 {
		t.Errorf("%d connections to 127.0.0.1", n)
	}
}

// The descriptor says what the configuration says.
func TestDescriptorNamesFamilyAndLinks(t *testing.T) {
	both := directory.MMTPProtocols(true, true)
	r := newRig(t, func(c *mix.Config) {
		c.Hostname, c.Family = "mix.example.com", []string{"south", "0123456789ABCDEF0123456789ABCDEF01234567"}
		c.IncomingLinks, c.OutgoingLinks = both, both
	}).open()
	d := r.mix.Descriptors()[0]
	if !slices.Equal(d.Family, []string{"0123456789ABCDEF0123456789ABCDEF01234567", "south"}) ||
		!slices.Equal(d.Incoming.Protocols, both) || !slices.Equal(d.Outgoing.Protocols, both) {
		t.Errorf("%v, %v, %v", d.Family, d.Incoming, d.Outgoing)
	}
}
