package packet

import (
	"encoding/binary"

	"mixminion/internal/crypt"
)

// subheader is the fixed part of a subheader (minion-spec 3.2.1); its routing information follows it in the header.
type subheader struct {
	major, minor byte
	secret       crypt.Key
	digest       crypt.Digest
	routingSize  uint16
	routingType  RoutingType
}

// parseSubheader reads the fixed part from the start of an RSA plaintext of at least minSubheaderLen bytes.
func parseSubheader(b []byte) (s subheader) {
	s.major, s.minor = b[0], b[1]
	copy(s.secret[:], b[2:])
	copy(s.digest[:], b[18:])
	s.routingSize = binary.BigEndian.Uint16(b[38:])
	s.routingType = RoutingType(binary.BigEndian.Uint16(b[40:]))
	return s
}

// appendTo appends the fixed part to b.
func (s subheader) appendTo(b []byte) []byte {
	b = append(b, s.major, s.minor)
	b = append(b, s.secret[:]...)
	b = append(b, s.digest[:]...)
	b = binary.BigEndian.AppendUint16(b, s.routingSize)
	return binary.BigEndian.AppendUint16(b, uint16(s.routingType))
}
