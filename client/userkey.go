package client

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"mixminion/internal/crypt"
	"mixminion/internal/store/durable"
	"mixminion/message"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Errors of user keys.
var (
	// ErrPublicKey says that a text is no key that messages can be encrypted to.
	ErrPublicKey = errors.New("not a public key for messages")
	// ErrUserKey says that a file in the home directory should hold a user key and does not.
	ErrUserKey = errors.New("not a user key that this program can read")
	// ErrUserKeyPassword says that a user key is encrypted with another passphrase.
	ErrUserKeyPassword = errors.New("the passphrase does not open it")
)

const (
	userKeyBits   = 2048 // E2E-spec 2.2.3
	userKeyPrefix = "user-"
	userKeySuffix = ".key"
	publicSuffix  = ".pub"
	maxUserKey    = 16 << 10
	userKeyDigits = 8

	// scryptWork is the binary logarithm of the cost of a passphrase: a second or so, and 128 MB. scryptMost is what is accepted.
	scryptWork = 17
	scryptMost = 20

	blockPrivate   = "PRIVATE KEY"
	blockPublic    = "PUBLIC KEY"
	blockPublicRSA = "RSA PUBLIC KEY"
)

// A UserKey is the public half of a key that others encrypt messages to (E2E-spec 2.2.3).
type UserKey struct {
	Name   string // the first eight hexadecimal digits of its fingerprint
	Public *rsa.PublicKey
}

// PEM is the form in which a UserKey is given away: a block "PUBLIC KEY", which other programs read as well.
func (k UserKey) PEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Public)
	if err != nil {
		return nil // no RSA key: nobody makes such a UserKey
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockPublic, Bytes: der})
}

func newUserKey(public *rsa.PublicKey) UserKey {
	return UserKey{Name: strings.ToLower(crypt.NewKeyID(public).Fingerprint()[:userKeyDigits]), Public: public}
}

// ParseUserKey reads the public half of a user key: PEM, as PEM writes it or as a block "RSA PUBLIC KEY". It must be an RSA key of 2048
// bits with the exponent 65537. The error wraps ErrPublicKey and says what is wrong.
func ParseUserKey(text []byte) (UserKey, error) {
	bad := func(format string, args ...any) (UserKey, error) {
		return UserKey{}, fmt.Errorf("%w: "+format, append([]any{ErrPublicKey}, args...)...)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return bad("it has no complete block of the kind -----BEGIN %s-----", blockPublic)
	}
	if more, _ := pem.Decode(rest); more != nil {
		return bad("it has more than one block")
	}
	der := block.Bytes
	switch {
	case strings.HasSuffix(block.Type, blockPrivate):
		return bad("it is the private half, which nobody but its owner should have; ask for the public one")
	case block.Type == blockPublic:
		parsed, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return bad("its block is damaged")
		}
		public, ok := parsed.(*rsa.PublicKey)
		if !ok {
			return bad("it is no RSA key")
		}
		der = crypt.EncodePublicKey(public)
	case block.Type != blockPublicRSA:
		return bad("it is a %.40q", block.Type)
	}
	public, err := crypt.ParsePublicKey(der, userKeyBits, userKeyBits)
	if err != nil {
		return bad("it must be an RSA key of %d bits with the exponent %d: %w", userKeyBits, crypt.PublicExponent, err)
	}
	return newUserKey(public), nil
}

