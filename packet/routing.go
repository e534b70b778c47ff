package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"mixminion/internal/crypt"
)

// ErrRoutingInfo says that routing information does not name a next hop.
var ErrRoutingInfo = errors.New("malformed routing information")

const (
	hostInfoLen = 2 + crypt.HashLen     // port, keyid; the name follows
	ipv4InfoLen = 4 + 2 + crypt.HashLen // address, port, keyid
	maxHostLen  = 255
)

// ValidHost reports whether host can stand in FWD/HOST routing information: letters, digits, "." and "-", no empty label in front or in
// between (minion-spec 3.2.1.1). Dotted IPv4 addresses pass, IPv6 addresses do not: packet version 0.3 has no place for them,
// so a server that is reached over IPv6 needs a name.
func ValidHost(host string) bool {
	if host == "" || len(host) > maxHostLen || host[0] == '.' || strings.Contains(host, "..") {
		return false
	}
	for _, c := range []byte(host) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// AppendRoutingInfo appends the FWD/HOST form of h: port, keyid, name.
func (h Hop) AppendRoutingInfo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, h.Port)
	b = append(b, h.KeyID[:]...)
	return append(b, h.Host...)
}

// ParseHop reads the routing information of a relay type: FWD/IPV4, FWD/HOST or their SWAP forms. The name comes back in lower case.
func ParseHop(t RoutingType, info []byte) (Hop, error) {
	var h Hop
	switch t {
	case TypeFwdHost, TypeSwapFwdHost:
		if len(info) <= hostInfoLen {
			return h, fmt.Errorf("%w: %v with %d bytes", ErrRoutingInfo, t, len(info))
		}
		h.Port = binary.BigEndian.Uint16(info)
		copy(h.KeyID[:], info[2:])
		h.Host = strings.ToLower(string(info[hostInfoLen:]))
		if !ValidHost(h.Host) {
			return Hop{}, fmt.Errorf("%w: bad host name", ErrRoutingInfo)
		}
	case TypeFwdIPv4, TypeSwapFwdIPv4:
		if len(info) != ipv4InfoLen {
			return h, fmt.Errorf("%w: %v with %d bytes", ErrRoutingInfo, t, len(info))
		}
		h.Host = netip.AddrFrom4([4]byte(info)).String()
		h.Port = binary.BigEndian.Uint16(info[4:])
		copy(h.KeyID[:], info[6:])
	default:
		return h, fmt.Errorf("%w: %v is not a relay type", ErrRoutingInfo, t)
	}
	if h.Port == 0 {
		return Hop{}, fmt.Errorf("%w: port 0", ErrRoutingInfo)
	}
	return h, nil
}
