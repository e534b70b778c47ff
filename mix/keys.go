package mix

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
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
	"mixminion/internal/vault"
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
	// fits says that desc is what the configuration says; Reload doubts it.
	fits bool
}

// name is the name of the set's directory.
func (s *keySet) name() string { return filepath.Base(s.dir) }

const (
	identityFile   = "identity.key"
	packetKeyFile  = "mix.key"
	deadKeyFile    = "mix.dead"
	descriptorFile = "ServerDesc"
	replayDir      = "replay"
	keySetPrefix   = "key_"

	packetKeyBits = 2048
	day           = 24 * time.Hour

	// maxLead is how long before the last packet key ends the next one begins: longer than a packet may travel or a reply block usually
	// lives (MaxRetry and SURBLifetime of package client), so that there is always a descriptor that covers all of it.
	maxLead = 8 * day
	// maxAnnounce is how long before it begins a packet key is made and announced.
	maxAnnounce = 14 * day
	// maxEarly is how long before its time a packet key is accepted, for senders whose clock is ahead.
	maxEarly = day
)

// ErrNoIdentity says that there are packet keys, and no identity key that they belong to.
var ErrNoIdentity = errors.New("the identity key is missing though there are packet keys: restore it from a backup, " +
	"or remove the packet keys to begin as a new mix")

var errNoKey = errors.New("no packet key")

// loadIdentity reads the identity key, or makes one of the given size on the first start.
func loadIdentity(files keyFiles, dir string, bits int) (key *rsa.PrivateKey, fresh bool, err error) {
	path := filepath.Join(dir, identityFile)
	key, err = files.load(path, identityFile, files.sealIdentity)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if sets, err := filepath.Glob(filepath.Join(dir, keySetPrefix+"*")); err != nil || len(sets) > 0 {
		return nil, false, fmt.Errorf("%s: %w", path, errors.Join(ErrNoIdentity, err))
	}
	if key, err = crypt.GenerateKey(bits); err != nil {
		return nil, false, err
	}
	return key, true, files.write(path, identityFile, key, files.sealIdentity)
}

// CheckIdentity tells what is wrong with the identity key in a key directory. That there are no keys at all yet is not wrong.
func CheckIdentity(dir string) error {
	_, _, err := keyFiles{}.read(filepath.Join(dir, identityFile), identityFile)
	if errors.Is(err, ErrKeySealed) {
		return nil // only the start can tell
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sets, err := filepath.Glob(filepath.Join(dir, keySetPrefix+"*"))
	if err == nil && len(sets) > 0 {
		err = fmt.Errorf("%s: %w", dir, ErrNoIdentity)
	}
	return err
}

// IdentityPEM returns the identity key in a key directory, as it goes into a backup, and its fingerprint. An error that
// matches fs.ErrNotExist says that there is none yet; one that matches ErrKeySealed, that it is encrypted, and unlocked
// is nil.
func IdentityPEM(dir string, unlocked *vault.Vault) (text []byte, fingerprint string, err error) {
	key, _, err := keyFiles{vault: unlocked}.read(filepath.Join(dir, identityFile), identityFile)
	if err != nil {
		return nil, "", err
	}
	text, err = keyPEM(key)
	return text, crypt.NewKeyID(&key.PublicKey).Fingerprint(), err
}

func keyPEM(key *rsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads an RSA key in PEM: PKCS#8, or the PKCS#1 that old versions of OpenSSL write.
func ParseKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it holds no private key in PEM form")
	}
	defer clear(block.Bytes)
	if block.Type == "RSA PRIVATE KEY" {
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("it holds a key that is not RSA")
	}
	return key, nil
}

// keyRing holds the mix's keys. Only the goroutine that opens or maintains the mix changes it; sets and their descriptors are changed
// under Mix.keyUse, since others read them.
type keyRing struct {
	dir      string
	files    keyFiles
	identity *rsa.PrivateKey
	provider crypt.Provider
	store    *store.Store
	sets     []*keySet // by Valid-After
	last     int       // highest number of a name so far
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

func (r *keyRing) loadSet(dir string) (*keySet, error) {
	key, err := r.files.load(filepath.Join(dir, packetKeyFile), sealedName(dir), r.files.sealPacket)
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
		return nil, fmt.Errorf("replay log: %w", mendSealed(err))
	}
	return &keySet{dir: dir, key: key, desc: desc, dec: dec, log: log}, nil
}

