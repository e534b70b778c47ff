package mmtp

import (
	"encoding/binary"
	"io"
	"net"
)

// The parts of TLS that tell a client of TLS 1.3 from an older one (RFC 8446, 4.1.2 and 4.2.1).
const (
	tlsRecordHandshake   = 22
	tlsMaxRecord         = 1 << 14
	tlsClientHello       = 1
	tlsSupportedVersions = 43
	tlsVersion13         = 0x0304
)

// peekHello reads the records that hold a ClientHello and no further. It returns the bytes that it has read, for whoever makes the handshake
// with them, and the message without its header; that is nil if it is something else. conn bounds how many bytes that can be.
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
	const beforeSession = 2 + 32 // version and random
	if len(hello) < beforeSession {
		return false
	}
	_, rest, ok := tlsVector(hello[beforeSession:], 1) // session
	if ok {
		_, rest, ok = tlsVector(rest, 2) // suites
	}
	if ok {
		_, rest, ok = tlsVector(rest, 1) // compressions
	}
	var extensions []byte
	if ok {
		extensions, _, ok = tlsVector(rest, 2)
	}
	for ok && len(extensions) >= 2 {
		kind := binary.BigEndian.Uint16(extensions)
		var body []byte
		body, extensions, ok = tlsVector(extensions[2:], 2)
		if !ok || kind != tlsSupportedVersions {
			continue
		}
		versions, _, _ := tlsVector(body, 1)
		for ; len(versions) >= 2; versions = versions[2:] {
			if binary.BigEndian.Uint16(versions) == tlsVersion13 {
				return true
			}
		}
	}
	return false
}

// tlsVector takes a value off b that stands behind its length, which has n bytes.
func tlsVector(b []byte, n int) (value, rest []byte, ok bool) {
	if len(b) < n {
		return nil, nil, false
	}
	length := 0
	for _, c := range b[:n] {
		length = length<<8 | int(c)
	}
	if b = b[n:]; len(b) < length {
		return nil, nil, false
	}
	return b[:length], b[length:], true
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
