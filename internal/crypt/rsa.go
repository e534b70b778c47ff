package crypt

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Errors of the public-key operations. They never carry key material or plaintext.
var (
	ErrKey        = errors.New("unusable RSA key")
	ErrDecryption = errors.New("RSA decryption failed")
	ErrSignature  = errors.New("signature does not verify")
)

// PublicExponent is the only exponent that the protocol allows (minion-spec 3.1.1.4).
const PublicExponent = 65537

// OAEPLabel is the security parameter P of minion-spec 3.1.1.4, a sentence of Thomas Paine.
const OAEPLabel = "He who would make his own liberty secure, must guard even his enemy from oppression."

// maxKeyDER bounds the encoding of a public key before it is parsed: a 4096-bit key takes 526 bytes.
const maxKeyDER = 550

// KeyID identifies a server: SHA-1 of the PKCS#1 encoding of its identity key.
type KeyID [HashLen]byte

// String gives the keyid in lower-case hexadecimal.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// Fingerprint gives the keyid in the upper-case hexadecimal of dir-spec 4.1.
func (k KeyID) Fingerprint() string { return strings.ToUpper(k.String()) }

// NewKeyID returns the keyid of key.
func NewKeyID(key *rsa.PublicKey) KeyID { return sha1.Sum(EncodePublicKey(key)) }

// EncodePublicKey returns the PKCS#1 DER encoding of key: PK_Encode of minion-spec 3.1.2.
func EncodePublicKey(key *rsa.PublicKey) []byte { return x509.MarshalPKCS1PublicKey(key) }

// ParsePublicKey parses a PKCS#1 DER public key whose modulus has between minBits and maxBits bits and whose exponent is 65537.
// It returns an error wrapping ErrKey otherwise.
func ParsePublicKey(der []byte, minBits, maxBits int) (*rsa.PublicKey, error) {
	if len(der) > maxKeyDER {
		return nil, fmt.Errorf("%w: %d bytes are too many", ErrKey, len(der))
	}
	key, err := x509.ParsePKCS1PublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: not a PKCS#1 public key", ErrKey)
	}
	if bits := key.N.BitLen(); bits < minBits || bits > maxBits {
		return nil, fmt.Errorf("%w: modulus of %d bits", ErrKey, bits)
	}
	if key.E != PublicExponent {
		return nil, fmt.Errorf("%w: exponent is not %d", ErrKey, PublicExponent)
	}
	if key.N.Bit(0) == 0 {
		return nil, fmt.Errorf("%w: even modulus", ErrKey)
	}
	return key, nil
}

// GenerateKey makes an RSA key of the given number of bits.
func GenerateKey(bits int) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("generate RSA key: %w", err)
	}
	return key, nil
}

// EncryptPK is PK_Encrypt of minion-spec 3.1.2: OAEP with SHA-1 and the protocol's label. msg may have at most the modulus' length
// less PKOverheadLen bytes. The padding is drawn from the system's generator, always.
func EncryptPK(key *rsa.PublicKey, msg []byte) ([]byte, error) {
	out, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, key, msg, []byte(OAEPLabel))
	if err != nil {
		return nil, fmt.Errorf("RSA encryption: %w", err)
	}
	return out, nil
}

// A Decrypter performs the private operation of one RSA key: PK_Decrypt of minion-spec 3.1.2. It returns an error that
// wraps ErrDecryption, and nothing else about the cause, when the padding is wrong or the plaintext is empty.
// It is safe for concurrent use.
type Decrypter interface {
	DecryptPK(ciphertext []byte) ([]byte, error)
}

// A Provider makes Decrypters. The one in this package uses the standard library.
type Provider interface {
	Decrypter(key *rsa.PrivateKey) (Decrypter, error)
}

// StdProvider is the Provider that uses crypto/rsa.
type StdProvider struct{}

// Decrypter implements Provider.
func (StdProvider) Decrypter(key *rsa.PrivateKey) (Decrypter, error) {
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("%w: inconsistent private key", ErrKey)
	}
	key.Precompute()
	return stdDecrypter{key}, nil
}

type stdDecrypter struct{ key *rsa.PrivateKey }

var oaepOptions = &rsa.OAEPOptions{Hash: crypto.SHA1, Label: []byte(OAEPLabel)}

func (d stdDecrypter) DecryptPK(ciphertext []byte) ([]byte, error) {
	out, err := d.key.Decrypt(nil, ciphertext, oaepOptions)
	if err != nil || len(out) == 0 {
		return nil, ErrDecryption
	}
	return out, nil
}
