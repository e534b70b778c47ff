// Package legacytls makes links to nodes of series 0.0.8, which know nothing newer than TLS 1.2: TLS 1.0 to 1.2 with the one suite of
// minion-spec 4, TLS_DHE_RSA_WITH_AES_128_CBC_SHA. It is part of programs that are built with the tag legacytls; in others
// Available is false and every call fails with ErrNotBuilt.
//
// Go's crypto/tls has no such suite, so this package, and no other, uses github.com/zmap/zcrypto, a library for surveys of the Internet.
// Caveats, all of which are the reason why nothing of this is on by default:
//
//   - With InsecureSkipVerify the library does not mind a wrong signature under the server's Diffie-Hellman value: whoever has
//     a copy of a certificate, which is public, could pose as its owner. Two guards, each enough alone, stand against it: InsecureSkipVerify
//     is never set, and the certificate that the caller approved is the only root; and after the handshake the signature must have been
//     found good. A test tries the forgery.
//   - The library reads what it is given into unlimited numbers. So the sizes of what a server sends are judged before it sees them.
//   - Its RSA does not run in constant time. The key that it gets signs handshakes of one day and nothing else: never the identity key, never
//     a packet key.
//   - The suite is old: CBC with HMAC-SHA1. Its weaknesses need an active attacker and many attempts, and what they gain is a packet,
//     which is encrypted by itself. But a 512-bit group, which servers of 0.0.8 use, gives away what passes on a link to who records it.
//
// SSL 3.0, TLS_RSA_WITH_3DES_EDE_CBC_SHA, renegotiation, resumption, tickets and compression are never used.
package legacytls

import (
	"crypto/rsa"
	"errors"
	"net"
)

// What can be wrong.
var (
	// ErrNotBuilt: the program was built without the tag legacytls.
	ErrNotBuilt = errors.New("this program was built without legacy links (go build -tags legacytls)")
	// ErrSignature: the server did not prove that it has the key of its certificate.
	ErrSignature = errors.New("the server did not sign the key exchange with the key of its certificate")
	// ErrHandshake: the server sent what a handshake must not contain here.
	ErrHandshake = errors.New("unacceptable TLS handshake")
)

// Conn is a connection whose handshake is over.
type Conn interface {
	net.Conn
	// CloseWrite sends close_notify.
	CloseWrite() error
}

// Identity is what a server shows: a chain of certificates in DER, and the key of the first, which serves for nothing else.
type Identity struct {
	Chain [][]byte
	Key   *rsa.PrivateKey
}
