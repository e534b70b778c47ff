// Package keyring reads and writes the file in which a user's reply block secrets lie under a password. The source is E2E-spec A.2.
//
// The format is that of the first implementation, so that its users keep their keyrings. Its protection is weak by today's measure: one
// SHA-1 stands between a password and the key, so a stolen file is as safe as the password is long.
//
// The package is pure: it does no I/O and reads no clock.
package keyring

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"mixminion/message"
)

// Errors of this package.
var (
	// ErrPassword: the password is wrong, or the file is damaged, which cannot be told apart.
	ErrPassword = errors.New("wrong password, or damaged keyring")
	// ErrFormat: the file is not a keyring, or not of a version that is known.
	ErrFormat = errors.New("not a keyring that this program can read")
	// ErrIdentity: a name cannot be that of an identity.
	ErrIdentity = errors.New("impossible identity name")
)

const (
	// Lifetime is how long a new secret is valid, at least.
	Lifetime = 90 * 24 * time.Hour
	// MinRemaining is how long a secret has to be valid still to be used for new reply blocks.
	MinRemaining = 30 * 24 * time.Hour

	// SecretLen is the length of a new secret in bytes.
	SecretLen = 20

	maxIdentityLen = 64
)

// Key is one secret of an identity.
type Key struct {
	Identity string // in lower case; "" is the default identity
	Expires  time.Time
	Secret   []byte
}

// validAt reports whether the key has not expired.
func (k *Key) validAt(t time.Time) bool { return t.Before(k.Expires) }

// Keyring holds the secrets of all identities of a user. The zero value is an empty keyring. It is not for concurrent use.
type Keyring struct {
	items []item
}

// item is one entry. The entries of types that are unknown here are kept as they are.
type item struct {
	key   *Key // nil for an unknown type
	typ   byte
	value []byte
}

// keys iterates over the known entries.
func (r *Keyring) keys(yield func(*Key) bool) {
	for _, it := range r.items {
		if it.key != nil && !yield(it.key) {
			return
		}
	}
}

// Wipe overwrites all secrets. The keyring and what was taken from it are of no use afterwards.
func (r *Keyring) Wipe() {
	for _, it := range r.items {
		clear(it.value)
		if it.key != nil {
			clear(it.key.Secret)
		}
	}
}

// Keys returns all secrets, in the order of the file. They share memory with the keyring.
func (r *Keyring) Keys() []Key {
	var list []Key
	for k := range r.keys {
		list = append(list, *k)
	}
	return list
}

// Names returns the names of all identities, sorted.
func (r *Keyring) Names() []string {
	var list []string
	for k := range r.keys {
		list = append(list, k.Identity)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Identities returns all secrets that replies may come for at a time, the newest first. E2E-spec A.2 wants all of them to be tried.
func (r *Keyring) Identities(now time.Time) []message.Identity {
	var valid []*Key
	for k := range r.keys {
		if k.validAt(now) {
			valid = append(valid, k)
		}
	}
	slices.SortStableFunc(valid, func(a, b *Key) int { return b.Expires.Compare(a.Expires) })
	list := make([]message.Identity, len(valid))
	for i, k := range valid {
		list[i] = message.Identity{Name: k.Identity, Secret: k.Secret}
	}
	return list
}

// ForReplyBlock returns the secret from which a reply block of an identity is to be made that is valid until a time: the one
// that expires last (E2E-spec A.2). It returns false if there is none that is valid until then and for MinRemaining from now; the
// caller then generates one.
func (r *Keyring) ForReplyBlock(identity string, now, until time.Time) (Key, bool) {
	var newest *Key
	name := normal(identity)
	for k := range r.keys {
		if k.Identity == name && (newest == nil || k.Expires.After(newest.Expires)) {
			newest = k
		}
	}
	if newest == nil || newest.Expires.Before(until) || newest.Expires.Before(now.Add(MinRemaining)) {
		return Key{}, false
	}
	return *newest, true
}

// Generate adds a new secret for an identity. It expires at the first midnight GMT that is Lifetime or more away, and not before until.
func (r *Keyring) Generate(rnd io.Reader, identity string, now, until time.Time) (Key, error) {
	if err := CheckIdentity(identity); err != nil {
		return Key{}, err
	}
	secret := make([]byte, SecretLen)
	if _, err := io.ReadFull(rnd, secret); err != nil {
		return Key{}, fmt.Errorf("generate reply block secret: %w", err)
	}
	expires := now.Add(Lifetime)
	if until.After(expires) {
		expires = until
	}
	k := Key{Identity: normal(identity), Expires: midnightFrom(expires), Secret: secret}
	r.items = append(r.items, item{key: &k})
	return k, nil
}

// DropExpired forgets the secrets that have expired, and returns how many there were.
func (r *Keyring) DropExpired(now time.Time) int {
	before := len(r.items)
	r.items = slices.DeleteFunc(r.items, func(it item) bool { return it.key != nil && !it.key.validAt(now) })
	return before - len(r.items)
}

// CheckIdentity returns an error that wraps ErrIdentity unless name, in any case, can name an identity: printable ASCII, not longer than
// 64 characters, no blank at an end.
func CheckIdentity(name string) error {
	if len(name) > maxIdentityLen || strings.TrimSpace(name) != name {
		return fmt.Errorf("%w: it is longer than %d characters or begins or ends with a blank", ErrIdentity, maxIdentityLen)
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] > 0x7e {
			return fmt.Errorf("%w: character %d is not printable ASCII", ErrIdentity, i+1)
		}
	}
	return nil
}

// normal is the form of a name in which it is stored and compared (E2E-spec 2.2.5).
func normal(identity string) string { return strings.ToLower(identity) }

// midnightFrom returns t if it is midnight GMT, else the next midnight.
func midnightFrom(t time.Time) time.Time {
	const day = 24 * time.Hour
	midnight := t.UTC().Truncate(day)
	if midnight.Before(t) {
		midnight = midnight.Add(day)
	}
	return midnight
}
