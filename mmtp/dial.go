package mmtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// ErrAddress says that a host has no address to which a link may be made.
var ErrAddress = errors.New("no address to connect to")

// A Dialer opens the connections of a node that other people's packets tell where to connect. The zero value connects to nothing.
type Dialer struct {
	// IPv4 and IPv6 say what the node has. With both, the addresses of a host are tried side by side, the better one first (RFC 8305).
	IPv4, IPv6 bool
	// Private allows addresses that are not on the public Internet: of this machine, of private networks, of a single link. A packet may
	// name any host, so without this rule anybody could send bytes to services that trust those who can reach them.
	Private bool
	// Resolver looks up names; nil means the system's.
	Resolver *net.Resolver
}

// Dial opens a connection; it serves as ClientConfig.Dial. Names are resolved, and each of the addresses is judged for itself, so a name
// that changes what it stands for gains nothing.
func (d Dialer) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	var network string
	switch {
	case d.IPv4 && d.IPv6:
		network = "tcp"
	case d.IPv4:
		network = "tcp4"
	case d.IPv6:
		network = "tcp6"
	default:
		return nil, ErrAddress
	}
	dialer := net.Dialer{ControlContext: d.judge, Resolver: d.Resolver}
	return dialer.DialContext(ctx, network, address)
}

func (d Dialer) judge(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAddress, err)
	}
	if !d.Private && !isPublic(to.Addr().Unmap()) {
		return fmt.Errorf("%w: %s is not on the public Internet", ErrAddress, to.Addr())
	}
	return nil
}

// shared is the address space of carriers' networks, between private and public (RFC 6598); thisNetwork has no hosts (RFC 1122).
var (
	shared      = netip.MustParsePrefix("100.64.0.0/10")
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
)

// translated are the prefixes by which an IPv6 address leads to the IPv4 address that stands in it, from the given byte on (RFC 6052,
// RFC 3056): whoever translates it may be inside the same private network. What translators choose themselves is private (RFC 8215).
var (
	translated = map[netip.Prefix]int{netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("2002::/16"): 2}
	translator = netip.MustParsePrefix("64:ff9b:1::/48")
)

func isPublic(a netip.Addr) bool {
	for prefix, at := range translated {
		if prefix.Contains(a) {
			b := a.As16()
			return isPublic(netip.AddrFrom4([4]byte(b[at : at+4])))
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a) && !thisNetwork.Contains(a) && !translator.Contains(a)
}