// GenerateUserKey makes a new user key and keeps it beside the keyring, encrypted with password unless that is empty; the keys made
// before stay. Package age does the encryption: the keyring's own has one SHA-1 between a password and the key. The caller holds the
// lock, and should use the keyring's password, so that the user has to know only one.
func (c *Client) GenerateUserKey(password []byte) (UserKey, error) {
	if err := c.checkLocked(); err != nil {
		return UserKey{}, fmt.Errorf("generate user key: %w", err)
	}
	private, err := crypt.GenerateKey(userKeyBits)
	if err != nil {
		return UserKey{}, err
	}
	key := newUserKey(&private.PublicKey)
	file := c.path(keysDir, userKeyPrefix+key.Name)
	if _, err := os.Lstat(file + userKeySuffix); !errors.Is(err, fs.ErrNotExist) {
		return UserKey{}, fmt.Errorf("generate user key: there is a file %s already", file+userKeySuffix)
	}
	sealed, err := sealUserKey(private, password)
	if err != nil {
		return UserKey{}, fmt.Errorf("generate user key: %w", err)
	}
	err = durable.WriteFile(file+userKeySuffix, sealed, 0o600)
	if err == nil {
		err = durable.WriteFile(file+publicSuffix, key.PEM(), 0o600)
	}
	if err != nil {
		return UserKey{}, fmt.Errorf("generate user key: %w", explain(err))
	}
	return key, nil
}

func sealUserKey(private *rsa.PrivateKey, password []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	plain := pem.EncodeToMemory(&pem.Block{Type: blockPrivate, Bytes: der})
	if len(password) == 0 {
		return plain, nil
	}
	recipient, err := age.NewScryptRecipient(string(password))
	if err != nil {
		return nil, err
	}
	recipient.SetWorkFactor(scryptWork)
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, recipient)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// UserKeys returns the names of the user keys in the home directory.
func (c *Client) UserKeys() ([]string, error) {
	entries, err := os.ReadDir(c.path(keysDir))
	if err != nil {
		return nil, fmt.Errorf("look for user keys: %w", err)
	}
	var names []string
	for _, e := range entries {
		rest, isKey := strings.CutPrefix(e.Name(), userKeyPrefix)
		if name, whole := strings.CutSuffix(rest, userKeySuffix); isKey && whole {
			names = append(names, name)
		}
	}
	return names, nil
}

// OpenUserKeys reads all user keys, for messages that were encrypted to any of them. It returns those that password opens, and for the
// others errors (joined) that name them and wrap ErrUserKeyPassword or ErrUserKey.
func (c *Client) OpenUserKeys(password []byte) ([]message.PrivateKey, error) {
	names, err := c.UserKeys()
	if err != nil {
		return nil, err
	}
	var list []message.PrivateKey
	var errs []error
	for _, name := range names {
		key, err := c.openUserKey(name, password)
		if err != nil {
			errs = append(errs, fmt.Errorf("your key %s: %w", name, err))
			continue
		}
		list = append(list, message.PrivateKey{Name: name, Key: key})
	}
	return list, errors.Join(errs...)
}

func (c *Client) openUserKey(name string, password []byte) (crypt.Decrypter, error) {
	text, err := os.ReadFile(c.path(keysDir, userKeyPrefix+name+userKeySuffix))
	if err != nil {
		return nil, err
	}
	private, err := parsePrivateKey(text, password)
	if err != nil {
		return nil, err
	}
	return crypt.StdProvider{}.Decrypter(private)
}

func parsePrivateKey(text, password []byte) (*rsa.PrivateKey, error) {
	if len(text) > maxUserKey {
		return nil, fmt.Errorf("%w: it is too long", ErrUserKey)
	}
	if bytes.HasPrefix(text, []byte(armor.Header)) {
		var err error
		if text, err = unsealUserKey(text, password); err != nil {
			return nil, err
		}
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != blockPrivate {
		return nil, fmt.Errorf("%w: its block is damaged", ErrUserKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: its block is damaged", ErrUserKey)
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok || private.N.BitLen() != userKeyBits {
		return nil, fmt.Errorf("%w: it is no RSA key of %d bits", ErrUserKey, userKeyBits)
	}
	return private, nil
}

func unsealUserKey(text, password []byte) ([]byte, error) {
	if len(password) == 0 {
		return nil, ErrUserKeyPassword
	}
	identity, err := age.NewScryptIdentity(string(password))
	if err != nil {
		return nil, ErrUserKeyPassword
	}
	identity.SetMaxWorkFactor(scryptMost)
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(text)), identity)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, ErrUserKeyPassword
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUserKey, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxUserKey))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUserKey, err)
	}
	return plain, nil
}
