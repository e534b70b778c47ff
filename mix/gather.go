package mix

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/reassemble"
	"mixminion/directory"
	"mixminion/internal/store"
	"mixminion/message"
	"mixminion/packet"
)

// Fragments go from the pool to the queue of their exit like all packets. From there gather takes them, as they come, into the held queue
// and the account of package reassemble, and moves those of a message that has become whole, all at once, to the whole queue of the exit
// that the message is for. There deliverWhole puts it together at each attempt: a whole message never lies on the disk.

// Gather says how messages are put together of fragments.
type Gather struct {
	reassemble.Limits
	// Wait is how long a message that is not whole waits for its fragments, counted from the midnight after the first one.
	Wait time.Duration
}

// FragmentExit returns the exit of the type FRAGMENT. The error wraps message.ErrLength if no message can be as large.
func FragmentExit(g Gather) (ExitConfig, error) {
	geometry, err := message.NewGeometry(g.Size, 0)
	if err != nil {
		return ExitConfig{}, err
	}
	return ExitConfig{Type: packet.TypeFragment, Gather: &g, Advertise: func(f *directory.Fields) {
		f.Fragmented = &directory.Fragmented{MaximumFragments: geometry.Packets()}
	}}, nil
}

const (
	// gatherAgain is when the account is looked over though no fragment came.
	gatherAgain = time.Hour
	// gatherTogether is how many fragments are entered before those in excess are given up: enough for those of one
	// message to arrive together, and few enough to be counted in memory.
	gatherTogether = 4096
	// rememberFinished is how long the fragments of a message may come late.
	rememberFinished = 14 * day
)

// gathers reports whether packets of a type are put together here; it may be that the operator has switched that off.
func (c *Config) gathers(t packet.RoutingType) bool {
	x := c.exit(t)
	return t == packet.TypeFragment && (x == nil || x.Gather != nil)
}

// withFragments makes of the queues in the store those that can be emptied. As long as there are fragments or what
// remembers them, the queue of new ones is one of them, though it may be empty.
func (d *dispatcher) withFragments(queues []store.QueueStat) []store.QueueStat {
	fragments := exitQueue(packet.TypeFragment)
	out := queues[:0]
	has, held := false, false
	for _, q := range queues {
		has = has || q.Name == fragments
		switch {
		case q.Name == heldQueue || q.Name == finishedQueue:
			held = true
		case q.Name[0] == wholeQueuePrefix && !d.recalled.Load():
			held = true
		default:
			out = append(out, q)
		}
	}
	if held && !has {
		out = append(out, store.QueueStat{Name: fragments})
	}
	return out
}

// gathering is one attempt at the queue of new fragments.
type gathering struct {
	ended
	d     *dispatcher
	now   time.Time
	since time.Time // when fragments that come now are counted from
	moves []store.Assignment
	erase []store.ID
	gone  map[store.ID]bool // erase, to look up
}

// gather takes new fragments into the account, gives up those whose time is over, and sends on the messages that have become whole.
func (d *dispatcher) gather(ctx context.Context, queue string) ended {
	now := d.mix.cfg.Clock.Now()
	g := gathering{ended: ended{queue: queue, due: now.Add(gatherAgain)}, d: d, now: now, since: nextMidnight(now)}
	// What was taken once is not lost by a change of the configuration.
	d.pool.SetLimits(reassemble.Limits{Size: math.MaxUint32, Bytes: math.MaxInt64, Messages: math.MaxInt})
	before := d.mix.store.Queue(queue, 0)
	switch err := d.recall(ctx); {
	case errors.Is(err, store.ErrFull):
		d.mix.warnFull()
		g.left, g.due = len(before), now.Add(pause)
		return g.ended
	case err != nil || ctx.Err() != nil:
		g.fatal = err
		return g.ended
	}
	wait := defaultKeep
	x := d.mix.live.Load().exit(packet.TypeFragment)
	if x != nil {
		wait = x.Gather.Wait
		d.pool.SetLimits(x.Gather.Limits)
	}
	items, _, err := d.waiting(queue, func(it store.Item) bool { return now.Sub(time.Unix(int64(it.Queued), 0)) > wait })
	if err != nil {
		g.fatal = err
		return g.ended
	}
	if x == nil {
		items = nil // they wait in case that is undone
	}
	for len(items) > 0 && g.fatal == nil && ctx.Err() == nil {
		some := items[:min(gatherTogether, len(items))]
		items = items[len(some):]
		g.enter(ctx, some)
	}
	if g.fatal == nil {
		g.lookOver(wait)
	}
	g.left = d.remaining(queue, before)
	if g.left > 0 && x != nil {
		g.due = now.Add(pause)
	}
	return g.ended
}

