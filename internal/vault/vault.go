package vault

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/scrypt"

	"mixminion/internal/store/durable"
)

var (
	// ErrNoVault means that there is no file with a wrapped master key.
	ErrNoVault = errors.New("vault: there is no master key yet")
	// ErrExists means that a new master key would replace another one, and destroy what that protects.
	ErrExists = errors.New("vault: there is a master key already")
	// ErrWrongKey means that the key file, passphrase or credential is not the one that the master key was locked with.
	ErrWrongKey = errors.New("vault: wrong key or passphrase; nothing was changed")
	// ErrCorrupt means that stored bytes are damaged, or no work of this package.
	ErrCorrupt = errors.New("vault: damaged")
)

// FileName is the usual name of the file, in the base directory of a daemon.
const FileName = "vault"

// KeyLen is the length of the master key and of all subkeys, in bytes.
const KeyLen = 32

// The file of a vault, 120 bytes:
//
//	 0  8  "MXVAULT\x01"
//	 8  1  how the wrapping key is made: 0 of a key with HKDF, 1 of a passphrase with scrypt
//	 9  1  scrypt: log2 N
//	10  1  scrypt: r
//	11  1  scrypt: p
//	12 32  salt
//	44  4  CRC-32C of bytes 0 to 44 and of what follows
//	48 24  nonce
//	72 48  the master key in XChaCha20-Poly1305; associated data are the bytes 0 to 44
const (
	magic     = "MXVAULT\x01"
	saltLen   = 32
	sumOffset = 12 + saltLen
	headLen   = sumOffset + 4
	fileLen   = headLen + chacha20poly1305.NonceSizeX + KeyLen + chacha20poly1305.Overhead

	kdfKey    = 0
	kdfScrypt = 1

	// As much memory (128 MiB) and time (about half a second) as a start may cost, so that guessing costs it too.
	logN, scryptR, scryptP = 17, 8, 1
	// Bounds of what a file may ask for.
	maxLogN, maxRP = 20, 16
)

// Vault is an unlocked master key. Its methods may be called at the same time, but for Wipe.
type Vault struct {
	master [KeyLen]byte
}

// Create makes a new random master key, writes it to path, wrapped under the secret, and returns it. ErrExists: there is a file already.
func Create(path string, secret Secret) (*Vault, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s: %w", path, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	v := new(Vault)
	if _, err := rand.Read(v.master[:]); err != nil {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	if err := v.Lock(path, secret); err != nil {
		return nil, err
	}
	return v, nil
}

// Open unlocks the master key in path. ErrNoVault: there is none. ErrWrongKey: the secret is another one. ErrCorrupt: the file is damaged.
func Open(path string, secret Secret) (*Vault, error) {
	data, err := readLimited(path, fileLen)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoVault)
	}
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	v, err := unwrap(data, secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// Lock wraps the master key under a secret, perhaps another one than before, and replaces path by it, atomically. The old file is
// overwritten after that, so that the old secret opens nothing that is left of it, as far as the disk writes in place.
func (v *Vault) Lock(path string, secret Secret) (err error) {
	data, err := v.wrap(rand.Reader, secret, logN)
	if err != nil {
		return fmt.Errorf("lock master key: %w", err)
	}
	if runtime.GOOS == "windows" { // which replaces no file that is open
		return durable.WriteFile(path, data, 0o600)
	}
	old, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return durable.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("lock master key: %w", err)
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	if err := durable.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	if _, err := old.WriteAt(make([]byte, fileLen), 0); err != nil {
		return fmt.Errorf("the master key is locked anew, but its old file could not be overwritten: %w", err)
	}
	if err := old.Sync(); err != nil {
		return fmt.Errorf("the master key is locked anew, but its old file could not be overwritten: %w", err)
	}
	return nil
}

func (v *Vault) wrap(rnd io.Reader, secret Secret, logN byte) ([]byte, error) {
	b := append(make([]byte, 0, fileLen), magic...)
	if secret.passphrase {
		b = append(b, kdfScrypt, logN, scryptR, scryptP)
	} else {
		b = append(b, kdfKey, 0, 0, 0)
	}
	b = b[:headLen+chacha20poly1305.NonceSizeX]
	if _, err := io.ReadFull(rnd, b[12:sumOffset]); err != nil {
		return nil, err
	}
	nonce := b[headLen:]
	if _, err := io.ReadFull(rnd, nonce); err != nil {
		return nil, err
	}
	aead, err := wrapper(b, secret)
	if err != nil {
		return nil, err
	}
	b = aead.Seal(b, nonce, v.master[:], b[:sumOffset])
	binary.LittleEndian.PutUint32(b[sumOffset:], fileSum(b))
	return b, nil
}

func unwrap(b []byte, secret Secret) (*Vault, error) {
	if len(b) != fileLen || string(b[:len(magic)]) != magic || binary.LittleEndian.Uint32(b[sumOffset:]) != fileSum(b) {
		return nil, ErrCorrupt
	}
	if secret.passphrase != (b[8] == kdfScrypt) {
		if secret.passphrase {
			return nil, fmt.Errorf("%w: it was locked with a key file or credential, and not with a passphrase", ErrWrongKey)
		}
		return nil, fmt.Errorf("%w: it was locked with a passphrase, and not with a key file or credential", ErrWrongKey)
	}
	aead, err := wrapper(b, secret)
	if err != nil {
		return nil, err
	}
	nonce := b[headLen : headLen+chacha20poly1305.NonceSizeX]
	master, err := aead.Open(nil, nonce, b[headLen+len(nonce):], b[:sumOffset])
	if err != nil {
		return nil, ErrWrongKey
	}
	v := new(Vault)
	copy(v.master[:], master)
	clear(master)
	return v, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fileSum tells damage from a wrong key.
func fileSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:sumOffset], castagnoli), castagnoli, b[headLen:])
}

