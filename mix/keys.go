package mix

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/internal/store/durable"
)

// A key set is one packet key with all that belongs to it: the descriptor that announces it and the replay log of what it opened. They
// are made, loaded and destroyed together, in one directory:
//
//	keys/identity.key          the identity key, PEM
//	keys/key_NNNN/mix.key      a packet key, PEM
//	keys/key_NNNN/ServerDesc   the descriptor that announces it
//	keys/key_NNNN/replay/      its replay log, owned by the store
//
// The key file is written last and renamed first when the set is destroyed: a directory without mix.key is a set that is not there yet or
// no longer there, and is removed.
type keySet struct {
	dir  string
	key  *rsa.PrivateKey
	desc *directory.Descriptor
	dec  crypt.Decrypter
	log  *store.ReplayLog
}

const (
	identityFile   = "identity.key"
	packetKeyFile  = "mix.key"
	deadKeyFile    = "mix.dead"
	descriptorFile = "ServerDesc"
	replayDir      = "replay"
	keySetPrefix   = "key_"

	packetKeyBits = 2048
	day           = 24 * time.Hour

	// keyLead is how long before the last packet key ends the next one is made and announced.
	keyLead = 14 * day
)

var errNoKey = errors.New("no packet key")

// loadIdentity reads the identity key, or makes one of the given size on the first start.
func loadIdentity(dir string, bits int) (key *rsa.PrivateKey, fresh bool, err error) {
	path := filepath.Join(dir, identityFile)
	key, err = readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = crypt.GenerateKey(bits); err != nil {
		return nil, false, err
	}
	return key, true, writeKey(path, key)
}

func writeKey(path string, key *rsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode private key: %w", err)
	}
	return durable.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// readKey reads an RSA key in PEM: PKCS#8, or the PKCS#1 that old versions of OpenSSL write.
func readKey(path string) (*rsa.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no private key in PEM form", path)
	}
	if block.Type == "RSA PRIVATE KEY" {
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a key that is not RSA", path)
	}
	return key, nil
}

// keyRing holds the mix's keys. Only the goroutine that opens or maintains the mix changes it.
type keyRing struct {
	dir      string
	identity *rsa.PrivateKey
	provider crypt.Provider
	store    *store.Store
	sets     []*keySet // by Valid-After
	describe func(desc directory.Fields) directory.Fields
	log      *slog.Logger

	lifetime, overlap time.Duration
}

// load reads all key sets and finishes what a crash interrupted.
func (r *keyRing) load() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || !strings.HasPrefix(name, keySetPrefix) {
			continue
		}
		dir := filepath.Join(r.dir, name)
		set, err := r.loadSet(dir)
		switch {
		case err == nil:
			r.sets = append(r.sets, set)
		case errors.Is(err, errNoKey):
			err = r.bury(dir)
		case errors.Is(err, store.ErrNoLog), errors.Is(err, store.ErrCorrupt):
			// Without its replay log a key would open packets that it has opened before.
			r.log.Error("a packet key has lost its replay log and is destroyed; packets encrypted to it are lost", "keys", name, "error", err)
			err = r.destroy(dir)
		}
		if err != nil {
			return fmt.Errorf("key set %s: %w", name, err)
		}
	}
	r.sort()
	return nil
}

func (r *keyRing) sort() {
	slices.SortFunc(r.sets, func(a, b *keySet) int { return a.desc.ValidAfter.Compare(b.desc.ValidAfter) })
}