// remaining counts the packets in a queue that were there before. Others have come since, and are to be tried at once.
func (d *dispatcher) remaining(queue string, before []store.Item) (n int) {
	old := make(map[store.ID]bool, len(before))
	for _, it := range before {
		old[it.ID] = true
	}
	for _, it := range d.mix.store.Queue(queue, 0) {
		if old[it.ID] {
			n++
		}
	}
	return n
}

// enter takes some new fragments into the account, and does what follows from that.
func (g *gathering) enter(ctx context.Context, items []store.Item) {
	g.moves, g.erase, g.gone = nil, nil, map[store.ID]bool{}
	var kept []store.ID
	err := g.d.contents(items, func(it store.Item, rec record) bool {
		v := g.d.pool.Add(reassemble.Fragment{Ref: uint64(it.ID), Since: g.since, Info: rec.info, Payload: rec.payload})
		g.giveUp(v.Erase)
		if v.Keep {
			kept = append(kept, it.ID)
			return ctx.Err() == nil
		}
		if v.Why != delivery.None {
			g.giveUp([]uint64{uint64(it.ID)})
		} else {
			g.drop(it.ID)
		}
		return ctx.Err() == nil
	}, func(store.ID) {})
	if err != nil {
		g.fatal = err
		return
	}
	g.shrink()
	g.settle(kept)
}

// shrink gives up what exceeds the limits.
func (g *gathering) shrink() {
	over := g.d.pool.Shrink()
	g.giveUp(over)
	if len(over) > 0 && g.d.crowded.now(g.now) {
		g.d.mix.cfg.Logger.Warn("fragments of incomplete messages take all the space that they may; those that have waited longest for others " +
			"are dropped. If that goes on, raise MaximumStorage in [Delivery/Fragmented]")
	}
}

// drop has a fragment erased that is not needed.
func (g *gathering) drop(id store.ID) {
	g.erase = append(g.erase, id)
	g.gone[id] = true
}

// giveUp has fragments erased whose message is lost.
func (g *gathering) giveUp(refs []uint64) {
	g.d.countLost(len(refs))
	for _, id := range storeIDs(refs) {
		g.drop(id)
	}
}

// countLost counts fragments, or whole messages, of which nothing will be delivered.
func (d *dispatcher) countLost(n int) {
	d.mix.counts.dropped.Add(uint64(n))
	d.mix.stats.add(unretriableDelivery, n)
}

// settle makes durable what became of the fragments that came: the whole messages, the others that are kept, those that are not.
func (g *gathering) settle(kept []store.ID) {
	d := g.d
	placed := map[*reassemble.Message]packet.RoutingType{}
	moved := map[store.ID]bool{}
	for _, m := range d.pool.Ready() {
		to, ok := g.destination(m)
		if !ok {
			continue
		}
		placed[m] = to
		for _, id := range storeIDs(m.Refs()) {
			moved[id] = true
			g.moves = append(g.moves, store.Assignment{ID: id, Queue: wholeQueue(to), Queued: d.mix.roundedNow()})
		}
	}
	for _, id := range kept {
		if !g.gone[id] && !moved[id] {
			g.moves = append(g.moves, store.Assignment{ID: id, Queue: heldQueue, Queued: uint32(g.since.Unix())})
		}
	}
	if g.fatal != nil {
		return
	}
	// Becomes durable with the move. Nothing that comes back after a crash does harm.
	if _, err := d.erase(false, g.erase...); err != nil {
		g.fatal = err
		return
	}
	switch err := d.mix.store.Move(g.moves); {
	case errors.Is(err, store.ErrFull):
		d.mix.warnFull() // they stay where they are until the next attempt
	case err != nil:
		g.fatal = fmt.Errorf("keep fragments: %w", err)
		return
	default:
		for m, to := range placed {
			d.pool.Place(m, to)
		}
	}
	g.fatal = d.saveFinished(g.since)
}