// wrapper makes the key that wraps the master key, as the head of the file says.
func wrapper(head []byte, secret Secret) (cipher.AEAD, error) {
	salt := head[12:sumOffset]
	var key []byte
	var err error
	switch head[8] {
	case kdfKey:
		key, err = hkdf.Key(sha256.New, secret.bytes, salt, "mixminion vault: wrap", KeyLen)
	case kdfScrypt:
		n, r, p := head[9], int(head[10]), int(head[11])
		if n < 1 || n > maxLogN || r < 1 || r > maxRP || p < 1 || p > maxRP {
			return nil, fmt.Errorf("%w: cost of the passphrase", ErrCorrupt)
		}
		key, err = scrypt.Key(secret.bytes, salt, 1<<n, r, p, KeyLen)
	default:
		return nil, fmt.Errorf("%w: of a newer version", ErrCorrupt)
	}
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return chacha20poly1305.NewX(key)
}

// Subkey derives the key for one purpose, which the label names. Different labels give keys that say nothing about each other.
func (v *Vault) Subkey(label string) (key [KeyLen]byte, err error) {
	b, err := hkdf.Expand(sha256.New, v.master[:], "mixminion vault: "+label, KeyLen)
	if err != nil {
		return key, fmt.Errorf("derive key: %w", err)
	}
	copy(key[:], b)
	clear(b)
	return key, nil
}

// Wipe overwrites the master key; the vault is of no use afterwards.
func (v *Vault) Wipe() { clear(v.master[:]) }

// sealedMagic begins every file that Seal made.
const sealedMagic = "MXSEALED\x01"

// fileLabel is the label of the subkey for small files.
const fileLabel = "small files"

// Sealed says whether data was made by Seal.
func Sealed(data []byte) bool { return bytes.HasPrefix(data, []byte(sealedMagic)) }

// Seal encrypts the content of a small file: 9 bytes that [Sealed] knows, a random nonce of 24 bytes, and the content
// in XChaCha20-Poly1305, 16 bytes longer. The name, for example "identity.key", is bound to it: Open demands the same.
func (v *Vault) Seal(name string, plain []byte) ([]byte, error) {
	aead, err := v.fileCipher()
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, len(sealedMagic)+aead.NonceSize()+len(plain)+aead.Overhead()), sealedMagic...)
	nonce := b[len(b) : len(b)+aead.NonceSize()]
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	b = b[:len(b)+len(nonce)]
	return aead.Seal(b, nonce, plain, associated(name)), nil
}

// Open decrypts what Seal made of a file of this name. ErrCorrupt: it is no such thing, damaged, or belongs to another name or vault.
func (v *Vault) Open(name string, box []byte) ([]byte, error) {
	aead, err := v.fileCipher()
	if err != nil {
		return nil, err
	}
	if !Sealed(box) || len(box) < len(sealedMagic)+aead.NonceSize()+aead.Overhead() {
		return nil, fmt.Errorf("%s: %w: not an encrypted file", name, ErrCorrupt)
	}
	box = box[len(sealedMagic):]
	plain, err := aead.Open(nil, box[:aead.NonceSize()], box[aead.NonceSize():], associated(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w, or encrypted under another master key or name", name, ErrCorrupt)
	}
	return plain, nil
}

func (v *Vault) fileCipher() (cipher.AEAD, error) {
	key, err := v.Subkey(fileLabel)
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	return chacha20poly1305.NewX(key[:])
}

func associated(name string) []byte { return []byte(sealedMagic + name) }
