package mmtp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"mixminion/internal/legacytls"
)

// legacyEpoch is what nodes of series 0.0.8 count the serial numbers of their certificates from, in seconds.
const legacyEpoch = 1041397200

// A LegacyIdentity gives a server what it shows on legacy links: once a day a new RSA key and its chain of certificates, as nodes of
// series 0.0.8 make them. It is safe for concurrent use.
type LegacyIdentity struct {
	identity *rsa.PrivateKey
	nickname string
	now      func() time.Time

	mu   sync.Mutex
	held *legacytls.Identity
	made time.Time
}

// NewLegacyIdentity returns a LegacyIdentity that reads the time from now, with its first certificates. The error is ErrNoLegacy if the
// program cannot make legacy links. The identity key signs certificates only.
func NewLegacyIdentity(identity *rsa.PrivateKey, nickname string, now func() time.Time) (*LegacyIdentity, error) {
	if !LegacyAvailable {
		return nil, ErrNoLegacy
	}
	l := &LegacyIdentity{identity: identity, nickname: nickname, now: now}
	if _, err := l.current(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *LegacyIdentity) current() (*legacytls.Identity, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if age := now.Sub(l.made); l.held != nil && age >= 0 && age < certificateLife {
		return l.held, nil
	}
	fresh, err := newLegacyChain(l.identity, l.nickname, now)
	if err != nil {
		return nil, err
	}
	l.held, l.made = fresh, now
	return fresh, nil
}

// newLegacyChain makes a link key and the two certificates of it, by the habits of series 0.0.8: version 3 without extensions,
// SHA-1, names as UTF8String, the time as serial number, valid from two hours before now until 26 hours after.
func newLegacyChain(identity *rsa.PrivateKey, nickname string, now time.Time) (*legacytls.Identity, error) {
	if err := checkIdentityKey(&identity.PublicKey); err != nil {
		return nil, fmt.Errorf("make legacy link certificate: %w", err)
	}
	key, err := rsa.GenerateKey(rand.Reader, legacyKeyBits)
	if err != nil {
		return nil, fmt.Errorf("make legacy link key: %w", err)
	}
	owner, err := legacyName(nickname)
	if err != nil {
		return nil, fmt.Errorf("make legacy link certificate: %w", err)
	}
	link, err := legacyName(nickname + "<MMTP>")
	if err != nil {
		return nil, fmt.Errorf("make legacy link certificate: %w", err)
	}
	id := &legacytls.Identity{Key: key}
	for _, c := range []struct {
		subject []byte
		key     *rsa.PublicKey
	}{{link, &key.PublicKey}, {owner, &identity.PublicKey}} {
		template := &x509.Certificate{
			SerialNumber:       big.NewInt(max(1, now.Unix()-legacyEpoch)),
			RawSubject:         c.subject,
			NotBefore:          now.Add(-certificateSlack),
			NotAfter:           now.Add(certificateLife + certificateSlack),
			SignatureAlgorithm: x509.SHA1WithRSA,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{RawSubject: owner}, c.key, identity)
		if err != nil {
			return nil, fmt.Errorf("make legacy link certificate: %w", err)
		}
		id.Chain = append(id.Chain, der)
	}
	return id, nil
}

var (
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
)

// legacyName encodes a name with its values as UTF8String, whatever is in them.
func legacyName(common string) ([]byte, error) {
	value := func(s string) asn1.RawValue { return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)} }
	return asn1.Marshal(pkix.RDNSequence{
		{{Type: oidOrganization, Value: value(organization)}},
		{{Type: oidCommonName, Value: value(common)}},
	})
}

// checkLegacySignature checks by whom a certificate is signed. Package x509 does not take SHA-1 any more; a second preimage, which a forger
// would need here, is out of reach all the same.
func checkLegacySignature(c *x509.Certificate, signer *rsa.PublicKey) error {
	switch c.SignatureAlgorithm {
	case x509.SHA1WithRSA:
		digest := sha1.Sum(c.RawTBSCertificate)
		return rsa.VerifyPKCS1v15(signer, crypto.SHA1, digest[:], c.Signature)
	case x509.SHA256WithRSA:
		digest := sha256.Sum256(c.RawTBSCertificate)
		return rsa.VerifyPKCS1v15(signer, crypto.SHA256, digest[:], c.Signature)
	}
	return errors.New("unknown algorithm")
}
