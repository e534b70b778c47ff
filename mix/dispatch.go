package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"mixminion/delivery/reassemble"
	"mixminion/internal/store"
	"mixminion/internal/uniform"
	"mixminion/mmtp"
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

	plan    schedule
	links   links
	flush   atomic.Bool // try all queues, whenever they are due
	warned  occasional
	crowded occasional

	// owed holds packets that are done with and could not be erased, because the disk is full. They must not be sent again.
	mu   sync.Mutex
	owed map[store.ID]bool
	// served holds what a full disk did not let be noted of the addresses that are done with while others are to be tried again.
	served map[store.ID]uint8
	// pool is the account of fragments. It is complete once recalled.
	pool     *reassemble.Pool
	recalled atomic.Bool
	saving   sync.Mutex // held while IDs of finished messages are stored
	// visits are next hops to which JUNK is to go though nothing waits for them, by the names that their queues would have.
	visits map[string]bool
}

// ended tells the dispatcher that an attempt at a queue is over.
type ended struct {
	queue  string
	due    time.Time // when an exit's next message is due; zero: now, if something waits
	left   int       // messages that an exit leaves waiting
	err    error     // why a next hop failed
	worked bool      // the next hop has taken a packet
	fatal  error
}

// pause is how long a queue that cannot be helped is left alone.
const pause = time.Minute

// connectTimeout bounds how long a next hop that does not answer takes up a link.
const connectTimeout = 20 * time.Second

func newDispatcher(m *Mix) *dispatcher {
	return &dispatcher{
		mix: m,
		client: mmtp.NewClient(mmtp.ClientConfig{
			Dial: m.dial,
			Now:  m.cfg.Clock.Now, MaxConnections: m.cfg.MaxOutgoing, ConnectTimeout: connectTimeout,
			Bandwidth: &m.bandwidth, Proven: m.learn, Legacy: m.legacyHop(),
		}),
		wake:  make(chan struct{}, 1),
		ended: make(chan ended),
		plan:  newSchedule(),
		links: links{works: map[string]bool{}},
		owed:  map[store.ID]bool{}, served: map[store.ID]uint8{},
		pool: reassemble.New(reassemble.Limits{}),
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
			started, next, err := d.start(ctx)
			failure = err
			running += started
			if next > 0 {
				timer = d.mix.cfg.Clock.After(next)
			}
		}
		if (ctx.Err() != nil || failure != nil) && running == 0 {
			if failure == nil {
				failure = d.payOff() // what is owed is forgotten with the process
			}
			return failure
		}
		done := ctx.Done()
		if ctx.Err() != nil && running > 0 {
			done = nil // what is left to wait for are their ends
		}
		select {
		case <-done:
		case <-d.wake:
			d.plan.stale = true
		case <-timer:
		case e := <-d.ended:
			running--
			d.finish(e)
			if failure == nil {
				failure = e.fatal
			}
		}
		if failure != nil {
			cancel()
		}
	}
}

// start begins an attempt at every queue that is due. It returns how many it started and how long until the next one is due (zero:
// none).
func (d *dispatcher) start(ctx context.Context) (started int, next time.Duration, err error) {
	if err := d.payOff(); err != nil {
		return 0, 0, err
	}
	now := d.mix.cfg.Clock.Now()
	d.links.most = d.mix.live.Load().MaxOutgoing
	if d.plan.stale {
		d.links.setListed(d.mix.listedHops())
		queues := d.addVisits(d.withFragments(d.mix.store.Queues()))
		if err := d.plan.make(queues, &d.links, d.flush.Swap(false), now); err != nil {
			return 0, 0, err
		}
	}
	d.plan.ripen(&d.links, now)
	for q := d.plan.next(&d.links); q != nil; q = d.plan.next(&d.links) {
		name, flush, visit := q.name, q.flush, q.visit
		q.running, q.tried, q.flush = true, now, false
		started++
		if visit {
			d.visited(name)
		}
		go func() { d.ended <- d.empty(ctx, name, flush, visit) }() // run waits for every one
	}
	return started, d.plan.wait(now), nil
}

// finish notes the end of an attempt.
func (d *dispatcher) finish(e ended) {
	d.links.giveBack(e.queue, e.worked)
	s := d.plan.state[e.queue]
	s.running = false
	s.due = e.due
	s.left = e.left
	now := d.mix.cfg.Clock.Now()
	d.delay(s, e, now)
	if e.queue[0] != hopQueuePrefix {
		d.plan.stale = true // an exit may have moved messages to other queues
		return
	}
	d.plan.again(e.queue, len(d.mix.store.Queue(e.queue, 1)), d.visiting(e.queue), &d.links, now)
}

