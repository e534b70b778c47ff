package mmtp

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"mixminion/internal/crypt"
	"mixminion/internal/legacytls"
)

// LegacyAvailable says whether this program can make links to nodes of series 0.0.8: whether it was built with the tag legacytls.
const LegacyAvailable = legacytls.Available

// ErrNoLegacy says that this program was built without the tag legacytls.
var ErrNoLegacy = legacytls.ErrNotBuilt

// legacyWindow is how many packets nodes of series 0.0.8 have unanswered on one link.
const legacyWindow = 6

// halfCloser is what TLS connections have in common here.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// ErrHandshake says that a link came to its end in the handshake of TLS: the server may know another TLS, or be something else.
var ErrHandshake = errors.New("TLS handshake")

// errAfterChain says that a handshake of TLS 1.3 failed although the server had shown a good chain: somebody else may have copied that.
var errAfterChain = errors.New("TLS handshake, after the certificates")

// modernHandshake makes a client's handshake of TLS 1.3.
func modernHandshake(ctx context.Context, raw net.Conn, now func() time.Time, check func(crypt.KeyID) error) (halfCloser, error) {
	failed := ErrHandshake
	conn := tls.Client(raw, clientTLS(now, func(id crypt.KeyID) error {
		failed = errAfterChain
		return check(id)
	}))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", failed, err)
	}
	return conn, nil
}

// legacyHandshake makes a client's handshake of TLS 1.0 to 1.2.
func legacyHandshake(ctx context.Context, raw net.Conn, now func() time.Time, check func(crypt.KeyID) error) (halfCloser, error) {
	conn, err := legacytls.Client(ctx, raw, now, func(chain []*x509.Certificate) error {
		id, err := checkLegacyChain(chain, now())
		if err != nil {
			return err
		}
		return check(id)
	})
	if err != nil {
		return nil, fmt.Errorf("legacy %w: %w", ErrHandshake, err)
	}
	return conn, nil
}

// mayFallBack reports whether a link of TLS 1.3 that failed with err may be tried as a legacy link. A server that has shown a chain, good or
// bad, speaks TLS 1.3.
func mayFallBack(ctx context.Context, err error) bool {
	return LegacyAvailable && ctx.Err() == nil && errors.Is(err, ErrHandshake) && !errors.Is(err, ErrCertificate) && !errors.Is(err, ErrKeyID)
}

// serverHandshake makes a server's handshake, with the TLS that the client's first message asks for.
func (s *Server) serverHandshake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if s.cfg.Legacy != nil {
		read, hello, err := peekHello(conn)
		if err != nil {
			return nil, err
		}
		conn = &rewound{Conn: conn, first: read}
		if hello != nil && !offersTLS13(hello) {
			id, err := s.cfg.Legacy.current()
			if err != nil {
				return nil, err
			}
			return legacytls.Server(ctx, conn, id)
		}
	}
	c := tls.Server(conn, s.tls)
	return c, c.HandshakeContext(ctx)
}

const (
	legacyKeyBits    = 2048 // of our link keys
	minLegacyKeyBits = 1024 // of others', such as those of 0.0.8
	maxLegacyKeyBits = 4096
)

// checkLegacyChain checks what a server of series 0.0.8 showed, by the rules of that series: exactly two certificates, the first valid at
// now and signed with the key of the second, which is the identity key (minion-spec 4). Names, and dates of the second, prove nothing and
// are not looked at. It returns the keyid that the chain proves, or an error that wraps ErrCertificate.
func checkLegacyChain(chain []*x509.Certificate, now time.Time) (crypt.KeyID, error) {
	var none crypt.KeyID
	bad := func(format string, args ...any) (crypt.KeyID, error) {
		return none, fmt.Errorf("%w: "+format, append([]any{ErrCertificate}, args...)...)
	}
	if len(chain) != 2 {
		return bad("%d certificates instead of 2", len(chain))
	}
	leaf := chain[0]
	identity, ok := chain[1].PublicKey.(*rsa.PublicKey)
	if !ok {
		return bad("the identity key is not an RSA key")
	}
	if err := checkIdentityKey(identity); err != nil {
		return bad("%w", err)
	}
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	switch {
	case !ok:
		return bad("the link key is not an RSA key")
	case key.N.BitLen() < minLegacyKeyBits || key.N.BitLen() > maxLegacyKeyBits:
		return bad("link key of %d bits", key.N.BitLen())
	case key.N.Cmp(identity.N) == 0:
		return bad("the identity key is the link key, as in programs before 0.0.8")
	case now.Before(leaf.NotBefore):
		return bad("the link certificate is not valid yet (is a clock wrong?)")
	case now.After(leaf.NotAfter):
		return bad("the link certificate has expired (is a clock wrong?)")
	case len(leaf.UnhandledCriticalExtensions) > 0:
		return bad("the link certificate has an unknown critical extension")
	}
	if err := checkLegacySignature(leaf, identity); err != nil {
		return bad("the identity key did not sign the link certificate")
	}
	return crypt.NewKeyID(identity), nil
}
