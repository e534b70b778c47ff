package firstimpl

import (
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

const (
	headerLen = 2048
	packetLen = 32768
	payloadAt = 2 * headerLen
	rsaLen    = 256
	plainLen  = 214 // of an RSA block
	fixedLen  = 42  // of a subheader, without routing information
	oaepLen   = 42
	roomLen   = plainLen - fixedLen // of routing information inside the RSA block
)

// Fates of a packet.
const (
	Dropped   = "dropped"
	Relayed   = "relayed"
	Delivered = "delivered"
)

// A Step is what a server makes of a packet.
type Step struct {
	Fate   string
	Replay []byte // what its replay log keeps

	// For Relayed.
	Host   string
	Port   uint16
	KeyID  []byte
	Packet []byte

	// For Delivered.
	Type           uint16
	Info           []byte // with the decoding handle, where the type has one
	ApplicationKey []byte
	Payload        []byte
}

var hostChars = regexp.MustCompile(`^[A-Za-z0-9-][A-Za-z0-9.-]*$`)

// Unwrap takes off one layer, as a server of 0.0.8 with one packet key does (minion-spec 3.2.5). Errors match ErrRefused.
func Unwrap(p []byte, key *rsa.PrivateKey) (*Step, error) {
	if len(p) != packetLen {
		return nil, fmt.Errorf("%w: %d bytes", ErrRefused, len(p))
	}
	header1, header2, payload := p[:headerLen], p[headerLen:payloadAt], p[payloadAt:]
	plain, err := unseal(key, header1[:rsaLen])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if len(plain) != plainLen {
		return nil, fmt.Errorf("%w: the RSA block has %d bytes", ErrRefused, len(plain))
	}
	if plain[0] != 0 || plain[1] != 3 {
		return nil, fmt.Errorf("%w: version %x", ErrRefused, plain[:2])
	}
	rest := header1[rsaLen:]
	secret, digest := plain[2:18], plain[18:38]
	if string(hash(rest)) != string(digest) {
		return nil, fmt.Errorf("%w: the digest of the header is wrong", ErrRefused)
	}
	size, routing := int(binary.BigEndian.Uint16(plain[38:])), binary.BigEndian.Uint16(plain[40:])
	step := &Step{Fate: Dropped, Replay: hash(secret, []byte("REPLAY PREVENTION"))}
	if routing == 0 {
		return step, nil
	}
	if fixedLen+oaepLen+size > headerLen {
		return nil, fmt.Errorf("%w: %d bytes of routing information", ErrRefused, size)
	}
	junk := stream(subkey(secret, "RANDOM JUNK"), fixedLen+oaepLen+size)
	rest = crypt(subkey(secret, "HEADER SECRET KEY"), append(append([]byte{}, rest...), junk...), 0)
	// What stands in the RSA block behind the routing information belongs to the next header; what does not fit comes in front of it.
	all := append(append([]byte{}, plain[fixedLen:]...), rest...)
	info, next := all[:size], all[size:]
	payload = lioness(secret, "PAYLOAD ENCRYPT", payload, false)
	if routing >= 0x100 {
		step.Fate, step.Type, step.Info, step.Payload = Delivered, routing, info, payload
		step.ApplicationKey = subkey(secret, "APPLICATION KEY")
		return step, nil
	}
	header2 = lioness(secret, "HEADER ENCRYPT", header2, false)
	if routing == 2 || routing == 4 {
		payload = lioness(hash(header2), "HIDE PAYLOAD", payload, false)
		header2 = lioness(hash(payload), "HIDE HEADER", header2, false)
		next, header2 = header2, next
	}
	step.Fate, step.Packet = Relayed, append(append(append([]byte{}, next...), header2...), payload...)
	return step, step.hop(routing, info)
}

// hop reads the routing information of a relay.
func (s *Step) hop(routing uint16, info []byte) error {
	switch routing {
	case 1, 2:
		if len(info) != 26 {
			return fmt.Errorf("%w: FWD/IPV4 with %d bytes", ErrRefused, len(info))
		}
		s.Host, info = netip.AddrFrom4([4]byte(info)).String(), info[4:]
	case 3, 4:
		if len(info) < 23 || !hostChars.Match(info[22:]) || strings.Contains(string(info[22:]), "..") {
			return fmt.Errorf("%w: FWD/HOST without a host name", ErrRefused)
		}
		s.Host = strings.ToLower(string(info[22:]))
	default:
		return fmt.Errorf("%w: routing type %d", ErrRefused, routing)
	}
	s.Port, s.KeyID = binary.BigEndian.Uint16(info), info[2:22]
	return nil
}
