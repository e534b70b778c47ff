package legacytls

import (
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"math/big"
	"net"

	"golang.org/x/crypto/cryptobyte"
)

// Bounds of what a server may send until it is trusted.
const (
	maxFlight = 32 << 10 // bytes of messages that are not encrypted
	maxRecord = 16 << 10
	maxChain  = 4 // certificates; the caller wants fewer

	// Groups of Diffie-Hellman, in bits. Servers of 0.0.8 use 512.
	minGroup = 512
	maxGroup = 4096
)

// The types of records and handshake messages that matter here.
const (
	recordChangeCipherSpec = 20
	recordHandshake        = 22

	messageCertificate       = 11
	messageServerKeyExchange = 12
)

// flight is a connection to a server that shows, before anybody else gets them, the messages of the server's first flight to the
// caller's functions. What they refuse ends the connection.
type flight struct {
	net.Conn
	approve func([]*x509.Certificate) error

	over     bool // what follows is encrypted
	approved bool
	size     int
	records  []byte // that are not complete
	messages []byte // likewise
	err      error
}

// Read implements net.Conn.
func (f *flight) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.Conn.Read(p)
	if f.over || n == 0 {
		return n, err
	}
	if f.err = f.feed(p[:n]); f.err != nil {
		return 0, f.err
	}
	return n, err
}

// feed takes the next bytes of the connection.
func (f *flight) feed(b []byte) error {
	if f.size += len(b); f.size > maxFlight {
		return fmt.Errorf("%w: it is too long", ErrHandshake)
	}
	f.records = append(f.records, b...)
	for len(f.records) >= 5 && !f.over {
		length := int(binary.BigEndian.Uint16(f.records[3:]))
		if length > maxRecord {
			return fmt.Errorf("%w: record of %d bytes", ErrHandshake, length)
		}
		if len(f.records) < 5+length {
			return nil
		}
		kind, body := f.records[0], f.records[5:5+length]
		f.records = f.records[5+length:]
		switch kind {
		case recordChangeCipherSpec:
			f.over, f.records, f.messages = true, nil, nil
		case recordHandshake:
			f.messages = append(f.messages, body...)
			if err := f.look(); err != nil {
				return err
			}
		}
	}
	return nil
}

// look judges the messages that are complete.
func (f *flight) look() error {
	for len(f.messages) >= 4 {
		length := int(f.messages[1])<<16 | int(binary.BigEndian.Uint16(f.messages[2:]))
		if length > maxFlight {
			return fmt.Errorf("%w: message of %d bytes", ErrHandshake, length)
		}
		if len(f.messages) < 4+length {
			return nil
		}
		kind, body := f.messages[0], f.messages[4:4+length]
		f.messages = f.messages[4+length:]
		var err error
		switch kind {
		case messageCertificate:
			err = f.certificates(body)
		case messageServerKeyExchange:
			err = checkGroup(body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *flight) certificates(body []byte) error {
	if f.approved {
		return fmt.Errorf("%w: certificates were sent twice", ErrHandshake)
	}
	chain, err := parseChain(body)
	if err != nil {
		return err
	}
	if err := f.approve(chain); err != nil {
		return err
	}
	f.approved = true
	return nil
}

// parseChain reads a Certificate message (RFC 5246, 7.4.2).
func parseChain(body []byte) ([]*x509.Certificate, error) {
	message := cryptobyte.String(body)
	var list cryptobyte.String
	if !message.ReadUint24LengthPrefixed(&list) || !message.Empty() {
		return nil, fmt.Errorf("%w: malformed certificates", ErrHandshake)
	}
	var chain []*x509.Certificate
	for !list.Empty() {
		var der cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&der) || len(chain) == maxChain {
			return nil, fmt.Errorf("%w: malformed certificates, or more than %d", ErrHandshake, maxChain)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
		}
		chain = append(chain, c)
	}
	return chain, nil
}

// checkGroup judges the values of a ServerKeyExchange message (RFC 5246, 7.4.3). Its signature is the library's to check.
func checkGroup(body []byte) error {
	message := cryptobyte.String(body)
	var p, g, y cryptobyte.String
	for _, v := range []*cryptobyte.String{&p, &g, &y} {
		if !message.ReadUint16LengthPrefixed(v) {
			return fmt.Errorf("%w: malformed key exchange", ErrHandshake)
		}
	}
	prime := new(big.Int).SetBytes(p)
	if bits := prime.BitLen(); bits < minGroup || bits > maxGroup || len(p) > maxGroup/8+1 || prime.Bit(0) == 0 {
		return fmt.Errorf("%w: Diffie-Hellman group of %d bits", ErrHandshake, bits)
	}
	last := new(big.Int).Sub(prime, big.NewInt(1)) // of order 2; like 0 and 1 it gives no secret
	for _, v := range [][]byte{g, y} {
		n := new(big.Int).SetBytes(v)
		if n.Cmp(big.NewInt(1)) <= 0 || n.Cmp(last) >= 0 {
			return fmt.Errorf("%w: Diffie-Hellman value out of range", ErrHandshake)
		}
	}
	return nil
}
