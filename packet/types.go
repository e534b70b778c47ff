// Package packet builds and unwraps the 32 KB packets of the Type III protocol, version 0.3: forward packets, replies and
// single-use reply blocks (SURBs). The source is minion-spec 3.
//
// The package is pure: it does no I/O, reads no clock and logs nothing. Building takes its randomness from the caller, apart from
// the OAEP padding, which always comes from the system's generator.
package packet

import (
	"crypto/rsa"
	"fmt"

	"mixminion/internal/crypt"
)

// Sizes in bytes (minion-spec 3.2).
const (
	Size       = 32768 // a packet: two headers and a payload
	HeaderLen  = 2048
	PayloadLen = Size - 2*HeaderLen
	TagLen     = 20 // a decoding handle (E2E-spec 2.2.1.1)

	minSubheaderLen = 42 // MIN_SH: a subheader without its routing information
	restLen         = HeaderLen - crypt.PKEncLen
	// maxInline is how much routing information fits inside the RSA part; the rest overflows into the stream-encrypted part.
	maxInline = crypt.PKMaxDataLen - minSubheaderLen
	// hopOverhead is what a hop takes of a header beside its routing information.
	hopOverhead = minSubheaderLen + crypt.PKOverheadLen
)

// MaxRecipients is how many addresses the routing information of an SMTP packet can name (E2E-spec 3.3.1).
const MaxRecipients = 8

// Version is the packet version that this package speaks, as descriptors list it in Packet-Versions.
const Version = "0.3"

const versionMajor, versionMinor = 0, 3

type (
	// Packet is one packet as it travels: header 1, header 2, payload.
	Packet = [Size]byte
	// Payload is the part of a packet that holds a message or a fragment of one.
	Payload = [PayloadLen]byte
	// Tag is a decoding handle: it tells the recipient how to open a payload.
	Tag = [TagLen]byte
)

// RoutingType says what a hop does with a packet (minion-spec 3.2.1.1).
type RoutingType uint16

// The routing types in use. Those from TypeSMTP on leave the network.
const (
	TypeDrop        RoutingType = 0x0000
	TypeFwdIPv4     RoutingType = 0x0001 // understood, never built
	TypeSwapFwdIPv4 RoutingType = 0x0002 // understood, never built
	TypeFwdHost     RoutingType = 0x0003
	TypeSwapFwdHost RoutingType = 0x0004
	TypeSMTP        RoutingType = 0x0100
	TypeMBOX        RoutingType = 0x0101
	TypeFragment    RoutingType = 0x0103
	TypePing        RoutingType = 0x0105

	minExitType RoutingType = 0x0100
)

// IsExit reports whether packets of this type leave the network at the hop that reads it.
func (t RoutingType) IsExit() bool { return t >= minExitType }

// HasTag reports whether the routing information of an exit of this type begins with a decoding handle.
func (t RoutingType) HasTag() bool {
	return t.IsExit() && t != TypeFragment && t != TypePing
}

// String names the type as the specification does, or gives its number.
func (t RoutingType) String() string {
	switch t {
	case TypeDrop:
		return "DROP"
	case TypeFwdIPv4:
		return "FWD/IPV4"
	case TypeSwapFwdIPv4:
		return "SWAP-FWD/IPV4"
	case TypeFwdHost:
		return "FWD/HOST"
	case TypeSwapFwdHost:
		return "SWAP-FWD/HOST"
	case TypeSMTP:
		return "SMTP"
	case TypeMBOX:
		return "MBOX"
	case TypeFragment:
		return "FRAGMENT"
	case TypePing:
		return "PING"
	}
	return fmt.Sprintf("0x%04X", uint16(t))
}

// Hop is where a packet goes next: the contents of FWD/HOST routing information. Hops are comparable.
type Hop struct {
	Host  string // a host name in lower case, or a dotted IPv4 address
	Port  uint16
	KeyID crypt.KeyID // of the server's identity key
}

// String gives host and port. It names a server of the network, never a user.
func (h Hop) String() string { return fmt.Sprintf("%s:%d", h.Host, h.Port) }

// Node is a server that a path goes through: where it is and the key that its subheaders are encrypted to.
type Node struct {
	Hop
	PacketKey *rsa.PublicKey // 2048 bits
}

// Exit is what the last hop of a path is told to do.
type Exit struct {
	Type RoutingType
	Info []byte // the address, without tag
	Tag  *Tag   // nil for the types that carry none
}

// routingInfo returns the exit's routing information as it stands in the subheader.
func (e Exit) routingInfo() []byte {
	if e.Tag == nil {
		return e.Info
	}
	return append(append(make([]byte, 0, TagLen+len(e.Info)), e.Tag[:]...), e.Info...)
}
