//go:build legacytls

package legacytls

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"time"

	zrsa "github.com/zmap/zcrypto/rsa"
	"github.com/zmap/zcrypto/tls"
	zx509 "github.com/zmap/zcrypto/x509"
)

// Available says whether this program can make legacy links.
const Available = true

// suite is the only one (minion-spec 4).
const suite = tls.TLS_DHE_RSA_WITH_AES_128_CBC_SHA

// Client makes the handshake as a client. approve judges the chain that the server shows, before anything else is done with it;
// that the server has the key of the first certificate is checked here. The error is approve's, wraps ErrSignature or
// ErrHandshake, or comes from the library or the network. raw is left open on errors.
func Client(ctx context.Context, raw net.Conn, now func() time.Time, approve func([]*x509.Certificate) error) (Conn, error) {
	return handshake(ctx, raw, clientConfig(now), approve)
}

// clientConfig trusts no certificate.
func clientConfig(now func() time.Time) *tls.Config {
	return &tls.Config{
		Time:                   now,
		MinVersion:             tls.VersionTLS10,
		SessionTicketsDisabled: true,
		RootCAs:                zx509.NewCertPool(), // empty until the chain is approved
		ClientFingerprintConfiguration: &tls.ClientFingerprintConfiguration{ // names no host, unlike what the library would write
			HandshakeVersion:   tls.VersionTLS12,
			CipherSuites:       []uint16{suite},
			CompressionMethods: []uint8{0},
			Extensions: []tls.ClientExtension{
				&tls.SecureRenegotiationExtension{},
				&tls.SignatureAlgorithmExtension{SignatureAndHashes: []uint16{0x0401, 0x0201}}, // RSA with SHA-256, SHA-1
			},
		},
	}
}

// handshake has both guards against a server that does not have the key of its certificate. Each is enough, and tested without the other.
func handshake(ctx context.Context, raw net.Conn, cfg *tls.Config, approve func([]*x509.Certificate) error) (Conn, error) {
	var leaf []byte
	seen := &flight{Conn: raw, approve: func(chain []*x509.Certificate) error {
		if err := approve(chain); err != nil {
			return err
		}
		root, err := zx509.ParseCertificate(chain[0].Raw)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrHandshake, err)
		}
		leaf = chain[0].Raw
		// The first guard: this certificate and no other is trusted from here on. The library asks for it after we did, in this goroutine.
		cfg.RootCAs.AddCert(root)
		cfg.ServerName = root.Subject.CommonName
		return nil
	}}
	conn := tls.Client(seen, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if err := checkSigned(conn); err != nil {
		return nil, err
	}
	state := conn.ConnectionState()
	if state.CipherSuite != suite || state.Version < tls.VersionTLS10 || state.Version > tls.VersionTLS12 || state.DidResume ||
		len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, leaf) {
		return nil, fmt.Errorf("%w: it led to something else than was asked for", ErrHandshake)
	}
	forget(conn)
	return conn, nil
}

// checkSigned is the second guard: it looks up whether the library found the signature under the key exchange good.
func checkSigned(conn *tls.Conn) error {
	log := conn.GetHandshakeLog()
	if log == nil || log.ServerKeyExchange == nil || log.ServerKeyExchange.SignatureError != "" {
		return ErrSignature
	}
	if s := log.ServerKeyExchange.Signature; s == nil || !s.Valid {
		return ErrSignature
	}
	return nil
}

// forget empties the library's notes about the handshake: they hold the secrets of the link.
func forget(conn *tls.Conn) { *conn.GetHandshakeLog() = tls.ServerHandshake{} }

// Server makes the handshake as a server, with a group of 2048 bits. raw is left open on errors.
func Server(ctx context.Context, raw net.Conn, id *Identity) (Conn, error) {
	conn := tls.Server(raw, &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: id.Chain, PrivateKey: libraryKey(id.Key)}},
		MinVersion:             tls.VersionTLS10,
		MaxVersion:             tls.VersionTLS12,
		CipherSuites:           []uint16{suite},
		SessionTicketsDisabled: true,
		ClientAuth:             tls.NoClientCert,
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if state := conn.ConnectionState(); state.CipherSuite != suite || state.DidResume {
		return nil, fmt.Errorf("%w: it led to something else than was offered", ErrHandshake)
	}
	forget(conn)
	return conn, nil
}

// libraryKey is key as the library wants it.
func libraryKey(key *rsa.PrivateKey) *zrsa.PrivateKey {
	out := &zrsa.PrivateKey{PublicKey: zrsa.PublicKey{N: key.N, E: big.NewInt(int64(key.E))}, D: key.D, Primes: key.Primes}
	out.Precompute()
	return out
}
