package vault

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	// minKey is the shortest content of a key file or credential, in bytes: as much as 32 random bytes have.
	minKey = 32
	// maxKey is the longest.
	maxKey = 64 << 10
	// maxVaultPassphrase is the longest passphrase.
	maxVaultPassphrase = 4096
)

var (
	// ErrWeakKey means that a key file, credential or passphrase is too short.
	ErrWeakKey = errors.New("vault: key too short")
	// ErrNoCredential means that the service manager has not passed the credential.
	ErrNoCredential = errors.New("vault: no such credential")
	// ErrExposed means that other users can read a key file.
	ErrExposed = errors.New("vault: other users can read the key file")
)

// Secret unlocks a vault.
type Secret struct {
	passphrase bool
	bytes      []byte
}

// Wipe overwrites the secret.
func (s Secret) Wipe() { clear(s.bytes) }

// Equal says, in constant time, whether two secrets are the same.
func (s Secret) Equal(other Secret) bool {
	return s.passphrase == other.passphrase && subtle.ConstantTimeCompare(s.bytes, other.bytes) == 1
}

// Passphrase is a secret that a person remembers; scrypt makes guessing dear. It must not be empty.
func Passphrase(text []byte) (Secret, error) {
	if len(text) == 0 || len(text) > maxVaultPassphrase {
		return Secret{}, fmt.Errorf("%w: a passphrase has 1 to %d bytes", ErrWeakKey, maxVaultPassphrase)
	}
	return Secret{passphrase: true, bytes: bytes.Clone(text)}, nil
}

// Key is a secret that nobody can guess: at least 32 bytes, blanks and line ends around them not counted.
func Key(content []byte) (Secret, error) {
	content = bytes.TrimSpace(content)
	if len(content) < minKey || len(content) > maxKey {
		return Secret{}, fmt.Errorf("%w: it needs %d to %d bytes, for example of: head -c 32 /dev/urandom | base64", ErrWeakKey, minKey, maxKey)
	}
	return Secret{bytes: bytes.Clone(content)}, nil
}

// NewKey makes the content of a key file: 32 random bytes in base64, and a line end.
func NewKey() ([]byte, error) {
	b := make([]byte, minKey)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return append(base64.StdEncoding.AppendEncode(nil, b), '\n'), nil
}

// KeyFile reads a key from a file that only its owner can read.
func KeyFile(path string) (Secret, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Secret{}, fmt.Errorf("key file: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return Secret{}, fmt.Errorf("%w: chmod 600 %s", ErrExposed, path)
	}
	return readKey(path)
}

// Credential reads a key that systemd passes to the service (LoadCredential, LoadCredentialEncrypted): a file of this name in dir, which is
// the value of the environment variable CREDENTIALS_DIRECTORY.
func Credential(dir, name string) (Secret, error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return Secret{}, fmt.Errorf("%w: %q is no name of a credential", ErrNoCredential, name)
	}
	if dir == "" {
		return Secret{}, fmt.Errorf("%w: systemd passes none to this process; credentials work only for a service whose unit says "+
			"LoadCredentialEncrypted=%s", ErrNoCredential, name)
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return Secret{}, fmt.Errorf("%w: the unit passes none named %q; write LoadCredentialEncrypted=%[2]s into it", ErrNoCredential, name)
	}
	return readKey(path)
}

func readKey(path string) (Secret, error) {
	content, err := readLimited(path, maxKey)
	if err != nil {
		return Secret{}, fmt.Errorf("read key: %w", err)
	}
	defer clear(content)
	s, err := Key(content)
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// readLimited reads a file of at most limit bytes, and one byte more of a longer one.
func readLimited(path string, limit int64) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, limit+1))
}
