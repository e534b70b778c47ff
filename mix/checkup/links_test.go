package checkup_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"mixminion/mix/checkup"
)

// The published name must have the kinds of addresses that the descriptor promises.
func TestNameHasTheAddressesThatAreDeclared(t *testing.T) {
	four, six := netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("2620:fe::9")
	for name, c := range map[string]struct {
		addrs    []netip.Addr
		ipv4     bool
		listen6  bool
		level    checkup.Level
		mendWith string
	}{
		"IPv4":                 {[]netip.Addr{four}, true, false, checkup.OK, ""},
		"both":                 {[]netip.Addr{four, six}, true, true, checkup.OK, ""},
		"IPv6":                 {[]netip.Addr{six}, false, true, checkup.OK, ""},
		"more than declared":   {[]netip.Addr{four, six}, true, false, checkup.Note, "ListenIP6: ::"},
		"no address of IPv4":   {[]netip.Addr{six}, true, true, checkup.Problem, "IPv4: no"},
		"no address of IPv6":   {[]netip.Addr{four}, true, true, checkup.Problem, "AAAA"},
		"IPv4 inside of IPv6":  {[]netip.Addr{netip.AddrFrom16(four.As16())}, true, true, checkup.Problem, "AAAA"},
		"no IPv6 to listen on": {[]netip.Addr{six}, true, false, checkup.Problem, "A record"},
	} {
		base := t.TempDir()
		mkdirs(t, base)
		cfg, host := newConfig(t, base), good()
		cfg.IncomingMMTP.IPv4 = c.ipv4
		if c.listen6 {
			cfg.IncomingMMTP.ListenIP6 = netip.IPv6Unspecified()
		}
		host.LookupHost = func(context.Context, string) ([]netip.Addr, error) { return c.addrs, nil }
		said := 0
		for _, f := range checkup.Run(t.Context(), cfg, "/home/x", host) {
			if f.About != "published name" {
				continue
			}
			said++
			if f.Level != c.level || !strings.Contains(f.Mend, c.mendWith) {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if said != 1 {
			t.Errorf("%s: %d findings", name, said)
		}
	}
}
