package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixminion/delivery"
	"mixminion/internal/store"
	"mixminion/internal/uniform"
	"mixminion/mmtp"
	"mixminion/packet"
)

// counters are for the demo, tests and later for statistics, which publish them rounded and late only.
type counters struct {
	mixed, relayed, delivered, dropped, corrupt atomic.Uint64
}

// Counts is how many packets have gone each way since Open.
type Counts struct{ Mixed, Relayed, Delivered, Dropped, Corrupt uint64 }

// Counts returns exact numbers. They are not to be published: traffic analysis feeds on them.
func (m *Mix) Counts() Counts {
	return Counts{m.counts.mixed.Load(), m.counts.relayed.Load(), m.counts.delivered.Load(),
		m.counts.dropped.Load(), m.counts.corrupt.Load()}
}

// A dispatcher empties the queues. One goroutine (run) owns its state and starts one more for each queue that is being emptied, so that
// a slow next hop holds up its own queue only.
type dispatcher struct {
	mix    *Mix
	client *mmtp.Client
	wake   chan struct{}
	ended  chan ended

	state map[string]*queueState
	// works holds the next hops that have taken a packet since the start. Half of the links are kept for them: whoever floods the mix with
	// packets for hops that do not exist must not hold up those that do.
	works   map[string]bool
	linking int // attempts at next hops that are running
	guesses int // those of them at hops that have not worked yet
	warned  time.Time
}

// maxWorking bounds works; a network has far fewer mixes.
const maxWorking = 10000

// warnEvery bounds how often an operator is told of a failing hop, which anybody can cause.
const warnEvery = 10 * time.Minute

// queueState is what the dispatcher knows of a queue beside its contents. It is not stored: after a restart every next hop is tried at
// once.
type queueState struct {
	running bool
	due     time.Time // zero: now
	first   time.Time // of the failures since the last success, for next hops
	offered int       // packets at the last attempt of an exit that gathers
}

// ended tells the dispatcher that an attempt at a queue is over.
type ended struct {
	queue  string
	due    time.Time // when an exit's next message is due; zero: now, if something waits
	err    error     // why a next hop failed
	worked bool      // the next hop has taken a packet
	fatal  error
}

func newDispatcher(m *Mix) *dispatcher {
	return &dispatcher{
		mix: m,
		client: mmtp.NewClient(mmtp.ClientConfig{
			Now: m.cfg.Clock.Now, MaxConnections: m.cfg.MaxOutgoing,
		}),
		wake:  make(chan struct{}, 1),
		ended: make(chan ended),
		state: map[string]*queueState{},
		works: map[string]bool{},
	}
}

// wakeUp tells the dispatcher to look at the queues.
func (d *dispatcher) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run empties queues as they fall due, until ctx is done. The error is fatal for the mix.
func (d *dispatcher) run(ctx context.Context) error {
	defer d.client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.wakeUp() // what a previous run left
	running := 0
	var failure error
	for {
		var timer <-chan time.Time
		if ctx.Err() == nil && failure == nil {
			var next time.Duration
			var started int
			started, next = d.start(ctx)
			running += started
			if next > 0 {
				timer = d.mix.cfg.Clock.After(next)
			}
		} else if running == 0 {
			return failure
		}
		done := ctx.Done()
		if ctx.Err() != nil {
			done = nil
		}
		select {
		case <-done:
		case <-d.wake:
		case <-timer:
		case e := <-d.ended:
			running--
			d.finish(e)
			if e.fatal != nil && failure == nil {
				failure = e.fatal
				cancel()
			}
		}
	}
}