// delay decides when the next attempt at a queue is due.
func (d *dispatcher) delay(s *queueState, e ended, now time.Time) {
	if e.err == nil {
		s.first = time.Time{}
		if s.due.IsZero() && !e.worked && e.queue[0] == hopQueuePrefix {
			// Nothing could be sent: what is there cannot be read now, or not be erased. Trying again at once would change nothing.
			s.due = now.Add(pause)
		}
		return
	}
	if s.first.IsZero() || e.worked {
		s.first = now
		if d.warned.now(now) {
			d.mix.cfg.Logger.Warn("cannot pass packets on to a server; will try again on its retry schedule", "error", e.err)
		}
	}
	retry := d.mix.live.Load().OutgoingRetry
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

// empty makes one attempt at a queue; flush says that what is not due is to be tried, too. A visit sends JUNK to a next hop for which
// nothing waits.
func (d *dispatcher) empty(ctx context.Context, queue string, flush, visit bool) ended {
	next, typ, isExit, err := parseQueue(queue)
	switch {
	case err != nil:
		return ended{queue: queue, fatal: fmt.Errorf("packet store: queue name: %w", err)}
	case queue[0] == wholeQueuePrefix:
		return d.deliverWhole(ctx, queue, typ, flush)
	case isExit && d.mix.live.Load().gathers(typ):
		return d.gather(ctx, queue)
	case isExit:
		return d.deliver(ctx, queue, typ, flush)
	}
	return d.relay(ctx, queue, next, visit)
}

// contents reads the records of items one by one, in random order, until each returns false. What is damaged is given up, and told to
// gone like what is not there any more; what cannot be read now is passed over.
func (d *dispatcher) contents(items []store.Item, each func(store.Item, record) bool, gone func(store.ID)) error {
	if err := uniform.ShuffleSlice(rand.Reader, items); err != nil {
		return err
	}
	buf := bodies.Get().(*[]byte)
	defer putBody(buf)
	for _, it := range items {
		rec, err := d.mix.readRecord(it.ID, buf)
		switch {
		case err == nil:
			if !each(it, rec) {
				return nil
			}
		case errors.Is(err, errRecord):
			d.mix.counts.corrupt.Add(1)
			erased, err := d.erase(true, it.ID)
			if err != nil {
				return err
			}
			if erased {
				gone(it.ID)
			}
		case errors.Is(err, store.ErrUnknown):
			gone(it.ID)
		case isFatal(err):
			return err
		}
	}
	return nil
}

// isFatal reports whether a store that returned err cannot go on.
func isFatal(err error) bool {
	return errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrClosed)
}

// readRecord reads a stored packet into buf, which the record shares. The error wraps errRecord if the packet is damaged for good.
func (m *Mix) readRecord(id store.ID, buf *[]byte) (record, error) {
	body, err := m.store.Read(id, (*buf)[:0])
	if errors.Is(err, store.ErrCorrupt) {
		m.warnDamage()
		return record{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	if err != nil {
		return record{}, err
	}
	*buf = body[:0]
	return parseRecord(body)
}

// erase erases packets that are done with; durably if a packet that came back would be a second mail. A full disk puts it off: then
// it returns false.
func (d *dispatcher) erase(durably bool, ids ...store.ID) (erased bool, err error) {
	if len(ids) == 0 {
		return true, nil
	}
	d.mu.Lock()
	for _, id := range ids {
		delete(d.served, id)
	}
	d.mu.Unlock()
	erase := d.mix.store.DoneSoon
	if durably {
		erase = d.mix.store.Done
	}
	err = erase(ids...)
	if errors.Is(err, store.ErrFull) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, id := range ids {
			d.owed[id] = true
		}
		d.mix.warnFull()
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("erase packets that are done with: %w", err)
	}
	return true, nil
}

// payOff erases what could not be erased before.
func (d *dispatcher) payOff() error {
	d.mu.Lock()
	ids := make([]store.ID, 0, len(d.owed))
	for id := range d.owed {
		ids = append(ids, id)
	}
	d.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	err := d.mix.store.Done(ids...)
	if errors.Is(err, store.ErrFull) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("erase packets that are done with: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		delete(d.owed, id)
	}
	return nil
}

// waiting returns the packets of a queue that are to be sent, and how many it holds in all: those whose schedule is over are erased, and
// those that should have been erased are left out.
func (d *dispatcher) waiting(queue string, expired func(store.Item) bool) (items []store.Item, held int, err error) {
	items = d.mix.store.Queue(queue, 0)
	held = len(items)
	kept := items[:0]
	var over []store.ID
	d.mu.Lock()
	for _, it := range items {
		switch {
		case d.owed[it.ID]:
		case expired(it):
			over = append(over, it.ID)
		default:
			kept = append(kept, it)
		}
	}
	d.mu.Unlock()
	d.mix.counts.dropped.Add(uint64(len(over)))
	if queue[0] == hopQueuePrefix {
		d.mix.stats.add(unretriableRelay, len(over))
	} else {
		d.mix.stats.add(unretriableDelivery, len(over))
	}
	erased, err := d.erase(false, over...)
	if erased {
		held -= len(over)
	}
	return kept, held, err
}