// destination returns which exit a message that has become whole goes to; false if to none, or if that cannot be told now.
func (g *gathering) destination(m *reassemble.Message) (packet.RoutingType, bool) {
	buf := bodies.Get().(*[]byte)
	defer putBody(buf)
	whole, err := m.Open(g.d.payloads(buf))
	live := g.d.mix.live.Load()
	switch {
	case isFatal(err):
		g.fatal = err
		return 0, false
	case err != nil && !lost(err):
		return 0, false
	case err == nil && live.exit(whole.To.Type) != nil && !g.tooLarge(live, whole):
		return whole.To.Type, true
	}
	refs := m.Refs()
	g.d.pool.Finish(m)
	g.giveUp(refs)
	return 0, false
}

// tooLarge reports whether a message is larger than may be; its fragments tell so only roughly.
func (g *gathering) tooLarge(live *Config, w reassemble.Whole) bool {
	x := live.exit(packet.TypeFragment)
	return x != nil && x.Gather != nil && int64(len(w.Compressed)) > x.Gather.Size
}

// lost reports whether a message whose reassembly failed with err is lost for good.
func lost(err error) bool {
	return errors.Is(err, errRecord) || errors.Is(err, store.ErrUnknown) || errors.Is(err, message.ErrCorrupt) ||
		errors.Is(err, message.ErrPayload)
}

// payloads returns a function that reads the payload of a stored fragment into buf.
func (d *dispatcher) payloads(buf *[]byte) func(ref uint64) (*packet.Payload, error) {
	return func(ref uint64) (*packet.Payload, error) {
		rec, err := d.mix.readRecord(store.ID(ref), buf)
		if err == nil && rec.kind != recordDeliver {
			err = errRecord
		}
		return rec.payload, err
	}
}

// lookOver gives up what has waited too long, tries again what could not be done before, and forgets old messages that are done with.
func (g *gathering) lookOver(wait time.Duration) {
	d := g.d
	g.moves, g.erase, g.gone = nil, nil, map[store.ID]bool{}
	g.giveUp(d.pool.Expire(g.now.Add(-wait)))
	g.shrink()
	g.settle(nil)
	if g.fatal != nil {
		return
	}
	if g.fatal = g.forgotten(g.now.Add(-wait)); g.fatal != nil {
		return
	}
	limit := g.now.Add(-max(rememberFinished, wait))
	d.pool.Forget(limit)
	var old []store.ID
	for _, it := range d.mix.store.Queue(finishedQueue, 0) {
		if time.Unix(int64(it.Queued), 0).Before(limit) {
			old = append(old, it.ID)
		}
	}
	_, g.fatal = d.erase(false, old...)
}

// forgotten gives up the fragments that the account does not know, because they could not be read after the start, once their time is over.
func (g *gathering) forgotten(limit time.Time) error {
	ready := map[store.ID]bool{} // these wait for room on the disk only
	for _, m := range g.d.pool.Ready() {
		for _, id := range storeIDs(m.Refs()) {
			ready[id] = true
		}
	}
	_, _, err := g.d.waiting(heldQueue, func(it store.Item) bool {
		return time.Unix(int64(it.Queued), 0).Before(limit) && !ready[it.ID]
	})
	return err
}

