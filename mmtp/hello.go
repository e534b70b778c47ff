package mmtp

import (
	"encoding/binary"
	"io"
	"net"

	"golang.org/x/crypto/cryptobyte"
)

// The parts of TLS that tell a client of TLS 1.3 from an older one (RFC 8446, 4.1.2 and 4.2.1).
const (
	tlsRecordHandshake   = 22
	tlsMaxRecord         = 1 << 14
	tlsClientHello       = 1
	tlsSupportedVersions = 43
	tlsVersion13         = 0x0304
)

// peekHello reads the records that hold a ClientHello and no further. It returns the bytes that it has read, for
// whoever makes the handshake with them, and the message without its header; that is nil if it is something else. conn
// bounds how many bytes that can be.
func peekHello(conn io.Reader) (read, hello []byte, err error) {
	var message []byte
	for {
		begin := len(read)
		read = append(read, make([]byte, 5)...)
		if n, err := io.ReadFull(conn, read[begin:]); err != nil {
			return read[:begin+n], nil, err
		}
		head := read[begin:]
		length := int(binary.BigEndian.Uint16(head[3:]))
		if head[0] != tlsRecordHandshake || head[1] != 3 || length == 0 || length > tlsMaxRecord {
			return read, nil, nil
		}
		read = append(read, make([]byte, length)...)
		if n, err := io.ReadFull(conn, read[begin+5:]); err != nil {
			return read[:begin+5+n], nil, err
		}
		message = append(message, read[begin+5:]...)
		if message[0] != tlsClientHello {
			return read, nil, nil
		}
		if len(message) < 4 {
			continue
		}
		length = int(message[1])<<16 | int(binary.BigEndian.Uint16(message[2:]))
		switch {
		case length > maxGreeting:
			return read, nil, nil
		case len(message) >= 4+length:
			return read, message[4 : 4+length], nil
		}
	}
}

// offersTLS13 reports whether a ClientHello offers TLS 1.3.
func offersTLS13(hello []byte) bool {
	s := cryptobyte.String(hello)
	var session, suites, compressions, extensions cryptobyte.String
	const beforeSession = 2 + 32 // version and random
	if !s.Skip(beforeSession) || !s.ReadUint8LengthPrefixed(&session) || !s.ReadUint16LengthPrefixed(&suites) ||
		!s.ReadUint8LengthPrefixed(&compressions) || !s.ReadUint16LengthPrefixed(&extensions) {
		return false
	}
	var kind, version uint16
	var body, versions cryptobyte.String
	for extensions.ReadUint16(&kind) && extensions.ReadUint16LengthPrefixed(&body) {
		if kind != tlsSupportedVersions || !body.ReadUint8LengthPrefixed(&versions) {
			continue
		}
		for versions.ReadUint16(&version) {
			if version == tlsVersion13 {
				return true
			}
		}
	}
	return false
}

// rewound is a connection of which the first bytes, that were read already, are read again.
type rewound struct {
	net.Conn
	first []byte
}

// Read implements net.Conn.
func (r *rewound) Read(p []byte) (int, error) {
	if len(r.first) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.first)
	if r.first = r.first[n:]; len(r.first) == 0 {
		r.first = nil
	}
	return n, nil
}
