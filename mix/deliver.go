package mix

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/reassemble"
	"mixminion/internal/store"
	"mixminion/packet"
)

const (
	// defaultKeep is how long messages wait for an exit that is switched off.
	defaultKeep = 7 * day
)

// deliver hands an exit the messages of its queue that are due; with flush, all of them.
func (d *dispatcher) deliver(ctx context.Context, queue string, typ packet.RoutingType, flush bool) ended {
	a := attempt{d: d, ended: ended{queue: queue}, now: d.mix.cfg.Clock.Now(), open: map[uint64]store.Item{}}
	x := d.mix.live.Load().exit(typ)
	if x == nil {
		// The operator switched this exit off after the packet was accepted. It waits in case that is undone, until its time is over.
		x = &ExitConfig{Retry: Schedule{defaultKeep}}
		_, a.left, a.fatal = d.waiting(queue, a.expired(x))
		a.due = a.now.Add(time.Hour)
		return a.ended
	}
	a.exit = x
	items, held, err := d.waiting(queue, a.expired(x))
	if err != nil {
		a.fatal = err
		return a.ended
	}
	a.left = held
	var due []store.Item
	for _, it := range items {
		if at, ok := x.dueAt(it); flush || !ok || !at.After(a.now) {
			due = append(due, it)
			a.open[uint64(it.ID)] = it
		} else {
			a.keep(at)
		}
	}
	if len(due) > 0 {
		if err := x.Exit.Deliver(ctx, a.messages(due), a.outcome); err != nil && ctx.Err() == nil {
			d.mix.cfg.Logger.Warn("an exit cannot deliver now; will try again on its retry schedule", "exit", typ.String(), "error", err)
		}
	}
	return a.end()
}

// attempt is one attempt at an exit's queue.
type attempt struct {
	ended
	d    *dispatcher
	exit *ExitConfig
	now  time.Time
	open map[uint64]store.Item // messages without an outcome
	// whole are the messages that were put together of several packets, by the ID of the first of these.
	whole map[store.ID]*reassemble.Message
}

// end returns the end of the attempt.
func (a *attempt) end() ended {
	if len(a.open) > 0 { // what the exit did not get to is offered again in a while
		a.keep(a.now.Add(max(a.d.mix.live.Load().Interval, time.Minute)))
	}
	if a.due.IsZero() && a.left > 0 {
		a.due = a.now.Add(pause)
	}
	return a.ended
}

// keep sees to it that there is an attempt at a time, at the latest.
func (a *attempt) keep(until time.Time) {
	if a.due.IsZero() || until.Before(a.due) {
		a.due = until
	}
}

// expired says which messages of an exit are given up unseen.
func (a *attempt) expired(x *ExitConfig) func(store.Item) bool {
	margin := a.d.mix.live.Load().Interval
	return func(it store.Item) bool { return len(x.Retry) > 0 && x.expired(it, a.now, margin) }
}

// outcome takes what the exit says of one message.
func (a *attempt) outcome(id uint64, o delivery.Outcome) {
	it, ok := a.open[id]
	if !ok {
		return
	}
	delete(a.open, id)
	if o.Status == delivery.Retry && o.Reason == delivery.Ceiling {
		a.hold(it, o.Served)
		return
	}
	a.d.mix.stats.add(attemptedDelivery, 1)
	planned, ok := a.exit.dueAt(it)
	early := ok && planned.After(a.now)
	t := triesOf(it)
	known := t.served
	t.served |= o.Served
	next := it
	next.LastAttempt = a.d.mix.roundedNow()
	counted := t
	counted.attempts++
	counted.late = t.late || t.held
	counted.held = false
	next.Attempts = counted.pack()
	at, more := a.exit.dueAt(next)
	switch {
	case o.Status == delivery.Delivered:
		a.d.mix.stats.add(successfulDelivery, 1)
		a.d.mix.counts.delivered.Add(1)
		a.finished(it.ID)
	case o.Status == delivery.Dropped || !more && !early && o.Held == 0:
		a.d.mix.stats.add(unretriableDelivery, 1)
		a.d.mix.counts.dropped.Add(1)
		a.finished(it.ID)
	case !more && !early:
		// The time of those that were tried is over, not that of the others.
		a.d.mix.stats.add(failedDelivery, 1)
		a.hold(it, o.Served|^o.Held)
	case early:
		a.d.mix.stats.add(failedDelivery, 1)
		if t.served != known {
			it.Attempts = t.pack()
			a.note(it, true)
		}
		a.keep(planned)
	default:
		a.d.mix.stats.add(failedDelivery, 1)
		a.note(next, t.served != known)
		a.keepFrom(at)
	}
}

