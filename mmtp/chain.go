package mmtp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"mixminion/internal/crypt"
)

// checkChain checks what a server showed: exactly a link certificate and the self-signed certificate of the identity key that signed it,
// both valid at now (minion-spec 4). It returns the keyid that the chain proves, or an error that wraps ErrCertificate. That the server
// holds the link key is for TLS to show.
func checkChain(chain []*x509.Certificate, now time.Time) (crypt.KeyID, error) {
	var none crypt.KeyID
	if len(chain) != 2 {
		return none, fmt.Errorf("%w: %d certificates instead of 2", ErrCertificate, len(chain))
	}
	leaf, owner := chain[0], chain[1]
	identity, ok := owner.PublicKey.(*rsa.PublicKey)
	if !ok {
		return none, fmt.Errorf("%w: the identity key is not an RSA key", ErrCertificate)
	}
	if err := checkIdentityKey(identity); err != nil {
		return none, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	// A P-256 key cannot be the identity key, which therefore never signs a handshake.
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return none, fmt.Errorf("%w: the link key is not an ECDSA P-256 key", ErrCertificate)
	}
	for _, c := range []struct {
		*x509.Certificate
		name string
	}{{leaf, "link"}, {owner, "identity"}} {
		switch {
		case now.Before(c.NotBefore):
			return none, fmt.Errorf("%w: the %s certificate is not valid yet (is a clock wrong?)", ErrCertificate, c.name)
		case now.After(c.NotAfter):
			return none, fmt.Errorf("%w: the %s certificate has expired (is a clock wrong?)", ErrCertificate, c.name)
		case len(c.UnhandledCriticalExtensions) > 0:
			return none, fmt.Errorf("%w: the %s certificate has an unknown critical extension", ErrCertificate, c.name)
		case c.SignatureAlgorithm != x509.SHA256WithRSA:
			return none, fmt.Errorf("%w: the %s certificate is not signed with RSA and SHA-256", ErrCertificate, c.name)
		}
		if err := owner.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
			return none, fmt.Errorf("%w: the identity key did not sign the %s certificate", ErrCertificate, c.name)
		}
	}
	return crypt.NewKeyID(identity), nil
}

// clientTLS returns the configuration of a client that will hand the server's proven keyid to check.
func clientTLS(now func() time.Time, check func(crypt.KeyID) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		MaxVersion: tls.VersionTLS13,
		// The network has no certificate authorities, and host names prove nothing in it: VerifyConnection does all the checking.
		InsecureSkipVerify:          true,
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
		Time:                        now,
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.DidResume || state.Version != tls.VersionTLS13 {
				return fmt.Errorf("%w: not a fresh TLS 1.3 session", ErrCertificate)
			}
			id, err := checkChain(state.PeerCertificates, now())
			if err != nil {
				return err
			}
			return check(id)
		},
	}
}

func expectKeyID(want crypt.KeyID) func(crypt.KeyID) error {
	return func(got crypt.KeyID) error {
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return ErrKeyID
		}
		return nil
	}
}

func serverTLS(certificate func() (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		MaxVersion:                  tls.VersionTLS13,
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
		ClientAuth:                  tls.NoClientCert,
		GetCertificate:              func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
	}
}
