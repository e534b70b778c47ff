package mmtp

import (
	"net"
	"net/netip"
)

// levels are the networks that an address is counted in, the narrowest first: what one machine has, what one customer or hosting account
// has, and, in IPv6, what one provider is given, so that nobody has more sources than we can remember. Each may have share times as much
// as the first.
var levels = []struct {
	bits4, bits6 int // of a prefix; 0: IPv4 has no such level
	share        int
}{
	{32, 64, 1},
	{24, 48, 4},
	{0, 32, 16},
}

// A source is who made a connection, as far as limits go: the networks of levels. It is empty for peers that addresses do not tell apart:
// those who come through a proxy on this machine, and those without an IP address.
type source []netip.Prefix

// sourceOf also returns the address; it is not valid if addr is not an IP address.
func sourceOf(addr net.Addr) (source, netip.Addr) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return nil, netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if !ip.IsValid() || ip == localIPv4 || ip == netip.IPv6Loopback() {
		return nil, ip
	}
	var s source
	for _, level := range levels {
		bits := level.bits6
		if ip.Is4() {
			bits = level.bits4
		}
		if bits == 0 {
			break
		}
		s = append(s, netip.PrefixFrom(ip, bits).Masked())
	}
	return s, ip
}

// localIPv4 is where a proxy on this machine connects from, an onion service say. The rest of 127.0.0.0/8 is told apart like any network.
var localIPv4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// network is the widest network of a source; all peers without addresses are one.
func (s source) network() netip.Prefix {
	if len(s) == 0 {
		return netip.Prefix{}
	}
	return s[len(s)-1]
}