// saveFinished stores which messages are done with. On a full disk that has time: it only spares the fragments that come late a vain wait.
func (d *dispatcher) saveFinished(since time.Time) error {
	d.saving.Lock()
	defer d.saving.Unlock()
	for {
		ids := d.pool.Unsaved()
		if len(ids) == 0 {
			return nil
		}
		r := record{kind: recordFinished, finished: ids}
		_, err := d.mix.store.Commit([]store.Entry{{Body: r.append(nil), Queue: finishedQueue, Queued: uint32(since.Unix())}})
		if errors.Is(err, store.ErrFull) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("note which messages are done with: %w", err)
		}
		d.pool.Remember(since, ids)
	}
}

// recall fills the account after a start. It stops when ctx ends.
func (d *dispatcher) recall(ctx context.Context) error {
	if d.recalled.Load() {
		return nil
	}
	ignore := func(store.ID) {}
	err := d.contents(d.mix.store.Queue(finishedQueue, 0), func(it store.Item, rec record) bool {
		d.pool.Remember(time.Unix(int64(it.Queued), 0), rec.finished)
		return ctx.Err() == nil
	}, ignore)
	if err != nil {
		return err
	}
	var erase []store.ID
	enter := func(it store.Item, rec record) bool {
		f := reassemble.Fragment{Ref: uint64(it.ID), Since: d.since(it), Info: rec.info, Payload: rec.payload}
		if rec.kind != recordDeliver {
			erase = append(erase, it.ID)
			return true
		}
		v := d.pool.Add(f)
		erase = append(erase, storeIDs(v.Erase)...)
		if !v.Keep {
			erase = append(erase, it.ID)
		}
		return ctx.Err() == nil
	}
	for _, q := range d.mix.store.Queues() {
		if q.Name[0] == wholeQueuePrefix {
			if err := d.recallWhole(q.Name, enter); err != nil {
				return err
			}
		}
	}
	if err := d.contents(d.mix.store.Queue(heldQueue, 0), enter, ignore); err != nil {
		return err
	}
	if _, err := d.erase(false, erase...); err != nil || ctx.Err() != nil {
		return err
	}
	d.recalled.Store(true)
	return nil
}

// recallWhole enters the fragments of the messages that wait for an exit. If the disk has lost some, the others go back to those that
// wait for fragments.
func (d *dispatcher) recallWhole(queue string, enter func(store.Item, record) bool) error {
	_, exit, _, err := parseQueue(queue)
	if err != nil {
		return fmt.Errorf("packet store: queue name: %w", err)
	}
	if err := d.contents(d.mix.store.Queue(queue, 0), enter, func(store.ID) {}); err != nil {
		return err
	}
	whole := map[store.ID]bool{}
	for _, m := range d.pool.Ready() {
		d.pool.Place(m, exit)
	}
	for _, m := range d.pool.Placed(exit) {
		for _, id := range storeIDs(m.Refs()) {
			whole[id] = true
		}
	}
	var back []store.Assignment
	for _, it := range d.mix.store.Queue(queue, 0) {
		if !whole[it.ID] {
			back = append(back, store.Assignment{ID: it.ID, Queue: heldQueue, Queued: uint32(d.since(it).Unix())})
		}
	}
	if err := d.mix.store.Move(back); err != nil {
		return fmt.Errorf("keep fragments: %w", err)
	}
	return nil
}

// since is when a stored fragment is counted from: not from a time to come, which a clock that was wrong has left.
func (d *dispatcher) since(it store.Item) time.Time {
	at := time.Unix(int64(it.Queued), 0)
	if next := nextMidnight(d.mix.cfg.Clock.Now()); at.After(next) {
		return next
	}
	return at
}

func nextMidnight(t time.Time) time.Time { return t.UTC().Truncate(day).Add(day) }

func storeIDs(refs []uint64) []store.ID {
	ids := make([]store.ID, len(refs))
	for i, ref := range refs {
		ids[i] = store.ID(ref)
	}
	return ids
}
