package mix

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"mixminion/delivery"
	"mixminion/internal/store"
	"mixminion/packet"
)

const (
	// defaultKeep is how long messages wait for an exit that is switched off.
	defaultKeep = 7 * day
	// gatherAgain is when an exit that gathers looks at its messages even though no new one came.
	gatherAgain = time.Hour
)

// deliver hands an exit the messages of its queue that are due; with flush, all of them.
func (d *dispatcher) deliver(ctx context.Context, queue string, typ packet.RoutingType, flush bool) ended {
	a := attempt{d: d, ended: ended{queue: queue}, now: d.mix.cfg.Clock.Now(), open: map[uint64]store.Item{}}
	x := d.mix.live.Load().exit(typ)
	if x == nil {
		// The operator switched this exit off after the packet was accepted. It waits in case that is undone, until its time is over.
		_, a.left, a.fatal = d.waiting(queue, Schedule{defaultKeep})
		a.due = a.now.Add(time.Hour)
		return a.ended
	}
	a.exit = x
	items, held, err := d.waiting(queue, x.Retry)
	if err != nil {
		a.fatal = err
		return a.ended
	}
	a.left = held
	var due []store.Item
	for _, it := range items {
		if at, ok := x.dueAt(it); flush || x.Gather || !ok || !at.After(a.now) {
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
	a.erase(a.done...)
	// What the exit gathers, or did not get to, is offered again in a while.
	again := max(d.mix.live.Load().Interval, time.Minute)
	if x.Gather {
		again = gatherAgain
	}
	if len(a.open) > 0 {
		a.keep(a.now.Add(again))
	}
	if a.due.IsZero() && a.left > 0 {
		a.due = a.now.Add(pause)
	}
	return a.ended
}

// attempt is one attempt at an exit's queue.
type attempt struct {
	ended
	d    *dispatcher
	exit *ExitConfig
	now  time.Time
	open map[uint64]store.Item // messages without an outcome
	done []store.ID            // of an exit that gathers: erased together at the end
}

// keep sees to it that there is an attempt at a time, at the latest.
func (a *attempt) keep(until time.Time) {
	if a.due.IsZero() || until.Before(a.due) {
		a.due = until
	}
}

// outcome takes what the exit says of one message.
func (a *attempt) outcome(id uint64, o delivery.Outcome) {
	it, ok := a.open[id]
	if !ok || a.exit.Gather && o.Status == delivery.Retry {
		return
	}
	delete(a.open, id)
	a.d.mix.stats.add(attemptedDelivery, 1)
	planned, ok := a.exit.dueAt(it)
	early := ok && planned.After(a.now)
	it.Attempts++
	it.LastAttempt = a.d.mix.roundedNow()
	at, more := a.exit.dueAt(it)
	switch {
	case o.Status == delivery.Delivered:
		a.d.mix.stats.add(successfulDelivery, 1)
		a.d.mix.counts.delivered.Add(1)
		a.finished(it.ID)
	case o.Status == delivery.Dropped || !more && !early:
		a.d.mix.stats.add(unretriableDelivery, 1)
		a.d.mix.counts.dropped.Add(1)
		a.finished(it.ID)
	default:
		a.d.mix.stats.add(failedDelivery, 1)
		if o.Served != 0 {
			a.d.mu.Lock()
			a.d.served[it.ID] = o.Served
			a.d.mu.Unlock()
		}
		if early {
			a.keep(planned)
			return
		}
		// On a full disk the count of attempts is lost; the message is tried once more for that.
		err := a.d.mix.store.Note([]store.ID{it.ID}, it.Attempts, it.LastAttempt)
		if err != nil && !errors.Is(err, store.ErrFull) && a.fatal == nil {
			a.fatal = fmt.Errorf("note the outcome of a delivery: %w", err)
		}
		if floor := a.now.Add(min(a.d.mix.live.Load().Interval, time.Minute)); at.Before(floor) {
			at = floor
		}
		a.keep(at)
	}
}

// finished erases a message that is done with. The fragments of one message go together: some of them, come back after a crash, could
// be enough for a second mail.
func (a *attempt) finished(id store.ID) {
	if a.exit.Gather {
		a.done = append(a.done, id)
	} else {
		a.erase(id)
	}
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
			served := a.d.served[it.ID]
			a.d.mu.Unlock()
			return yield(delivery.Item{
				ID: uint64(it.ID), Type: rec.typ, Info: rec.info, Served: served, Payload: rec.payload, Nonce: rec.nonce,
				Queued: time.Unix(int64(it.Queued), 0).UTC(),
			}) && a.fatal == nil
		}, a.gone)
		if err != nil && a.fatal == nil {
			a.fatal = err
		}
	}
}

// dueAt returns when an attempt at the message is due; false when its schedule is over. Each attempt uses up a point of the
// schedule at least, since the time of the last one is stored rounded down and says too little.
func (x *ExitConfig) dueAt(it store.Item) (time.Time, bool) {
	at, last := time.Unix(int64(it.Queued), 0), time.Unix(int64(it.LastAttempt), 0)
	if it.Attempts == 0 {
		return at, true
	}
	for i, d := range x.Retry {
		at = at.Add(d)
		if i >= int(it.Attempts)-1 && at.After(last) {
			return at, true
		}
	}
	return time.Time{}, false
}
