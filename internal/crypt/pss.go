package crypt

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
)

// pssOptions are the parameters of the signatures that go beyond the specifications: SHA-256 for the message and for
// MGF1, and a salt as long as the digest. There is one choice, so that nothing is negotiated.
var pssOptions = &rsa.PSSOptions{SaltLength: sha256.Size, Hash: crypto.SHA256}

// SignPSS makes an RSA-PSS signature of a SHA-256 digest, with SHA-256 in MGF1 and a salt of 32 bytes.
func SignPSS(key *rsa.PrivateKey, digest [sha256.Size]byte) ([]byte, error) {
	sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], pssOptions)
	if err != nil {
		return nil, fmt.Errorf("%w: RSA-PSS: %w", ErrKey, err)
	}
	return sig, nil
}

// VerifyPSS checks what SignPSS made. It returns ErrSignature if the signature is wrong.
func VerifyPSS(key *rsa.PublicKey, digest [sha256.Size]byte, sig []byte) error {
	if rsa.VerifyPSS(key, crypto.SHA256, digest[:], sig, pssOptions) != nil {
		return ErrSignature
	}
	return nil
}
