package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/mmtp"
	"mixminion/packet"
)

// maxSelfHops bounds how often one packet can name this mix as its own next hop; no header holds more.
const maxSelfHops = 32

// An arrival is something to acknowledge at a tick: a packet, padding or junk.
type arrival struct {
	at      time.Time     // when it arrived; real time
	entries []store.Entry // nil: nothing to store
	body    *[]byte       // the buffer behind the entries' body, to be used again
	own     bool          // cover traffic of this mix
	ack     func(accepted bool)
}

// intake turns what comes in over MMTP into entries of the store. It is the mmtp.Handler.
type intake struct {
	mix  *Mix
	jobs chan job

	mu      sync.Mutex
	waiting []arrival
	wake    chan struct{} // holds a token while something waits
}

type job struct {
	p   *packet.Packet // nil: padding or junk
	ack func(bool)
	at  time.Time
	own bool // cover traffic of this mix
}

func newIntake(m *Mix) *intake {
	return &intake{mix: m, jobs: make(chan job, m.cfg.Workers), wake: make(chan struct{}, 1)}
}

// Room implements mmtp.Handler.
func (in *intake) Room() bool {
	if in.mix.draining.Load() {
		return false
	}
	if in.mix.store.Room() {
		return true
	}
	in.mix.warnFull()
	return false
}

// Handle implements mmtp.Handler. It blocks while all workers are busy, so that the connections wait and not the memory. Padding and
// junk wait in the same line as packets.
func (in *intake) Handle(_ mmtp.Kind, p *packet.Packet, ack func(bool)) {
	if p != nil {
		in.mix.stats.add(receivedPacket, 1)
	}
	in.jobs <- job{p: p, ack: ack, at: time.Now()}
}

// cover takes in a packet of the mix's own, as if it had arrived; false if ctx ended before. Nothing but the arrival in memory says where
// it came from.
func (in *intake) cover(ctx context.Context, p *packet.Packet) bool {
	select {
	case in.jobs <- job{p: p, ack: func(bool) {}, at: time.Now(), own: true}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (in *intake) add(a arrival) {
	in.mu.Lock()
	in.waiting = append(in.waiting, a)
	in.mu.Unlock()
	in.poke()
}

func (in *intake) poke() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// work unwraps packets until jobs is closed.
func (in *intake) work() {
	for j := range in.jobs {
		var a arrival
		if j.p != nil {
			a = in.unwrap(j.p)
			mmtp.Recycle(j.p)
		}
		a.at, a.ack, a.own = j.at, j.ack, j.own
		in.add(a)
	}
}

var bodies = sync.Pool{New: func() any {
	b := make([]byte, 0, packet.Size+512)
	return &b
}}

// putBody wipes a buffer before others get it.
func putBody(b *[]byte) {
	clear((*b)[:cap(*b)])
	*b = (*b)[:0]
	bodies.Put(b)
}

// unwrap takes off a layer, and further ones as long as the next hop is this mix itself (minion-spec 4 forbids going over the network
// for that). A packet that is not for us or not in order becomes an arrival without entries.
func (in *intake) unwrap(p *packet.Packet) arrival {
	keys := in.mix.keys.Load()
	var a arrival
	for range maxSelfHops {
		res, err := keys.unwrapper.Unwrap(p)
		if err != nil {
			return a
		}
		entry := store.Entry{Log: keys.sets[res.Key].log, Replay: res.Replay}
		rec := record{next: res.Next, packet: p}
		switch res.Action {
		case packet.Relay:
			if res.Next.KeyID == in.mix.keyID {
				a.entries = append(a.entries, entry)
				continue
			}
			if !in.mix.cfg.Relay {
				a.entries = append(a.entries, entry)
				return a
			}
			rec.kind = recordRelay
		case packet.Deliver:
			if in.mix.live.Load().exit(res.Type) == nil {
				a.entries = append(a.entries, entry)
				return a
			}
			rec = record{kind: recordDeliver, typ: res.Type, info: res.Info, payload: (*packet.Payload)(p[2*packet.HeaderLen:])}
			rand.Read(rec.nonce[:])
		default:
			a.entries = append(a.entries, entry)
			return a
		}
		a.body = bodies.Get().(*[]byte)
		*a.body = rec.append((*a.body)[:0])
		entry.Body = *a.body
		a.entries = append(a.entries, entry)
		return a
	}
	return a
}

// ticks commits what has arrived, at tick boundaries, until stop is closed and nothing waits any more. Each arrival is committed and
// acknowledged at the first boundary that is a whole tick or more away from its arrival: by then a packet is unwrapped, so
// good packets, bad ones, replays and padding look alike from outside. A tick writes and syncs whether or not any of
// its arrivals is kept.
//
// The tick paces the disk; it is no time of the protocol and does not follow the injected clock.
func (in *intake) ticks(stop <-chan struct{}) error {
	tick := in.mix.cfg.Tick
	begun := time.Now()
	for {
		select {
		case <-in.wake:
		case <-stop:
			return in.commit(time.Now())
		}
		boundary := begun.Add((time.Since(begun)/tick + 1) * tick)
		time.Sleep(time.Until(boundary))
		if err := in.commit(boundary.Add(-tick)); err != nil {
			return err
		}
	}
}

// commit stores what arrived until a moment in one transaction and acknowledges it. The error is fatal for the mix.
func (in *intake) commit(until time.Time) error {
	in.mu.Lock()
	var batch, later []arrival
	for _, a := range in.waiting {
		if a.at.After(until) {
			later = append(later, a)
		} else {
			batch = append(batch, a)
		}
	}
	in.waiting = later
	in.mu.Unlock()
	if len(later) > 0 {
		in.poke()
	}
	if len(batch) == 0 {
		return nil
	}
	var entries []store.Entry
	own := 0
	for _, a := range batch {
		entries = append(entries, a.entries...)
		if a.own && a.body != nil {
			own++
		}
	}
	// Keys are destroyed only between ticks, so that no entry names a replay log that is gone.
	in.mix.keyUse.RLock()
	entries = in.mix.living(entries)
	accepted, err := in.mix.store.Commit(entries)
	in.mix.keyUse.RUnlock()
	if err == nil {
		in.mix.topUp.arrived(pooled(entries, accepted) - own)
	}

	full := errors.Is(err, store.ErrFull)
	for _, a := range batch {
		// A full disk refuses every arrival of the tick: that some carried nothing to store is nobody's business.
		a.ack(err == nil)
		if a.body != nil {
			putBody(a.body)
		}
	}
	if full {
		in.mix.warnFull()
		return nil
	}
	if err != nil {
		return fmt.Errorf("store packets: %w", err)
	}
	return nil
}

// pooled counts the entries that went into the pool.
func pooled(entries []store.Entry, accepted []bool) (n int) {
	for i, e := range entries {
		if accepted[i] && e.Body != nil {
			n++
		}
	}
	return n
}

// keysInUse is an unwrapper and the key sets that its keys belong to.
type keysInUse struct {
	unwrapper *packet.Unwrapper
	sets      []*keySet
}

func newKeysInUse(sets []*keySet) (*keysInUse, error) {
	var decs []crypt.Decrypter
	for _, s := range sets {
		decs = append(decs, s.dec)
	}
	u, err := packet.NewUnwrapper(decs...)
	if err != nil {
		return nil, fmt.Errorf("no packet key is valid now; is the clock right? %w", err)
	}
	return &keysInUse{u, sets}, nil
}