func (r *keyRing) loadSet(dir string) (*keySet, error) {
	key, err := readKey(filepath.Join(dir, packetKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoKey
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, descriptorFile))
	if err != nil {
		return nil, fmt.Errorf("read descriptor: %w", err)
	}
	desc, err := directory.ParseDescriptor(text)
	if err != nil {
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	if !desc.PacketKey.Equal(&key.PublicKey) || !desc.Identity.Equal(&r.identity.PublicKey) {
		return nil, errors.New("the descriptor belongs to other keys")
	}
	dec, err := r.provider.Decrypter(key)
	if err != nil {
		return nil, err
	}
	log, err := r.store.OpenLog(filepath.Join(dir, replayDir), filepath.Base(dir))
	if err != nil {
		return nil, fmt.Errorf("replay log: %w", err)
	}
	return &keySet{dir: dir, key: key, desc: desc, dec: dec, log: log}, nil
}

// maintain makes the keys that are needed at now and soon after, signs descriptors anew whose contents no longer fit the configuration, and
// destroys keys whose time is over. It reports whether anything changed.
func (r *keyRing) maintain(now time.Time) (changed bool, err error) {
	kept := r.sets[:0]
	for _, s := range r.sets {
		if !now.After(s.desc.ValidUntil.Add(r.overlap)) {
			kept = append(kept, s)
			continue
		}
		changed = true
		err := r.store.CloseLog(s.log)
		if err == nil {
			err = r.destroy(s.dir)
		}
		if err != nil {
			return changed, fmt.Errorf("destroy expired packet key: %w", err)
		}
	}
	r.sets = kept
	for {
		after := now.UTC().Truncate(day)
		if n := len(r.sets); n > 0 {
			if end := r.sets[n-1].desc.ValidUntil; end.After(after) {
				after = end
			}
		}
		if after.After(now.Add(keyLead)) {
			break
		}
		if err := r.create(now, after); err != nil {
			return changed, fmt.Errorf("make packet key: %w", err)
		}
		changed = true
	}
	for _, s := range r.sets {
		resigned, err := r.refresh(s, now)
		if err != nil {
			return changed, fmt.Errorf("sign descriptor: %w", err)
		}
		changed = changed || resigned
	}
	return changed, nil
}

// create makes a key set that is valid from after on.
func (r *keyRing) create(now, after time.Time) error {
	key, err := crypt.GenerateKey(packetKeyBits)
	if err != nil {
		return err
	}
	text, err := r.sign(key, now, after, after.Add(r.lifetime.Truncate(day)))
	if err != nil {
		return err
	}
	name, err := r.nextName()
	if err != nil {
		return err
	}
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	log, err := r.store.CreateLog(filepath.Join(dir, replayDir), name)
	if err != nil {
		return err
	}
	if err := r.store.CloseLog(log); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, descriptorFile), text, 0o644); err != nil {
		return err
	}
	if err := durable.SyncDir(r.dir); err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, packetKeyFile), key); err != nil {
		return err
	}
	set, err := r.loadSet(dir)
	if err != nil {
		return err
	}
	r.sets = append(r.sets, set)
	r.sort()
	return nil
}

// nextName returns the name after the highest one in use.
func (r *keyRing) nextName() (string, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return "", err
	}
	last := 0
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), keySetPrefix)); err == nil {
			last = max(last, n)
		}
	}
	return fmt.Sprintf("%s%04d", keySetPrefix, last+1), nil
}

func (r *keyRing) sign(key *rsa.PrivateKey, published, after, until time.Time) ([]byte, error) {
	return directory.SignDescriptor(r.identity, r.describe(directory.Fields{
		Published:  published.UTC().Truncate(time.Second),
		ValidAfter: after,
		ValidUntil: until,
		PacketKey:  &key.PublicKey,
	}))
}

// refresh signs the descriptor of s anew if it no longer says what the configuration says.
func (r *keyRing) refresh(s *keySet, now time.Time) (bool, error) {
	// Signatures are random and the publication time moves, so the texts are compared without both.
	want, err := r.sign(s.key, s.desc.Published, s.desc.ValidAfter, s.desc.ValidUntil)
	if err != nil {
		return false, err
	}
	fresh, err := directory.ParseDescriptor(want)
	if err != nil {
		return false, err
	}
	if fresh.Digest() == s.desc.Digest() {
		return false, nil
	}
	text, err := r.sign(s.key, now, s.desc.ValidAfter, s.desc.ValidUntil)
	if err != nil {
		return false, err
	}
	if err := durable.WriteFile(filepath.Join(s.dir, descriptorFile), text, 0o644); err != nil {
		return false, err
	}
	s.desc, err = directory.ParseDescriptor(text)
	return true, err
}

// destroy erases a key set. Renaming the key is the commit point: from then on the set is gone, and load finishes what a crash leaves.
func (r *keyRing) destroy(dir string) error {
	if err := os.Rename(filepath.Join(dir, packetKeyFile), filepath.Join(dir, deadKeyFile)); err != nil {
		return err
	}
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	return r.bury(dir)
}

// bury removes a directory that holds no living key. Its replay log, if there is one, is not open.
func (r *keyRing) bury(dir string) error {
	if err := overwrite(filepath.Join(dir, deadKeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	log, err := r.store.OpenLog(filepath.Join(dir, replayDir), filepath.Base(dir))
	if err == nil {
		err = r.store.DestroyLog(log)
	}
	if err != nil && !errors.Is(err, store.ErrNoLog) && !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return durable.SyncDir(r.dir)
}

// overwrite replaces the contents of a file by zeros, in place, before it is unlinked. On disks that write elsewhere the old blocks
// may survive; the operator guide says what helps.
func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(make([]byte, info.Size()))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// inUse returns the key sets whose packets are accepted at now, the current one first: from Valid-After on until the overlap after
// Valid-Until is over, at most two.
func (r *keyRing) inUse(now time.Time) []*keySet {
	var live []*keySet
	for _, s := range slices.Backward(r.sets) {
		if !now.Before(s.desc.ValidAfter) && !now.After(s.desc.ValidUntil.Add(r.overlap)) {
			live = append(live, s)
		}
	}
	return live[:min(len(live), 2)]
}

// current returns the descriptors to publish: of all keys that are not over at now.
func (r *keyRing) current(now time.Time) []*directory.Descriptor {
	var out []*directory.Descriptor
	for _, s := range r.sets {
		if !s.desc.Expired(now) {
			out = append(out, s.desc)
		}
	}
	return out
}
