package days_test

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"mixminion/authority"
	"mixminion/client"
	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/crypt"
)

// A simMix publishes and downloads as a mix does, and takes no packets. Its packet keys live 12 days, and the next one begins every 6 days.
type simMix struct {
	w           *world
	name        string
	index       int
	key         *rsa.PrivateKey
	born, dies  time.Time // days
	dirs        *dirclient.Client
	descriptors []*ownDescriptor
}

// An ownDescriptor is a descriptor in one or two texts, which differ in the signature: a mix may have signed it again. Some authorities get
// one and some the other.
type ownDescriptor struct {
	*directory.Descriptor
	texts [][]byte
	done  map[string]bool // by URL of the authorities that have it
}

const (
	keyLife  = 12 * day
	keyEvery = 6 * day
	keyLead  = 3 * day // a key is announced so long before it begins
)

func (w *world) trust() dirclient.Options {
	return dirclient.Options{Trusted: authority.Members(w.group), Fetch: dirclient.FetchOptions{Now: w.clk.Now}}
}

func (w *world) addMix(i int, born, dies time.Time) {
	m := &simMix{w: w, name: fmt.Sprintf("mix%02d", i), index: i, key: keys()[members+i], born: born, dies: dies}
	o := w.trust()
	o.Dir = filepath.Join(w.dir, m.name)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	m.dirs = dirclient.New(o)
	w.mixes = append(w.mixes, m)
}

func (m *simMix) alive(at time.Time) bool { return !at.Before(m.born) && at.Before(m.dies) }

// rotate makes the descriptors that are needed.
func (m *simMix) rotate(now time.Time) error {
	m.descriptors = slices.DeleteFunc(m.descriptors, func(d *ownDescriptor) bool { return d.Expired(now) })
	for {
		begin := now.Truncate(day).Add(-time.Duration(m.index%6) * day)
		if n := len(m.descriptors); n > 0 {
			begin = m.descriptors[n-1].ValidAfter.Add(keyEvery)
			if begin.After(now.Add(keyLead)) {
				return nil
			}
		}
		f := directory.Fields{
			Nickname: m.name, Published: now, ValidAfter: begin, ValidUntil: begin.Add(keyLife),
			PacketKey: &keys()[len(keys())-1].PublicKey, PacketVersions: []string{"0.3"}, Software: "Mixminion days", Secure: true,
			Contact:  m.name + "@example.com",
			Incoming: &directory.Incoming{Hostname: m.name + ".example.com", Port: 48099, Protocols: []string{"0.3"}, TLS: directory.TLSVersions(false)},
			Outgoing: &directory.Outgoing{Protocols: []string{"0.3"}, TLS: directory.TLSVersions(false)},
		}
		own := &ownDescriptor{done: map[string]bool{}}
		for range 1 + m.index%2 {
			text, err := directory.SignDescriptor(m.key, f)
			if err != nil {
				return err
			}
			own.texts = append(own.texts, text)
		}
		var err error
		if own.Descriptor, err = directory.ParseDescriptor(own.texts[0]); err != nil {
			return err
		}
		m.descriptors = append(m.descriptors, own)
	}
}

// publish offers to each authority what it lacks, and the newest descriptor in any case, in case the authority has lost it.
func (m *simMix) publish(ctx context.Context, now time.Time) error {
	if err := m.rotate(now); err != nil {
		return err
	}
	for i, v := range m.w.group {
		for j, d := range m.descriptors {
			if d.done[v.URL] && j < len(m.descriptors)-1 {
				continue
			}
			_, err := m.dirs.Fetcher().Upload(ctx, v.URL, d.texts[i%len(d.texts)])
			var rejected *dirclient.RejectedError
			if err == nil || errors.As(err, &rejected) && m.w.nodes[i].skew.Load() == 0 {
				d.done[v.URL] = err == nil
			}
			if errors.As(err, &rejected) && m.w.nodes[i].skew.Load() == 0 {
				return fmt.Errorf("%s: authority %d: %w", m.name, i, err)
			}
		}
	}
	return nil
}

