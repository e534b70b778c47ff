package mix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mixminion/directory"
)

// maxInUse is how many packet keys can be in use at once: two, and one more after an operator has begun a new key ahead
// of time. Every packet costs one RSA operation for each of them.
const maxInUse = 3

// ErrTooManyKeys says that another packet key would have more of them in use at once than a mix may have.
var ErrTooManyKeys = fmt.Errorf("a new packet key now would have more than %d in use at once", maxInUse)

// ErrClockBehind says that there are descriptors from the future, in whose place none of now can step.
var ErrClockBehind = errors.New("the clock is behind the time at which a descriptor was made")

// Rotate begins a new packet key, valid from today, and has it published. Senders take it as soon as they learn of it,
// since it is the one published last; the keys before it are accepted for as long as their descriptors promise, and
// their descriptors are published no more. The error matches ErrTooManyKeys if there were new keys lately. It returns
// the name of the key set.
func (m *Mix) Rotate(ctx context.Context) (name string, err error) {
	err = m.errand(ctx, func() error {
		name, err = m.rotate()
		return err
	})
	return name, err
}

// RotateStopped is Rotate for a mix that does not run.
func RotateStopped(c Config) (name string, err error) {
	m, err := Open(c)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	return m.rotate()
}

func (m *Mix) rotate() (string, error) {
	now := m.cfg.Clock.Now()
	today := now.UTC().Truncate(day)
	if free, crowded := m.ring.crowded(now); crowded {
		err := ErrTooManyKeys
		if !free.IsZero() {
			err = fmt.Errorf("%w; it will be possible on %s", err, free.Format(time.DateOnly))
		}
		return "", fmt.Errorf("%w; if somebody may have read a key, destroy that one: mixminiond keys delete", err)
	}
	published := now
	for _, s := range m.ring.sets {
		// Of two that were published in the same second neither takes the place of the other.
		if next := s.desc.Published.Add(time.Second); next.After(published) {
			published = next
		}
	}
	if published.Sub(now) > time.Minute {
		return "", fmt.Errorf("%w: %s", ErrClockBehind, published.Format(time.DateTime))
	}
	set, err := m.ring.create(published, today)
	if err != nil {
		return "", fmt.Errorf("make packet key: %w", err)
	}
	m.keyUse.Lock()
	m.ring.add(set)
	m.keyUse.Unlock()
	m.dirs.announce()
	if err := m.maintain(); err != nil {
		return "", fmt.Errorf("the new key is there, and comes into use at the next start: %w", err)
	}
	m.cfg.Logger.Warn("a new packet key was begun at the operator's wish", "keys", set.name())
	return set.name(), nil
}

// superseded reports whether the descriptor of s need not be told to anybody any more: others were published later and
// last at least as long.
func (r *keyRing) superseded(s *keySet, now time.Time) bool {
	all := make([]*directory.Descriptor, len(r.sets))
	for i, o := range r.sets {
		all[i] = o.desc
	}
	return directory.Superseded(s.desc, all, now)
}

// outranked returns the time at which a descriptor that ends before that of s was published, if that was later than s was and is not in the
// future: then s has to be published anew. Else senders would take the other one to its end, and find none that lasts for a reply block.
func (r *keyRing) outranked(s *keySet, now time.Time) (at time.Time, is bool) {
	for _, o := range r.sets {
		p := o.desc.Published
		if o.desc.ValidUntil.Before(s.desc.ValidUntil) && p.After(s.desc.Published) && !p.After(now.Add(time.Minute)) && !p.Before(at) {
			at, is = p, true
		}
	}
	return at, is
}

// A period is the validity of a key that is there or will have to be made.
type period struct{ after, until time.Time }

func (r *keyRing) accepted(p period, at time.Time) bool {
	return !at.Before(p.after.Add(-r.early())) && !at.After(p.until.Add(r.overlap))
}

// successor is the period of the key that the ordinary schedule makes after these.
func (r *keyRing) successor(periods []period) period {
	var end time.Time
	for _, p := range periods {
		if p.until.After(end) {
			end = p.until
		}
	}
	return r.begin(r.align(end.Add(-r.lead())))
}

func (r *keyRing) begin(after time.Time) period {
	return period{after, after.Add(r.lifetime.Truncate(day))}
}

// crowded reports whether a key that begins at now would, at any time, be one of more than maxInUse, the keys counted
// that will have to be made until then; and if so, the day on which it would not (zero: that is far away).
func (r *keyRing) crowded(now time.Time) (free time.Time, crowded bool) {
	today := now.UTC().Truncate(day)
	periods := make([]period, len(r.sets))
	for i, s := range r.sets {
		periods[i] = period{s.desc.ValidAfter, s.desc.ValidUntil}
	}
	for d := range int(2*r.lifetime/day) + 1 {
		begin := today.Add(time.Duration(d) * day)
		if d == 0 {
			begin = now
		}
		// The ordinary schedule has gone on until then.
		for next := r.successor(periods); !next.after.After(begin.Add(min(maxAnnounce, r.lifetime))); next = r.successor(periods) {
			periods = append(periods, next)
		}
		if r.most(periods, begin) <= maxInUse {
			return begin, d > 0
		}
	}
	return time.Time{}, true
}

// most returns how many keys will be in use at once, at most, from now on if another one begins now.
func (r *keyRing) most(periods []period, now time.Time) int {
	today := now.UTC().Truncate(day)
	periods = append(slices.Clone(periods), r.begin(today))
	last := now // when the last of those is over
	for _, p := range periods {
		if over := p.until.Add(r.overlap); over.After(last) {
			last = over
		}
	}
	for next := r.successor(periods); !next.after.Add(-r.early()).After(last); next = r.successor(periods) {
		periods = append(periods, next)
	}
	most := 0
	for _, p := range periods {
		at := p.after.Add(-r.early())
		if at.Before(now) {
			at = now
		}
		n := 0
		for _, o := range periods {
			if r.accepted(o, at) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// sort orders the sets by Valid-After, and those that begin together by the time of their publication.
func (r *keyRing) sort() {
	slices.SortFunc(r.sets, func(a, b *keySet) int {
		if c := a.desc.ValidAfter.Compare(b.desc.ValidAfter); c != 0 {
			return c
		}
		return a.desc.Published.Compare(b.desc.Published)
	})
}