// lead is by how much the periods of two successive keys overlap. Never are more than two keys accepted at one time, unless an operator has
// begun one ahead of time.
func (r *keyRing) lead() time.Duration {
	return max(0, min(maxLead, ((r.lifetime-4*day)/2).Truncate(day)))
}

// early is how long before its time a key is accepted: a day, or with short lifetimes as much as keeps a third key out of use, but not
// less than the time in which the mix is sure to look after its keys.
func (r *keyRing) early() time.Duration {
	return max(2*maintenanceInterval, min(maxEarly, (r.lifetime-2*r.lead()-r.overlap)/2))
}

// align moves a day back to the weekday on which this mix begins new keys, which its identity decides, so that not all mixes of a network
// change their keys on the same day. With lifetimes so short that three keys could then be in use at a time it leaves the day alone.
func (r *keyRing) align(after time.Time) time.Time {
	const week = 7 * day
	step := (r.lifetime - r.lead()).Truncate(week)
	if step < r.lead()+week-day+r.overlap+r.early() {
		return after
	}
	id := crypt.NewKeyID(&r.identity.PublicKey)
	own := int(binary.BigEndian.Uint64(id[:8]) % 7)
	return after.AddDate(0, 0, -((int(after.UTC().Weekday()) - own + 7) % 7))
}

// nextPeriod returns when the next key that has to be made begins; false if none has to be made at now.
func (r *keyRing) nextPeriod(now time.Time) (after time.Time, needed bool) {
	live := false
	var end time.Time
	for _, s := range r.sets {
		live = live || s.desc.LiveAt(now)
		if s.desc.ValidUntil.After(end) {
			end = s.desc.ValidUntil
		}
	}
	if !live {
		// The first start, a long stop, or a clock that is or was wrong.
		if len(r.sets) > 0 {
			r.log.Warn("none of the packet keys is valid now, so another one is made; is the clock right?", "now", now.UTC().Format(time.DateTime))
		}
		return now.UTC().Truncate(day), true
	}
	after = r.align(end.Add(-r.lead()))
	return after, !after.After(now.Add(min(maxAnnounce, r.lifetime)))
}

// expired returns the sets whose overlap is over at now.
func (r *keyRing) expired(now time.Time) []*keySet {
	var out []*keySet
	for _, s := range r.sets {
		if now.After(s.desc.ValidUntil.Add(r.overlap)) {
			out = append(out, s)
		}
	}
	return out
}

// forget takes sets out of the ring and closes their replay logs. What goes wrong there does not keep the keys.
func (r *keyRing) forget(sets []*keySet) (err error) {
	for _, s := range sets {
		r.used(s.name())
		r.sets = slices.DeleteFunc(r.sets, func(o *keySet) bool { return o == s })
		err = errors.Join(err, r.store.CloseLog(s.log))
	}
	return err
}

func (r *keyRing) add(s *keySet) {
	r.sets = append(r.sets, s)
	r.sort()
}

// create makes a key set that is valid from after on. It does not add it to the ring.
func (r *keyRing) create(now, after time.Time) (*keySet, error) {
	key, err := crypt.GenerateKey(packetKeyBits)
	if err != nil {
		return nil, err
	}
	text, err := r.sign(key, now, after, after.Add(r.lifetime.Truncate(day)))
	if err != nil {
		return nil, err
	}
	name, err := r.nextName()
	if err != nil {
		return nil, err
	}
	dir, err := r.install(name, key, text, nil)
	if err != nil {
		return nil, err
	}
	return r.loadSet(dir)
}

// install writes a key set whose replay log holds what the key has opened before.
func (r *keyRing) install(name string, key *rsa.PrivateKey, text []byte, seen [][20]byte) (dir string, err error) {
	dir = filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	log, err := r.store.CreateLog(filepath.Join(dir, replayDir), name)
	if err != nil {
		return "", err
	}
	for part := range slices.Chunk(seen, 10_000) {
		entries := make([]store.Entry, len(part))
		for i, h := range part {
			entries[i] = store.Entry{Log: log, Replay: h}
		}
		if _, err := r.store.Commit(entries); err != nil {
			return "", err
		}
	}
	if err := r.store.CloseLog(log); err != nil {
		return "", err
	}
	if err := durable.WriteFile(filepath.Join(dir, descriptorFile), text, 0o644); err != nil {
		return "", err
	}
	if err := durable.SyncDir(r.dir); err != nil {
		return "", err
	}
	return dir, r.files.write(filepath.Join(dir, packetKeyFile), sealedName(dir), key, r.files.sealPacket)
}

