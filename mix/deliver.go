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

// deliver hands an exit the messages of its queue that are due.
func (d *dispatcher) deliver(ctx context.Context, queue string, typ packet.RoutingType) ended {
	a := attempt{d: d, ended: ended{queue: queue}, now: d.mix.cfg.Clock.Now(), open: map[uint64]store.Item{}}
	x := d.mix.exits[typ]
	if x == nil {
		// The operator switched this exit off after the packet was accepted. It waits in case that is undone, until its time is over.
		var items []store.Item
		items, a.fatal = d.waiting(queue, Schedule{defaultKeep})
		a.left = len(items)
		a.due = a.now.Add(time.Hour)
		return a.ended
	}
	a.exit = x
	items, err := d.waiting(queue, x.Retry)
	if err != nil {
		a.fatal = err
		return a.ended
	}
	var due []store.Item
	for _, it := range items {
		if at, ok := x.dueAt(it); x.Gather || !ok || !at.After(a.now) {
			due = append(due, it)
			a.open[uint64(it.ID)] = it
		} else {
			a.keep(at)
		}
	}
	if len(due) > 0 {
		if err := x.Exit.Deliver(ctx, a.messages(due), a.outcome); err != nil && ctx.Err() == nil {
			d.mix.cfg.Logger.Warn("an exit cannot deliver now; will try again on its retry schedule", "exit", typ, "error", err)
		}
	}
	if err := d.erase(true, a.done...); err != nil && a.fatal == nil {
		a.fatal = err
	}
	// What the exit gathers, or did not get to, is offered again in a while.
	again := max(d.mix.cfg.Interval, time.Minute)
	if x.Gather {
		again = gatherAgain
	}
	for range a.open {
		a.keep(a.now.Add(again))
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

// keep counts a message that waits until a time.
func (a *attempt) keep(until time.Time) {
	a.left++
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
	it.Attempts++
	it.LastAttempt = a.d.mix.roundedNow()
	at, more := a.exit.dueAt(it)
	var err error
	switch {
	case o.Status == delivery.Delivered:
		a.d.mix.counts.delivered.Add(1)
		err = a.erase(it.ID)
	case o.Status == delivery.Dropped || !more:
		a.d.mix.counts.dropped.Add(1)
		err = a.erase(it.ID)
	default:
		// On a full disk the count of attempts is lost; the message is tried once more for that.
		err = a.d.mix.store.Note([]store.ID{it.ID}, it.Attempts, it.LastAttempt)
		if errors.Is(err, store.ErrFull) {
			err = nil
		}
		if floor := a.now.Add(min(a.d.mix.cfg.Interval, time.Minute)); at.Before(floor) {
			at = floor
		}
		a.keep(at)
	}
	if err != nil && a.fatal == nil {
		a.fatal = fmt.Errorf("note the outcome of a delivery: %w", err)
	}
}

// erase erases a message that somebody else is responsible for now. The fragments of one message go together: some of them, come back
// after a crash, could be enough for a second mail.
func (a *attempt) erase(id store.ID) error {
	if a.exit.Gather {
		a.done = append(a.done, id)
		return nil
	}
	return a.d.erase(true, id)
}

// messages reads queue items as an exit wants them.
func (a *attempt) messages(items []store.Item) iter.Seq[delivery.Item] {
	return func(yield func(delivery.Item) bool) {
		err := a.d.contents(items, func(it store.Item, rec record) bool {
			return yield(delivery.Item{
				ID: uint64(it.ID), Type: rec.typ, Info: rec.info, Payload: rec.payload, Nonce: rec.nonce,
				Queued: time.Unix(int64(it.Queued), 0).UTC(),
			}) && a.fatal == nil
		})
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
