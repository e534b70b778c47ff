package mix

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"mixminion/internal/store"
	"mixminion/mmtp"
	"mixminion/packet"
)

// packets are buffers for packets on their way out.
var packets = sync.Pool{New: func() any { return new(packet.Packet) }}

const (
	// eraseTogether is how many sent packets are erased with one write.
	eraseTogether = 64
	// maxAttempt bounds one attempt at a next hop. A hop that takes longer gives its link to others and goes on at its next turn.
	maxAttempt = 5 * time.Minute
)

// relay sends a queue's packets to their next hop, and JUNK after them up to a number that says little about theirs. A packet is erased
// only once the hop has said that it has it.
func (d *dispatcher) relay(ctx context.Context, queue string, next packet.Hop, visit bool) ended {
	e := ended{queue: queue}
	items, _, err := d.waiting(queue, d.outOfTime())
	if err != nil || len(items) == 0 && !visit {
		e.fatal = err
		return e
	}
	var done []store.ID
	flush := func() {
		if _, err := d.erase(false, done...); err != nil && e.fatal == nil {
			e.fatal = err
		}
		done = done[:0]
	}
	var refused error
	answered := false
	begun := time.Now()
	sendCtx, inFlight, release := drainable(ctx)
	defer release()
	taken, sent := true, 0
	complete := len(items) == 0 // all packets were handed over
	sequence := func(yield func(mmtp.Item) bool) {
		err := d.contents(items, func(it store.Item, rec record) bool {
			p := packets.Get().(*packet.Packet)
			*p = *rec.packet
			inFlight.Add(1)
			d.mix.stats.add(attemptedRelay, 1)
			sent++
			taken = yield(mmtp.Item{Packet: p, Done: func(err error) {
				inFlight.Add(-1)
				clear(p[:])
				packets.Put(p)
				if err != nil {
					d.mix.stats.add(failedRelay, 1)
					refused = err
					return
				}
				d.mix.stats.add(successfulRelay, 1)
				e.worked = true
				d.mix.counts.relayed.Add(1)
				if done = append(done, it.ID); len(done) >= eraseTogether {
					flush()
				}
			}})
			return taken && ctx.Err() == nil && e.fatal == nil && refused == nil && time.Since(begun) < maxAttempt
		}, func(store.ID) {})
		if err != nil {
			e.fatal = err
		}
		complete = taken && refused == nil
		for most := padded(sent); taken && sent < most && ctx.Err() == nil && e.fatal == nil; sent++ {
			taken = yield(junk(func(err error) { answered = answered || err == nil }))
		}
	}
	e.err = d.client.Send(sendCtx, next, sequence)
	flush()
	if complete && refused == nil {
		e.err = nil // the packets are there; that of the padding nothing came back is no reason to wait
	}
	// A hop that only throws JUNK away has not taken a packet, unless there was none.
	e.worked = e.worked || answered && len(items) == 0
	if e.err == nil {
		e.err = refused
	}
	if ctx.Err() != nil {
		e.err = nil // we are stopping; the hop is not to blame
	}
	return e
}

// drainTime is how long a mix that stops waits for the answers to what is on its way, so that it need not be sent again.
const drainTime = 5 * time.Second

// drainable returns a context that ends when ctx does: at once if nothing is in flight, else after drainTime. The caller counts what is
// in flight.
func drainable(ctx context.Context) (drained context.Context, inFlight *atomic.Int64, release func()) {
	drained, cancel := context.WithCancel(context.WithoutCancel(ctx))
	inFlight = new(atomic.Int64)
	stop := context.AfterFunc(ctx, func() {
		if inFlight.Load() == 0 {
			cancel()
			return
		}
		select {
		case <-time.After(drainTime):
			cancel()
		case <-drained.Done():
		}
	})
	return drained, inFlight, func() {
		stop()
		cancel()
	}
}

// outOfTime says which packets for a next hop are given up.
func (d *dispatcher) outOfTime() func(store.Item) bool {
	live := d.mix.live.Load()
	limit := d.mix.cfg.Clock.Now().Add(-live.OutgoingRetry.Total() - live.Interval)
	return func(it store.Item) bool {
		return len(live.OutgoingRetry) > 0 && time.Unix(int64(it.Queued), 0).Before(limit)
	}
}
