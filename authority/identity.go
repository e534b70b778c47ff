package authority

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mixminion/internal/crypt"
	"mixminion/internal/store/durable"
)

const (
	identityFile = "identity.key"
	// identityBits is the length of a new identity key. The format takes 2048 to 4096 (dir-spec 4.1). An authority's key is kept for years
	// and signs a few texts a day, so it may be stronger than a mix's; 3072 is what is recommended beyond 2030, and half the work of 4096
	// for everyone who verifies.
	identityBits = 3072
)

// ErrNoIdentity says that there are documents of an authority, and no identity key that they belong to.
var ErrNoIdentity = errors.New("the identity key is missing though this authority has published already: restore it from a backup; " +
	"or remove the published documents to begin as a new authority, which all others must then be told of")

// LoadIdentity reads the identity key of the authority that keeps its files in dir, or makes one on the first start. The directory is
// made if it is missing. Errors match ErrNoIdentity or come from the system.
func LoadIdentity(dir string) (key *rsa.PrivateKey, fresh bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("make the directory of the authority: %w", err)
	}
	path := filepath.Join(dir, identityFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, publicDir)); !errors.Is(err, fs.ErrNotExist) {
			return nil, false, fmt.Errorf("%s: %w", path, errors.Join(ErrNoIdentity, err))
		}
		if key, err = crypt.GenerateKey(identityBits); err != nil {
			return nil, false, err
		}
		return key, true, WriteIdentity(dir, key)
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the identity key: %w", err)
	}
	defer clear(data)
	key, err = parseKey(data)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", path, err)
	}
	return key, false, nil
}

// WriteIdentity stores key as the identity key of the authority that keeps its files in dir, which exists.
func WriteIdentity(dir string, key *rsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the identity key: %w", err)
	}
	defer clear(der)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	defer clear(text)
	return durable.WriteFile(filepath.Join(dir, identityFile), text, 0o600)
}

func parseKey(data []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no private key in PEM form")
	}
	defer clear(block.Bytes)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not RSA")
	}
	if bits := key.N.BitLen(); bits < 2048 || bits > 4096 {
		return nil, fmt.Errorf("the key has %d bits; an authority's has 2048 to 4096", bits)
	}
	return key, nil
}

// Fingerprint is how people and directories name the authority with this key: 40 upper-case hexadecimal digits.
func Fingerprint(key *rsa.PrivateKey) string { return crypt.NewKeyID(&key.PublicKey).Fingerprint() }
