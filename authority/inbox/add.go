package inbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/uniform"
)

// A Receipt says what became of a descriptor that was accepted or held.
type Receipt struct {
	Server   *directory.Descriptor
	Decision Decision // Approved or Pending
	Known    bool     // the very same descriptor was there before
}

// Add takes one descriptor. source names where it came from; when pending servers must go, those go that share a source with most
// others. The error is a *Refusal if the descriptor is at fault; a descriptor of a rejected server is kept and refused.
func (b *Inbox) Add(ctx context.Context, text []byte, source string) (r Receipt, err error) {
	d, err := parse(nil, text)
	if err != nil {
		return Receipt{}, err
	}
	err = b.change(ctx, func(now time.Time) error {
		r, err = b.add(d, source, now)
		return err
	})
	return r, err
}

// parse reads a descriptor, with a cache or without.
func parse(cache *directory.Cache, text []byte) (*directory.Descriptor, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, &Refusal{ErrTooShort}
	}
	d, err := cache.ParseDescriptor(text)
	if err != nil {
		return nil, &Refusal{err}
	}
	return d, nil
}

// add is Add inside of change.
func (b *Inbox) add(d *directory.Descriptor, source string, now time.Time) (Receipt, error) {
	id := d.KeyID()
	record := b.record(id)
	if record.Decision == Banned {
		return Receipt{}, refusal(ErrBanned, record.Reason)
	}
	if err := checkAlone(d, now); err != nil {
		return Receipt{}, &Refusal{err}
	}
	known := b.files[fileName(d)] != nil
	if !known {
		if err := b.store(d, source, now); err != nil {
			return Receipt{}, err
		}
	}
	if record.Decision == Pending && b.cfg.AutoApprove && b.count(Approved) < b.cfg.Limits.AutoApproved {
		record = Record{ID: id, Nickname: d.Nickname, Decision: Approved, Recommend: Automatic, Day: day(now), Reason: "approved without being asked about"}
		if err := b.decide(record); err != nil {
			return Receipt{}, err
		}
	}
	if record.Decision == Approved && record.Nickname == "" {
		record.Nickname = d.Nickname
		if err := b.decide(record); err != nil {
			return Receipt{}, err
		}
	}
	if record.Decision == Rejected {
		return Receipt{}, refusal(ErrRejected, record.Reason)
	}
	return Receipt{Server: d, Decision: record.Decision, Known: known}, nil
}

func refusal(err error, reason string) error {
	if reason != "" {
		err = fmt.Errorf("%w: %s", err, reason)
	}
	return &Refusal{err}
}

// store makes room for a descriptor and writes it.
func (b *Inbox) store(d *directory.Descriptor, source string, now time.Time) error {
	if err := b.sweep(now); err != nil {
		return err
	}
	id := d.KeyID()
	squatters, err := b.checkConflict(d)
	if err != nil {
		return &Refusal{err}
	}
	own := b.servers[id]
	if directory.Superseded(d, descriptors(own), now) {
		return &Refusal{ErrSuperseded}
	}
	if n := b.cfg.Limits.Descriptors; len(own) >= n && publishedBefore(own, d) < len(own)-n+1 {
		return &Refusal{ErrTooMany}
	}
	pending := b.record(id).Decision == Pending
	var victims []crypt.KeyID
	if pending {
		if victims, err = b.crowdedOut(id, int64(len(d.Text())), source); err != nil {
			return err
		}
	}
	// The new file first: a failing disk must not cost anybody else their place.
	if err := writeFile(b.fs, b.path(descriptorsDir, fileName(d)), d.Text()); err != nil {
		return err
	}
	fresh := len(b.servers[id]) == 0
	b.keep(d)
	if pending && (fresh || fromList(b.sources[id])) {
		b.sources[id] = source
	}
	if pending && fresh {
		b.log.Info("a new server waits for approval", "nickname", d.Nickname, "fingerprint", d.Fingerprint())
	}
	if err := b.removeServers(append(squatters, victims...)...); err != nil {
		return err
	}
	if len(victims) > 0 && b.crowded.allow(now) {
		b.log.Warn("more new servers ask for approval than there is room for; some are dropped", "waiting", b.count(Pending))
	}
	return b.trim(id)
}