// nextName returns the name after the highest one that was in use.
func (r *keyRing) nextName() (string, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		r.used(e.Name())
	}
	return fmt.Sprintf("%s%04d", keySetPrefix, r.last+1), nil
}

// used takes note of a name, so that no other set gets it.
func (r *keyRing) used(name string) {
	if n, err := strconv.Atoi(strings.TrimPrefix(name, keySetPrefix)); err == nil {
		r.last = max(r.last, n)
	}
}

func (r *keyRing) sign(key *rsa.PrivateKey, published, after, until time.Time) ([]byte, error) {
	return directory.SignDescriptor(r.identity, r.describe(directory.Fields{
		Published:  published.UTC().Truncate(time.Second),
		ValidAfter: after,
		ValidUntil: until,
		PacketKey:  &key.PublicKey,
	}))
}

// refresh signs the descriptor of s anew if it no longer says what the configuration says, and returns the new one;
// else nil. One that nobody needs any more stays as it is: published anew it would lead senders back to an old key.
func (r *keyRing) refresh(s *keySet, now time.Time) (*directory.Descriptor, error) {
	if r.superseded(s, now) {
		return nil, nil
	}
	if at, is := r.outranked(s, now); is {
		if next := at.Add(time.Second); next.After(now) {
			now = next
		}
		return r.resign(s, now)
	}
	if s.fits {
		return nil, nil
	}
	// Signatures are random and the publication time moves, so what is compared is a descriptor of the old time, by its digest.
	want, err := r.sign(s.key, s.desc.Published, s.desc.ValidAfter, s.desc.ValidUntil)
	if err != nil {
		return nil, err
	}
	fresh, err := directory.ParseDescriptor(want)
	if err != nil {
		return nil, err
	}
	if s.fits = fresh.Digest() == s.desc.Digest(); s.fits {
		return nil, nil
	}
	return r.resign(s, now)
}

// resign signs the descriptor of s as one published at a time, and stores it.
func (r *keyRing) resign(s *keySet, published time.Time) (*directory.Descriptor, error) {
	text, err := r.sign(s.key, published, s.desc.ValidAfter, s.desc.ValidUntil)
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(filepath.Join(s.dir, descriptorFile), text, 0o644); err != nil {
		return nil, err
	}
	return directory.ParseDescriptor(text)
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
	if err := durable.Overwrite(filepath.Join(dir, deadKeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := sweepKey(filepath.Join(dir, packetKeyFile)); err != nil {
		return err
	}
	logDir := filepath.Join(dir, replayDir)
	log, err := r.store.OpenLog(logDir, filepath.Base(dir))
	if err == nil {
		err = r.store.DestroyLog(log)
	} else if errors.Is(err, store.ErrNoLog) || errors.Is(err, store.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
		err = r.store.RemoveLog(logDir)
	}
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return durable.SyncDir(r.dir)
}

// inUse returns the key sets whose packets are accepted at now, the latest first: from a little before Valid-After until the
// overlap after Valid-Until is over, at most maxInUse.
func (r *keyRing) inUse(now time.Time) []*keySet {
	var live []*keySet
	for _, s := range slices.Backward(r.sets) {
		if !now.Before(s.desc.ValidAfter.Add(-r.early())) && !now.After(s.desc.ValidUntil.Add(r.overlap)) {
			live = append(live, s)
		}
	}
	return live[:min(len(live), maxInUse)]
}

// current returns the descriptors to publish: of the keys that are in use or will be, are not over at now, and in whose
// place no others have stepped. After the clock was set back again and again there can be more keys than are used.
func (r *keyRing) current(now time.Time) []*directory.Descriptor {
	use := r.inUse(now)
	var out []*directory.Descriptor
	for _, s := range r.sets {
		if !s.desc.Expired(now) && !r.superseded(s, now) && (slices.Contains(use, s) || now.Before(s.desc.ValidAfter.Add(-r.early()))) {
			out = append(out, s.desc)
		}
	}
	return out
}