// start begins an attempt at every queue that is due. It returns how many it started and how long until the next one is due (zero:
// none).
func (d *dispatcher) start(ctx context.Context) (started int, next time.Duration) {
	now := d.mix.cfg.Clock.Now()
	present := map[string]bool{}
	queues := d.mix.store.Queues()
	// The longest first: made-up hops have few packets each.
	slices.SortFunc(queues, func(a, b store.QueueStat) int { return b.Count - a.Count })
	for _, q := range queues {
		present[q.Name] = true
		s := d.state[q.Name]
		if s == nil {
			s = &queueState{}
			d.state[q.Name] = s
		}
		if s.running {
			continue
		}
		grown := d.gathers(q.Name) && q.Count != s.offered
		s.offered = q.Count
		if wait := s.due.Sub(now); !s.due.IsZero() && wait > 0 && !grown {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		if !d.takeLink(q.Name) {
			continue // the end of another attempt brings us back here
		}
		s.running = true
		started++
		go func() { d.ended <- d.empty(ctx, q.Name) }() // run waits for every one
	}
	for name, s := range d.state {
		if !present[name] && !s.running {
			delete(d.state, name)
		}
	}
	return started, next
}

// takeLink counts an attempt at a next hop; false if there are enough. Attempts at exits are not counted: there are few of them.
func (d *dispatcher) takeLink(queue string) bool {
	if queue[0] != hopQueuePrefix {
		return true
	}
	most := d.mix.cfg.MaxOutgoing
	guess := !d.works[queue]
	if d.linking >= most || guess && d.guesses >= max(1, most/2) {
		return false
	}
	d.linking++
	if guess {
		d.guesses++
	}
	return true
}

// returnLink undoes takeLink.
func (d *dispatcher) returnLink(e ended) {
	if e.queue[0] != hopQueuePrefix {
		return
	}
	d.linking--
	if !d.works[e.queue] {
		d.guesses--
	}
	if e.worked && len(d.works) < maxWorking {
		d.works[e.queue] = true
	}
}

// gathers reports whether the queue belongs to an exit that must see all its messages at once.
func (d *dispatcher) gathers(queue string) bool {
	_, typ, isExit, err := parseQueue(queue)
	x := d.mix.exits[typ]
	return err == nil && isExit && x != nil && x.Gather
}

// finish notes the end of an attempt and decides when the next one is due.
func (d *dispatcher) finish(e ended) {
	d.returnLink(e)
	s := d.state[e.queue]
	s.running = false
	s.due = e.due
	if e.err == nil {
		s.first = time.Time{}
		return
	}
	now := d.mix.cfg.Clock.Now()
	if s.first.IsZero() {
		s.first = now
		if d.warned.IsZero() || now.Sub(d.warned) >= warnEvery {
			d.warned = now
			d.mix.cfg.Logger.Warn("cannot pass packets on to a server; will try again on its retry schedule", "error", e.err)
		}
	}
	retry := d.mix.cfg.OutgoingRetry
	var ok bool
	if s.due, ok = retry.Next(s.first, now); !ok {
		// The schedule is over, yet newer packets may wait: go on at its last pace.
		last := time.Hour
		if len(retry) > 0 {
			last = retry[len(retry)-1]
		}
		s.due = now.Add(last)
	}
}

// empty makes one attempt at a queue.
func (d *dispatcher) empty(ctx context.Context, queue string) ended {
	next, typ, isExit, err := parseQueue(queue)
	switch {
	case err != nil:
		return ended{queue: queue, fatal: fmt.Errorf("packet store: queue name: %w", err)}
	case isExit:
		return d.deliver(ctx, queue, typ)
	}
	return d.relay(ctx, queue, next)
}

// contents reads the records of a queue one by one, in random order; want says which. What cannot be read is given up.
func (d *dispatcher) contents(items []store.Item, buf *[]byte, each func(store.Item, record) bool) error {
	if err := uniform.ShuffleSlice(rand.Reader, items); err != nil {
		return err
	}
	for _, it := range items {
		body, err := d.mix.store.Read(it.ID, (*buf)[:0])
		*buf = body[:0]
		var rec record
		if err == nil {
			rec, err = parseRecord(body)
		}
		if errors.Is(err, store.ErrCorrupt) || errors.Is(err, errRecord) {
			d.mix.counts.corrupt.Add(1)
			if err := d.mix.store.Done(it.ID); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if !each(it, rec) {
			return nil
		}
	}
	return nil
}

// relay sends a queue's packets to their next hop. A packet is erased only once the hop has said that it has it.
func (d *dispatcher) relay(ctx context.Context, queue string, next packet.Hop) ended {
	e := ended{queue: queue}
	items, err := d.expire(d.mix.store.Queue(queue, 0), d.mix.cfg.OutgoingRetry)
	if err != nil {
		e.fatal = err
		return e
	}
	var done []store.ID
	flush := func() {
		if err := d.mix.store.DoneSoon(done...); err != nil && e.fatal == nil {
			e.fatal = fmt.Errorf("erase packets that were sent: %w", err)
		}
		done = done[:0]
	}
	var refused error
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	sequence := func(yield func(mmtp.Item) bool) {
		err := d.contents(items, buf, func(it store.Item, rec record) bool {
			p := packets.Get().(*packet.Packet)
			*p = *rec.packet
			return yield(mmtp.Item{Packet: p, Done: func(err error) {
				packets.Put(p)
				if err != nil {
					refused = err
					return
				}
				e.worked = true
				d.mix.counts.relayed.Add(1)
				if done = append(done, it.ID); len(done) >= eraseTogether {
					flush()
				}
			}}) && e.fatal == nil
		})
		if err != nil {
			e.fatal = err
		}
	}
	if len(items) > 0 {
		e.err = d.client.Send(ctx, next, sequence)
	}
	flush()
	if e.err == nil {
		e.err = refused
	}
	if ctx.Err() != nil {
		e.err = nil
	}
	return e
}

// packets are buffers for packets on their way out.
var packets = sync.Pool{New: func() any { return new(packet.Packet) }}

// eraseTogether is how many sent packets are erased with one write.
const eraseTogether = 64

// expire erases the packets whose schedule is over and returns the others.
func (d *dispatcher) expire(items []store.Item, retry Schedule) ([]store.Item, error) {
	limit := d.mix.cfg.Clock.Now().Add(-retry.Total() - d.mix.cfg.Interval)
	kept := items[:0]
	var over []store.ID
	for _, it := range items {
		if len(retry) > 0 && time.Unix(int64(it.Queued), 0).Before(limit) {
			over = append(over, it.ID)
		} else {
			kept = append(kept, it)
		}
	}
	d.mix.counts.dropped.Add(uint64(len(over)))
	if err := d.mix.store.DoneSoon(over...); err != nil {
		return nil, fmt.Errorf("erase packets that nobody would take: %w", err)
	}
	return kept, nil
}

// deliver hands an exit the messages of its queue that are due.
func (d *dispatcher) deliver(ctx context.Context, queue string, typ packet.RoutingType) ended {
	e := ended{queue: queue}
	x := d.mix.exits[typ]
	if x == nil {
		// The operator switched this exit off after the packet was accepted. It waits in case that is undone, until its time is over.
		_, e.fatal = d.expire(d.mix.store.Queue(queue, 0), Schedule{defaultKeep})
		e.due = d.mix.cfg.Clock.Now().Add(time.Hour)
		return e
	}
	now := d.mix.cfg.Clock.Now()
	waiting, err := d.expire(d.mix.store.Queue(queue, 0), x.Retry)
	if err != nil {
		e.fatal = err
		return e
	}
	var due []store.Item
	byID := map[uint64]store.Item{}
	for _, it := range waiting {
		at, ok := x.dueAt(it)
		if x.Gather || !ok || !at.After(now) {
			due = append(due, it)
			byID[uint64(it.ID)] = it
		} else if e.due.IsZero() || at.Before(e.due) {
			e.due = at
		}
	}
	retryAt := func(it store.Item) {
		if at, ok := x.dueAt(it); ok && (e.due.IsZero() || at.Before(e.due)) {
			e.due = at
		}
	}
	outcome := func(id uint64, o delivery.Outcome) {
		it := byID[id]
		delete(byID, id)
		var err error
		it.Attempts++
		it.LastAttempt = d.mix.roundedNow()
		_, more := x.dueAt(it)
		if x.Gather && o.Status == delivery.Retry {
			byID[id] = it // still waiting
			return
		}
		switch {
		case o.Status == delivery.Delivered:
			d.mix.counts.delivered.Add(1)
			err = d.mix.store.Done(it.ID)
		case o.Status == delivery.Dropped || !more:
			d.mix.counts.dropped.Add(1)
			err = d.mix.store.Done(it.ID)
		default:
			err = d.mix.store.Note([]store.ID{it.ID}, it.Attempts, it.LastAttempt)
			retryAt(it)
		}
		if err != nil && e.fatal == nil {
			e.fatal = fmt.Errorf("note the outcome of a delivery: %w", err)
		}
	}
	if len(due) > 0 {
		if err := x.Exit.Deliver(ctx, d.messages(&e, due), outcome); err != nil && ctx.Err() == nil {
			d.mix.cfg.Logger.Warn("an exit cannot deliver now; will try again on its retry schedule", "exit", typ, "error", err)
		}
	}
	if len(byID) > 0 {
		// What the exit did not get to, or gathers, is offered again with the first retry, or in a while.
		at := d.mix.cfg.Clock.Now().Add(max(d.mix.cfg.Interval, time.Minute))
		if e.due.IsZero() || at.Before(e.due) {
			e.due = at
		}
	}
	return e
}

// defaultKeep is how long messages wait for an exit that is switched off.
const defaultKeep = 7 * day

// messages reads queue items as an exit wants them.
func (d *dispatcher) messages(e *ended, items []store.Item) iter.Seq[delivery.Item] {
	return func(yield func(delivery.Item) bool) {
		buf := bodies.Get().(*[]byte)
		defer bodies.Put(buf)
		err := d.contents(items, buf, func(it store.Item, rec record) bool {
			return yield(delivery.Item{
				ID: uint64(it.ID), Type: rec.typ, Info: rec.info, Payload: rec.payload, Nonce: rec.nonce,
				Queued: time.Unix(int64(it.Queued), 0).UTC(),
			}) && e.fatal == nil
		})
		if err != nil && e.fatal == nil {
			e.fatal = err
		}
	}
}

// dueAt returns when an attempt at the message is due; false when its schedule is over.
func (x *ExitConfig) dueAt(it store.Item) (time.Time, bool) {
	first := time.Unix(int64(it.Queued), 0)
	if it.Attempts == 0 {
		return first, true
	}
	return x.Retry.Next(first, time.Unix(int64(it.LastAttempt), 0))
}
