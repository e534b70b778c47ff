package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"mixminion/directory"
	"mixminion/internal/uniform"
	"mixminion/packet"
	"mixminion/path"
)

// Cover traffic: docs/spec/cover.md says what it is for and why it is so.
const (
	// maxCoverHops is how many servers behind this mix a dummy visits at most.
	maxCoverHops = 4
	// coverPeriod is how long arrivals are counted before the count has any effect, and coverPeriods how many counts have.
	coverPeriod  = 6 * time.Hour
	coverPeriods = 4
	// coverSteps is how finely the share of dummies is rounded, and minCoverShare the least of them: who floods a mix cannot make it stop.
	coverSteps    = 4
	minCoverShare = 0.5
	// maxTravel is how long every server on a dummy's path must stay valid: as long as for the packets of users.
	maxTravel = 6 * day
)

var errNoCover = errors.New("no cover traffic can be made")

// topUp decides what share of the events of cover traffic makes a dummy. It counts what arrives from elsewhere, in memory only, and knows
// nothing of single packets.
type topUp struct {
	mu     sync.Mutex
	target float64   // arrivals in an hour
	begun  time.Time // of the count that is going on
	count  int
	rates  []float64 // of the last periods, in an hour
}

// aim sets the target and reports whether it is another one.
func (u *topUp) aim(target float64) (changed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	changed = u.target != target
	u.target = target
	return changed
}

// arrived counts packets that others have put into the pool.
func (u *topUp) arrived(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count += n
}

// share is the probability with which an event at now makes a dummy.
func (u *topUp) share(now time.Time) float64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch d := now.Sub(u.begun); {
	case u.begun.IsZero() || d < 0:
		u.begun, u.count = now, 0
	case d >= coverPeriod:
		u.rates = append(u.rates, float64(u.count)/d.Hours())
		u.rates = u.rates[max(0, len(u.rates)-coverPeriods):]
		u.begun, u.count = now, 0
	}
	if len(u.rates) == 0 {
		return 1
	}
	sum := 0.0
	for _, r := range u.rates {
		sum += r
	}
	missing := 1 - sum/float64(len(u.rates))/u.target
	return min(1, max(minCoverShare, math.Ceil(missing*coverSteps)/coverSteps))
}

// covers reports whether this mix makes cover traffic. Without a list of servers it cannot.
func (m *Mix) covers() bool {
	return m.live.Load().Cover > 0 && m.cfg.Relay && (m.cfg.Servers != nil || m.dirs.client.Trusts())
}

// covering puts dummies into the pool until ctx is done. Its events are a Poisson process of the rate Config.Cover.
func (m *Mix) covering(ctx context.Context) error {
	for {
		if !m.covers() {
			select {
			case <-ctx.Done():
				return nil
			case <-m.coverChanged:
			}
			continue
		}
		mean := time.Duration(float64(time.Hour) / m.live.Load().Cover)
		wait, err := uniform.Exp(rand.Reader)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.coverChanged:
			continue // the wait for a Poisson event may begin anew at any time
		case <-m.cfg.Clock.After(time.Duration(wait * float64(mean))):
		}
		v, err := uniform.Float(rand.Reader)
		if err != nil {
			return err
		}
		if v >= m.topUp.share(m.cfg.Clock.Now()) {
			continue
		}
		p, err := m.dummy(rand.Reader)
		if err != nil {
			if m.noCover.now(m.cfg.Clock.Now()) {
				m.cfg.Logger.Warn("no cover traffic for now", "error", err)
			}
			continue
		}
		if !m.intake.cover(ctx, p) {
			return nil
		}
	}
}

// roomForCover reports whether the store has room to spare: dummies must not push out what others send. The first half of MaxDisk is for
// both.
func (m *Mix) roomForCover() bool {
	most := m.live.Load().MaxDisk
	return m.store.Room() && (most <= 0 || m.store.Usage().Disk < most/2)
}

// dummy makes a packet that goes through this mix, then over 1 to maxCoverHops random servers, and ends at the last of them in DROP
// (minion-spec 3.2.1.1).
func (m *Mix) dummy(rnd io.Reader) (*packet.Packet, error) {
	if !m.roomForCover() {
		return nil, fmt.Errorf("%w: the packet store has no room to spare; raise MaxDisk or free disk space", errNoCover)
	}
	servers, err := m.servers()
	if err != nil {
		return nil, err
	}
	own := m.Descriptors()
	if len(own) == 0 {
		return nil, fmt.Errorf("%w: this mix has no valid descriptor", errNoCover)
	}
	hops, err := uniform.Int(rnd, maxCoverHops)
	if err != nil {
		return nil, err
	}
	now := m.cfg.Clock.Now()
	paths, _, err := path.Select(rnd, append(own, servers...), coverPath(m.cfg.Nickname, 1+hops), path.Request{
		Kind: path.Forward, Exit: packet.TypeDrop, From: now, Until: now.Add(maxTravel), Links: m.cfg.IncomingLinks,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCover, err)
	}
	leg1, leg2 := paths[0].Nodes()
	var payload packet.Payload
	if _, err := io.ReadFull(rnd, payload[:]); err != nil {
		return nil, err
	}
	p, err := packet.BuildForward(rnd, leg1, leg2, packet.Exit{Type: packet.TypeDrop}, &payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCover, err)
	}
	return p, nil
}

// coverPath is the path of a dummy that visits a number of servers behind this mix. The legs meet where they would for a user's packet
// that has so many hops left: for 1 to 3 that of a path of four, where the second hop swaps.
func coverPath(nickname string, hops int) path.Spec {
	s := path.Spec{Split: true, Leg1: []path.Element{{Kind: path.Named, Name: nickname}}}
	before := max(0, hops-2)
	if before > 0 {
		s.Leg1 = append(s.Leg1, path.Element{Kind: path.Count, N: before})
	}
	s.Leg2 = []path.Element{{Kind: path.Count, N: hops - before}}
	return s
}

// servers returns the other servers that dummies may visit: those that users would choose.
func (m *Mix) servers() ([]*directory.Descriptor, error) {
	if m.cfg.Servers != nil {
		return m.others(m.cfg.Servers())
	}
	d, err := m.Directory()
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fmt.Errorf("%w: there is no directory yet", errNoCover)
	}
	if err := d.CheckFresh(m.cfg.Clock.Now()); err != nil {
		return nil, err
	}
	var list []*directory.Descriptor
	for _, s := range d.Servers {
		if d.Recommends(s) {
			list = append(list, s)
		}
	}
	return m.others(list)
}

// others leaves this mix out of a list.
func (m *Mix) others(list []*directory.Descriptor) ([]*directory.Descriptor, error) {
	var out []*directory.Descriptor
	for _, s := range list {
		if s.KeyID() != m.keyID {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no other server is known", errNoCover)
	}
	return out, nil
}
