package fakedns_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"mixminion/internal/testnet/fakedns"
)

func TestResolver(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	r := fakedns.Resolver(map[string][]netip.Addr{"both.example": {four, six}, "six.example": {six}})
	for _, c := range []struct {
		network, name string
		want          []netip.Addr
	}{
		{"ip4", "both.example", []netip.Addr{four}}, {"ip6", "BOTH.example", []netip.Addr{six}}, {"ip6", "six.example", []netip.Addr{six}},
		{"ip4", "six.example", nil}, {"ip", "none.example", nil},
	} {
		got, err := r.LookupNetIP(t.Context(), c.network, c.name)
		var dns *net.DNSError
		if len(c.want) == 0 && !errors.As(err, &dns) || len(c.want) > 0 && (err != nil || len(got) != 1 || got[0] != c.want[0]) {
			t.Errorf("%s %s: %v, %v", c.network, c.name, got, err)
		}
	}
}
