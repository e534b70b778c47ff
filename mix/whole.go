package mix

import (
	"context"
	"crypto/rand"
	"iter"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/reassemble"
	"mixminion/internal/store"
	"mixminion/internal/uniform"
	"mixminion/packet"
)

// deliverWhole hands an exit the messages put together of fragments that are due; with flush, all of them. What the store keeps of the
// attempts at a message it keeps with the first of its fragments.
func (d *dispatcher) deliverWhole(ctx context.Context, queue string, typ packet.RoutingType, flush bool) ended {
	a := attempt{
		d: d, ended: ended{queue: queue}, now: d.mix.cfg.Clock.Now(), open: map[uint64]store.Item{}, whole: map[store.ID]*reassemble.Message{},
	}
	a.exit = d.mix.live.Load().exit(typ)
	expired := a.expired(&ExitConfig{Retry: Schedule{defaultKeep}})
	if a.exit != nil {
		expired = a.expired(a.exit)
	}
	placed := d.pool.Placed(typ) // listed before its packets: a message that comes now must not be taken for one that is gone
	items, held, err := d.waiting(queue, func(store.Item) bool { return false })
	if err != nil {
		a.fatal = err
		return a.ended
	}
	here := make(map[store.ID]store.Item, len(items))
	for _, it := range items {
		here[it.ID] = it
	}
	a.left = held - len(items) // those of the messages that are looked at below are added
	var due []store.Item
	for _, m := range placed {
		it, ok := here[store.ID(m.Refs()[0])]
		if !ok {
			d.pool.Finish(m) // done with, and perhaps not erased yet
			continue
		}
		a.whole[it.ID] = m
		a.left += len(m.Refs())
		if expired(it) {
			d.countLost(1)
			a.finished(it.ID)
			continue
		}
		if a.exit == nil {
			continue
		}
		if at, ok := a.exit.dueAt(it); flush || !ok || !at.After(a.now) {
			due = append(due, it)
			a.open[uint64(it.ID)] = it
		} else {
			a.keep(at)
		}
	}
	if a.exit == nil { // switched off; that may be undone
		a.due = a.now.Add(time.Hour)
	}
	if len(due) > 0 {
		if err := a.exit.Exit.Deliver(ctx, a.messagesOf(due), a.outcome); err != nil && ctx.Err() == nil {
			d.mix.cfg.Logger.Warn("an exit cannot deliver now; will try again on its retry schedule", "exit", typ.String(), "error", err)
		}
	}
	if a.fatal == nil {
		a.fatal = d.saveFinished(nextMidnight(a.now))
	}
	return a.end()
}

// messagesOf puts messages together as an exit wants them, one at a time, in random order.
func (a *attempt) messagesOf(due []store.Item) iter.Seq[delivery.Item] {
	return func(yield func(delivery.Item) bool) {
		if a.fatal = uniform.ShuffleSlice(rand.Reader, due); a.fatal != nil {
			return
		}
		buf := bodies.Get().(*[]byte)
		defer putBody(buf)
		for _, it := range due {
			m := a.whole[it.ID]
			whole, err := m.Open(a.d.payloads(buf))
			switch {
			case isFatal(err):
				a.fatal = err
				return
			case err != nil && lost(err):
				delete(a.open, uint64(it.ID))
				a.d.mix.counts.corrupt.Add(1)
				a.finished(it.ID)
				continue
			case err != nil: // cannot be read now
				continue
			}
			a.d.mu.Lock()
			served := triesOf(it).served | a.d.served[it.ID]
			a.d.mu.Unlock()
			if !yield(delivery.Item{
				ID: uint64(it.ID), Type: whole.To.Type, Info: whole.To.Info, Served: served, Settle: func(served uint8) { a.settle(it.ID, served) },
				Reassembled: whole.Compressed, Nonce: m.Name(), Queued: time.Unix(int64(it.Queued), 0).UTC(),
			}) || a.fatal != nil {
				return
			}
		}
	}
}