// publishedBefore counts the descriptors that are older than d.
func publishedBefore(files []*descriptorFile, d *directory.Descriptor) int {
	n := 0
	for _, f := range files {
		if f.Published.Before(d.Published) {
			n++
		}
	}
	return n
}

// trim removes the descriptors of one server that nobody needs at any time, and the oldest of those that are too many.
func (b *Inbox) trim(id crypt.KeyID) error {
	all := descriptors(b.servers[id])
	var gone, left []*descriptorFile
	for _, f := range b.servers[id] {
		if directory.Superseded(f.Descriptor, all, time.Time{}) {
			gone = append(gone, f)
		} else {
			left = append(left, f)
		}
	}
	slices.SortFunc(left, func(a, b *descriptorFile) int {
		return cmp.Or(a.Published.Compare(b.Published), cmp.Compare(a.name, b.name))
	})
	gone = append(gone, left[:max(0, len(left)-b.cfg.Limits.Descriptors)]...)
	return b.remove(gone)
}

// keepExpired is how long expired descriptors of servers with a decision are kept: long enough to find out that it is our clock
// that is wrong.
const keepExpired = 14 * 24 * time.Hour

// sweep removes what has expired, and what a crash has left of servers that are banned.
func (b *Inbox) sweep(now time.Time) error {
	var gone []*descriptorFile
	for _, f := range b.files {
		decision := b.record(f.id).Decision
		if decision == Banned || decision == Pending && f.Expired(now) || f.Expired(now.Add(-keepExpired)) {
			gone = append(gone, f)
		}
	}
	return b.remove(gone)
}

// crowdedOut chooses the pending servers that go so that there is room for size bytes of server id. It refuses if that
// server itself would be one of them.
func (b *Inbox) crowdedOut(id crypt.KeyID, size int64, source string) (victims []crypt.KeyID, err error) {
	waiting := map[crypt.KeyID]int64{id: 0}
	var total int64
	for other, files := range b.servers {
		if b.record(other).Decision != Pending {
			continue
		}
		for _, f := range files {
			waiting[other] += f.size()
			total += f.size()
		}
	}
	waiting[id] += size
	total += size
	for len(waiting) > b.cfg.Limits.Pending || total > b.cfg.Limits.PendingBytes {
		weigh := func(int64) int64 { return 1 }
		if len(waiting) <= b.cfg.Limits.Pending {
			weigh = func(bytes int64) int64 { return bytes }
		}
		victim, err := b.chooseVictim(waiting, id, source, weigh)
		if err != nil {
			return nil, err
		}
		if victim == id {
			return nil, &Refusal{ErrCrowded}
		}
		victims = append(victims, victim)
		total -= waiting[victim]
		delete(waiting, victim)
	}
	return victims, nil
}

// chooseVictim picks at random one of the waiting servers whose source weighs most. A flood from one place so pushes out itself; one from
// everywhere gives every server the same chance to stay until the operator looks.
func (b *Inbox) chooseVictim(waiting map[crypt.KeyID]int64, id crypt.KeyID, source string, weigh func(int64) int64) (crypt.KeyID, error) {
	sourceOf := func(server crypt.KeyID) string {
		from := b.sources[server]
		if server == id && (from == "" || fromList(from)) {
			from = source
		}
		if from == "" { // not known since the last start: a source of its own
			from = server.String()
		}
		return from
	}
	weights := map[string]int64{}
	var most int64
	for server, bytes := range waiting {
		from := sourceOf(server)
		weights[from] += weigh(bytes)
		most = max(most, weights[from])
	}
	var candidates []crypt.KeyID
	for server := range waiting {
		if weights[sourceOf(server)] == most {
			candidates = append(candidates, server)
		}
	}
	slices.SortFunc(candidates, func(a, b crypt.KeyID) int { return bytes.Compare(a[:], b[:]) })
	i, err := uniform.Int(rand.Reader, len(candidates))
	if err != nil {
		return crypt.KeyID{}, err
	}
	return candidates[i], nil
}

// count counts the servers with the given decision.
func (b *Inbox) count(d Decision) int {
	n := 0
	if d == Pending {
		for id := range b.servers {
			if b.record(id).Decision == Pending {
				n++
			}
		}
		return n
	}
	for _, r := range b.decisions {
		if r.Decision == d {
			n++
		}
	}
	return n
}
