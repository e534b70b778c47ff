package mmtp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"time"

	"mixminion/internal/crypt"
)

const (
	organization = "Mixminion network"

	minIdentityBits = 2048
	maxIdentityBits = 4096

	certificateLife  = 24 * time.Hour
	certificateSlack = 2 * time.Hour // for clocks that differ, at both ends
)

// NewLinkCertificate makes a fresh link key (ECDSA P-256) and the chain that proves it: the link certificate, signed by identity, and
// the self-signed certificate of identity (minion-spec 4). Both are valid from two hours before now until 26 hours after it.
// identity must have 2048 to 4096 bits.
func NewLinkCertificate(identity *rsa.PrivateKey, nickname string, now time.Time) (tls.Certificate, error) {
	if err := checkIdentityKey(&identity.PublicKey); err != nil {
		return tls.Certificate{}, fmt.Errorf("make link certificate: %w", err)
	}
	linkKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make link key: %w", err)
	}
	owner := pkix.Name{Organization: []string{organization}, CommonName: nickname}
	link := pkix.Name{Organization: []string{organization}, CommonName: nickname + "<MMTP>"}
	leafDER, err := signCertificate(link, owner, &linkKey.PublicKey, identity, now)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make link certificate: %w", err)
	}
	identityDER, err := signCertificate(owner, owner, &identity.PublicKey, identity, now)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make identity certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(leafDER)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make link certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{leafDER, identityDER}, PrivateKey: linkKey, Leaf: leaf}, nil
}

// signCertificate makes a certificate without extensions: whatever is not needed only tells installations apart.
func signCertificate(subject, issuer pkix.Name, key any, signer *rsa.PrivateKey, now time.Time) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:       serial.Add(serial, big.NewInt(1)),
		Subject:            subject,
		NotBefore:          now.Add(-certificateSlack),
		NotAfter:           now.Add(certificateLife + certificateSlack),
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	return x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: issuer}, key, signer)
}

func checkIdentityKey(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < minIdentityBits || bits > maxIdentityBits {
		return fmt.Errorf("identity key of %d bits", bits)
	}
	if key.E != crypt.PublicExponent {
		return fmt.Errorf("identity key whose exponent is not %d", crypt.PublicExponent)
	}
	return nil
}

// A LinkIdentity gives a server its link certificate and makes a new one, with a new key, once a day. Open connections go on with
// the one they began with. It is safe for concurrent use.
type LinkIdentity struct {
	identity *rsa.PrivateKey
	nickname string
	now      func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
}

// NewLinkIdentity returns a LinkIdentity that reads the time from now. It makes the first certificate at once, so that an unusable
// identity key is noticed here.
func NewLinkIdentity(identity *rsa.PrivateKey, nickname string, now func() time.Time) (*LinkIdentity, error) {
	l := &LinkIdentity{identity: identity, nickname: nickname, now: now}
	if _, err := l.Certificate(); err != nil {
		return nil, err
	}
	return l, nil
}

// Certificate returns the certificate to use now. It fits ServerConfig.Certificate.
func (l *LinkIdentity) Certificate() (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.current != nil {
		leaf := l.current.Leaf
		if now.After(leaf.NotBefore) && now.Before(leaf.NotAfter.Add(-certificateSlack)) {
			return l.current, nil
		}
	}
	fresh, err := NewLinkCertificate(l.identity, l.nickname, now)
	if err != nil {
		return nil, err
	}
	l.current = &fresh
	return l.current, nil
}