// hold keeps a message that could not be tried because its open addresses have had their share of the day.
func (a *attempt) hold(it store.Item, served uint8) {
	t := triesOf(it)
	known := t.served
	t.served |= served
	t.held = true
	it.Attempts, it.LastAttempt = t.pack(), a.d.mix.roundedNow()
	a.note(it, t.served != known)
	at, _ := a.exit.dueAt(it)
	a.keepFrom(at)
}

// settle takes note that more addresses of a message are done with while the exit is at work on the others.
func (a *attempt) settle(id store.ID, served uint8) {
	it, ok := a.open[uint64(id)]
	t := triesOf(it)
	if !ok || t.served|served == t.served {
		return
	}
	t.served |= served
	it.Attempts = t.pack()
	a.open[uint64(id)] = it
	a.note(it, true)
}

// note stores what is known of a message. Whom it has reached must be durable: else they would get it twice after a crash. The rest may be
// lost, for one attempt more.
func (a *attempt) note(it store.Item, durably bool) {
	note := a.d.mix.store.Note
	if durably {
		note = a.d.mix.store.NoteNow
	}
	if err := note([]store.ID{it.ID}, it.Attempts, it.LastAttempt); err != nil {
		a.notNoted(it, err)
	}
}

// notNoted sees to it that a full disk makes the mix forget only when it ends.
func (a *attempt) notNoted(it store.Item, err error) {
	if !errors.Is(err, store.ErrFull) {
		if a.fatal == nil {
			a.fatal = fmt.Errorf("note the outcome of a delivery: %w", err)
		}
		return
	}
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	a.d.served[it.ID] = triesOf(it).served
	a.d.mix.warnFull()
}

// keepFrom is keep, but not at once.
func (a *attempt) keepFrom(at time.Time) {
	if floor := a.now.Add(min(a.d.mix.live.Load().Interval, time.Minute)); at.Before(floor) {
		at = floor
	}
	a.keep(at)
}

// finished erases a message that is done with. The fragments of one go together: some of them, come back after a crash, could be enough
// for a second mail.
func (a *attempt) finished(id store.ID) {
	m := a.whole[id]
	if m == nil {
		a.erase(id)
		return
	}
	a.erase(storeIDs(m.Refs())...)
	a.d.pool.Finish(m)
}

func (a *attempt) erase(ids ...store.ID) {
	erased, err := a.d.erase(true, ids...)
	if err != nil && a.fatal == nil {
		a.fatal = err
	}
	if erased {
		a.left -= len(ids)
	}
}

// gone takes note that a message is not in the queue any more.
func (a *attempt) gone(id store.ID) {
	if _, ok := a.open[uint64(id)]; ok {
		delete(a.open, uint64(id))
		a.left--
	}
}

// messages reads queue items as an exit wants them.
func (a *attempt) messages(items []store.Item) iter.Seq[delivery.Item] {
	return func(yield func(delivery.Item) bool) {
		err := a.d.contents(items, func(it store.Item, rec record) bool {
			a.d.mu.Lock()
			served := triesOf(it).served | a.d.served[it.ID]
			a.d.mu.Unlock()
			return yield(delivery.Item{
				ID: uint64(it.ID), Type: rec.typ, Info: rec.info, Served: served, Settle: func(served uint8) { a.settle(it.ID, served) },
				Payload: rec.payload, Nonce: rec.nonce,
				Queued: time.Unix(int64(it.Queued), 0).UTC(),
			}) && a.fatal == nil
		}, a.gone)
		if err != nil && a.fatal == nil {
			a.fatal = err
		}
	}
}