// parallel does work for all mixes that are alive, some at a time.
func (w *world) parallel(work func(context.Context, *simMix) error) {
	w.t.Helper()
	now := w.now()
	jobs := make(chan *simMix)
	var mu sync.Mutex
	var failed error
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for m := range jobs {
				if err := work(context.Background(), m); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, m := range w.mixes {
		if m.alive(now) {
			jobs <- m
		}
	}
	close(jobs)
	workers.Wait()
	if failed != nil {
		w.t.Errorf("%v: %v", now, failed)
	}
}

// mixesPublish is the daily upload.
func (w *world) mixesPublish() {
	now := w.now()
	w.parallel(func(ctx context.Context, m *simMix) error { return m.publish(ctx, now) })
}

// mixesDownload has all mixes download the directory, which may fail.
func (w *world) mixesDownload() {
	w.parallel(func(ctx context.Context, m *simMix) error {
		up, err := m.dirs.Update(ctx)
		return w.checkHeld(m.name, up, err)
	})
}

// checkHeld sees to it that what somebody has downloaded is signed by a majority, is no older than what they held
// before, and is what all others hold for that day. A download may only fail for reasons of those who were asked, and
// never because there are two directories of one day.
func (w *world) checkHeld(who string, up *dirclient.Update, err error) error {
	var failures *dirclient.UpdateError
	if errors.Is(err, dirclient.ErrFork) || err != nil && !errors.As(err, &failures) {
		return fmt.Errorf("%s: %w", who, err)
	}
	if err != nil {
		return nil
	}
	for _, f := range up.Failures {
		if errors.Is(f, dirclient.ErrFork) {
			return fmt.Errorf("%s: %w", who, f)
		}
	}
	return w.ledger.holds(who, up.Consensus.ValidAfter, up.Consensus.BodyHash(), up.Consensus.Quorum.Signed)
}

// A user is a client with a home directory.
type user struct {
	*client.Client
	name string
}

func (w *world) addClient(name string) *user {
	c, err := client.Open(filepath.Join(w.dir, name), client.Options{Clock: w.clk, Directories: w.trust()})
	if err != nil {
		w.t.Fatal(err)
	}
	u := &user{c, name}
	w.clients = append(w.clients, u)
	return u
}

// download has some clients download the directory, which may fail.
func (w *world) download(users ...*user) {
	w.t.Helper()
	for _, u := range users {
		up, err := u.UpdateServers(context.Background())
		if err := w.checkHeld(u.name, up, err); err != nil {
			w.t.Errorf("%v: %v", w.now(), err)
		}
	}
}

// checkUsable: what is too old is refused, everything else is used.
func (u *user) checkUsable(w *world) {
	w.t.Helper()
	held, err := u.Directory()
	if err != nil {
		w.t.Errorf("%s: %v", u.name, err)
		return
	}
	if held == nil {
		return
	}
	// What lies on the disk is what was downloaded last.
	if err := w.ledger.holds(u.name, held.ValidAfter, held.BodyHash(), held.Quorum.Signed); err != nil {
		w.t.Error(err)
	}
	usable := u.DirectoryUsable()
	old := !w.now().Before(held.ValidUntil.Add(directory.Grace))
	if old != errors.Is(usable, directory.ErrStale) || !old && usable != nil {
		w.t.Errorf("%v: %s holds the directory of %v: %v", w.now(), u.name, held.ValidAfter, usable)
	}
}

// choices are the descriptors that a client chooses paths among, by digest.
func (u *user) choices() ([]crypt.Digest, error) {
	all, err := u.Servers()
	if err != nil {
		return nil, err
	}
	recommended, err := u.Recommended()
	if err != nil {
		return nil, err
	}
	var out []crypt.Digest
	for _, d := range all {
		if recommended(d) {
			out = append(out, d.Digest())
		}
	}
	slices.SortFunc(out, func(a, b crypt.Digest) int { return slices.Compare(a[:], b[:]) })
	return out, nil
}
