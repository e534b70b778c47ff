package mmtp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"

	"mixminion/internal/testnet/fakedns"
)

// listenOn listens on loopback. Without IPv6 on this machine the test is skipped.
func listenOn(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil && network == "tcp6" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this machine has no [::1]: %v", err)
		}
		t.Skipf("this machine has no [::1]: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// A node dials over what it says it has, and nothing else.
func TestDialerHonoursWhatIsDeclared(t *testing.T) {
	six := listenOn(t, "tcp6", "[::1]:0")
	_, port, err := net.SplitHostPort(six.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	four := netip.MustParseAddr("127.0.0.2") // where no test listens
	hosts := fakedns.Resolver(map[string][]netip.Addr{
		"six.example": {netip.IPv6Loopback()}, "four.example": {four}, "both.example": {four, netip.IPv6Loopback()},
	})
	for _, c := range []struct {
		host       string
		ipv4, ipv6 bool
		works      bool
	}{
		{"six.example", false, true, true}, {"six.example", true, true, true}, {"six.example", true, false, false},
		{"both.example", false, true, true}, {"both.example", true, true, true}, {"both.example", true, false, false},
		{"four.example", false, true, false}, {"four.example", true, true, false}, {"six.example", false, false, false},
	} {
		d := Dialer{IPv4: c.ipv4, IPv6: c.ipv6, Private: true, Resolver: hosts}
		conn, err := d.Dial(t.Context(), "tcp", net.JoinHostPort(c.host, port))
		if (err == nil) != c.works {
			t.Errorf("%s with IPv4 %v and IPv6 %v: %v", c.host, c.ipv4, c.ipv6, err)
		}
		if err == nil {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A packet cannot make a mix connect to the machine it runs on, or to the network behind it.
func TestDialerRefusesPrivateAddresses(t *testing.T) {
	l := listenOn(t, "tcp4", "127.0.0.1:0")
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	hosts := fakedns.Resolver(map[string][]netip.Addr{"trap.example": {netip.MustParseAddr("127.0.0.1")}})
	for _, host := range []string{"127.0.0.1", "trap.example"} {
		d := Dialer{IPv4: true, IPv6: true, Resolver: hosts}
		if _, err := d.Dial(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", host, err)
		}
		d.Private = true
		conn, err := d.Dial(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s, allowed: %v", host, err)
			continue
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := (Dialer{}).Dial(t.Context(), "tcp", "192.0.2.1:1"); !errors.Is(err, ErrAddress) {
		t.Error(err)
	}
}

func TestIsPublic(t *testing.T) {
	for _, a := range []string{"9.9.9.9", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2620:fe::fe", "2001:4860::1", "64:ff9b::9.9.9.9", "2002:909:909::1"} {
		if !isPublic(netip.MustParseAddr(a)) {
			t.Errorf("%s is refused", a)
		}
	}
	for _, a := range []string{"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
		"100.64.0.1", "100.127.255.255", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fd00::1", "fc00::1", "ff02::1",
		"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::9.9.9.9", "2002:7f00:1::1", "2002:c0a8:101::1"} {
		if isPublic(netip.MustParseAddr(a)) {
			t.Errorf("%s passes", a)
		}
	}
	for _, a := range []string{"[::ffff:127.0.0.1]:25", "[::ffff:10.0.0.1]:25", "nonsense"} {
		if err := (Dialer{}).judge(t.Context(), "tcp", a, nil); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", a, err)
		}
	}
}
