package mix_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/mix"
	"mixminion/packet"
)

// exitItems lists what the closed mix has in the queues of its exits.
func (r *rig) exitItems() (items []store.Item) {
	r.t.Helper()
	r.inspect(func(s *store.Store) {
		for _, q := range s.Queues() {
			items = append(items, s.Queue(q.Name, 0)...)
		}
	})
	return items
}

// A message that an exit cannot deliver now is offered again on the exit's schedule, which begins when it was queued. It keeps its nonce.
// What is stored of the attempts is rounded to the mix interval.
func TestExitRetries(t *testing.T) {
	exit := &fakeExit{answer: func(_ delivery.Item, attempt int) delivery.Outcome {
		if attempt < 3 {
			return delivery.Outcome{Status: delivery.Retry, Reason: delivery.Deferred}
		}
		return delivery.Outcome{Status: delivery.Delivered}
	}}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{10 * time.Minute, 20 * time.Minute, 25 * time.Minute}}}
	})
	exit.clock = r.clk
	r.clk.Advance(2 * time.Minute)
	r.run()
	p, digest := r.exiting(packet.TypeSMTP)
	r.mustSend(p)
	r.mixOnce()                   // after 7 minutes; queued "after 5"
	r.clk.await(t, 8*time.Minute) // until 15
	r.clk.Advance(8 * time.Minute)
	r.clk.await(t, 20*time.Minute) // until 35
	r.close()
	if items := r.exitItems(); len(items) != 1 {
		t.Fatalf("%d messages wait", len(items))
	} else if it := items[0]; it.Attempts != 2 || int64(it.Queued) != start.Add(5*time.Minute).Unix() ||
		int64(it.LastAttempt) != start.Add(15*time.Minute).Unix() {
		t.Errorf("%+v", it)
	}

	// A restart changes nothing about the schedule of an exit.
	r.run()
	r.clk.await(t, 20*time.Minute)
	r.clk.Advance(20 * time.Minute)
	r.clk.await(t, 25*time.Minute) // until 60
	r.clk.Advance(25 * time.Minute)
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
	calls := exit.seen()
	if len(calls) != 4 {
		t.Fatalf("%d attempts", len(calls))
	}
	for i, after := range []time.Duration{7, 15, 35, 60} {
		c := calls[i]
		if !c.at.Equal(start.Add(after * time.Minute)) {
			t.Errorf("attempt %d after %v", i, c.at.Sub(start))
		}
		if len(c.items) != 1 || c.items[0] != calls[0].items[0] {
			t.Errorf("attempt %d: the message changed", i)
		}
	}
	it := calls[0].items[0]
	if it.digest != digest || it.info != string(make([]byte, packet.TagLen))+"somebody" || !it.queued.Equal(start.Add(5*time.Minute)) {
		t.Errorf("information %q, queued %v", it.info, it.queued)
	}
	if it.nonce == [16]byte{} {
		t.Error("the nonce is not random")
	}
	r.close()
	if items := r.exitItems(); len(items) != 0 {
		t.Errorf("%d messages wait", len(items))
	}
	if r.log.count("somebody") > 0 {
		t.Error("the log names a recipient")
	}
}

// A message that has reached some of its addresses is offered again for the others.
func TestExitServed(t *testing.T) {
	var served []uint8
	exit := &fakeExit{answer: func(it delivery.Item, attempt int) delivery.Outcome {
		served = append(served, it.Served)
		if attempt < 2 {
			return delivery.Outcome{Status: delivery.Retry, Served: it.Served<<1 | 1}
		}
		return delivery.Outcome{Status: delivery.Delivered}
	}}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{10 * time.Minute, 20 * time.Minute}}}
	})
	r.clk.Advance(2 * time.Minute)
	r.run()
	p, _ := r.exiting(packet.TypeSMTP)
	r.mustSend(p)
	r.mixOnce()
	r.clk.await(t, 8*time.Minute)
	r.clk.Advance(8 * time.Minute)
	r.clk.await(t, 20*time.Minute)
	r.clk.Advance(20 * time.Minute)
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
	if want := []uint8{0, 1, 3}; !slices.Equal(served, want) {
		t.Errorf("served %v, want %v", served, want)
	}
}

// After the last point of the schedule a message is dropped, and so is one whose time ran out while the mix was off.
func TestExitGivesUp(t *testing.T) {
	exit := &fakeExit{answer: func(delivery.Item, int) delivery.Outcome { return delivery.Outcome{} }}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: testExitType, Exit: exit, Retry: mix.Schedule{10 * time.Minute, 15 * time.Minute}}}
	}).run()
	p, first := r.exiting(testExitType)
	q, second := r.exiting(testExitType)
	r.mustSend(p)
	r.mixOnce()
	r.clk.await(t, 10*time.Minute)
	r.clk.Advance(10 * time.Minute)
	r.clk.await(t, 15*time.Minute)
	r.clk.Advance(15 * time.Minute)
	eventually(t, "the message is dropped", func() bool { return r.mix.Counts().Dropped == 1 })
	if n := exit.tried(first); n != 3 {
		t.Errorf("%d attempts", n)
	}
	r.mustSend(q)
	r.clk.await(t, testInterval)
	r.mixOnce()
	r.clk.await(t, 10*time.Minute)
	r.close()
	if n := len(r.exitItems()); n != 1 {
		t.Fatalf("%d messages wait", n)
	}
	// The end of its schedule, and the interval by which the time may be rounded.
	r.clk.Advance(25*time.Minute + testInterval + time.Second)
	r.run()
	eventually(t, "the message is dropped", func() bool { return r.mix.Counts().Dropped == 1 })
	if n := exit.tried(second); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

// Each message has a fate of its own.
func TestExitOutcomes(t *testing.T) {
	var n atomic.Int32
	exit := &fakeExit{answer: func(_ delivery.Item, attempt int) delivery.Outcome {
		if attempt > 0 {
			return delivery.Outcome{Status: delivery.Delivered}
		}
		return []delivery.Outcome{
			{Status: delivery.Delivered}, {Status: delivery.Dropped, Reason: delivery.Refused}, {Status: delivery.Retry},
		}[n.Add(1)%3]
	}}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: testExitType, Exit: exit, Retry: mix.Schedule{7 * time.Minute, time.Hour}}}
	}).run()
	var digests []crypt.Digest
	for range 9 {
		p, d := r.exiting(testExitType)
		r.mustSend(p)
		digests = append(digests, d)
	}
	r.mixOnce()
	r.clk.await(t, 7*time.Minute)
	if c := r.mix.Counts(); c.Delivered != 3 || c.Dropped != 3 {
		t.Errorf("%+v", c)
	}
	r.clk.Advance(7 * time.Minute)
	eventually(t, "the others are delivered", func() bool { return r.mix.Counts().Delivered == 6 })
	again := 0
	for _, d := range digests {
		again += exit.tried(d) - 1
	}
	if c := r.mix.Counts(); again != 3 || c.Dropped != 3 {
		t.Errorf("%d offered again, %+v", again, c)
	}
}

// What an exit did not pull is no attempt and is offered again.
func TestExitStopsEarly(t *testing.T) {
	down := errors.New("the mail server is down")
	allowed := 0 // items in a call; guarded by the lock of the exit, which asks under it
	exit := &fakeExit{}
	exit.stop = func(pulled int) error {
		if pulled >= allowed {
			return down
		}
		return nil
	}
	r := newRig(t, delivering(exit)).run()
	var digests []crypt.Digest
	for range 5 {
		p, d := r.exiting(testExitType)
		r.mustSend(p)
		digests = append(digests, d)
	}
	r.mixOnce()
	eventually(t, "the exit is called", func() bool { return len(exit.seen()) == 1 })
	r.close()
	for _, it := range r.exitItems() {
		if it.Attempts != 0 || it.LastAttempt != 0 {
			t.Errorf("an attempt is noted: %+v", it)
		}
	}
	exit.mu.Lock()
	allowed = 2
	exit.mu.Unlock()
	r.run()
	for want := 2; want <= 6; want += 2 {
		eventually(t, "more messages are delivered", func() bool { return r.mix.Counts().Delivered == uint64(min(want, 5)) })
		r.mixOnce()
	}
	for _, d := range digests {
		if n := exit.tried(d); n != 1 {
			t.Errorf("a message was offered %d times", n)
		}
	}
	if n := r.log.count("an exit cannot deliver now"); n < 3 {
		t.Errorf("%d warnings", n)
	}
}

// A message for an exit that was switched off waits for a week.
func TestExitSwitchedOff(t *testing.T) {
	exit := &fakeExit{answer: func(delivery.Item, int) delivery.Outcome { return delivery.Outcome{} }}
	r := newRig(t, delivering(exit)).run()
	on := r.cfg.Exits
	var digests []crypt.Digest
	for range 2 {
		p, d := r.exiting(testExitType)
		r.mustSend(p)
		digests = append(digests, d)
	}
	r.mixOnce()
	eventually(t, "the exit is tried", func() bool { return exit.tried(digests[0]) > 0 && exit.tried(digests[1]) > 0 })
	r.close()
	r.cfg.Exits = nil
	r.run()
	r.clk.await(t, time.Hour)
	r.close()
	if n := len(r.exitItems()); n != 2 {
		t.Fatalf("%d messages wait", n)
	}
	exit.answer = nil
	r.cfg.Exits = on
	r.run()
	r.mixOnce()
	eventually(t, "they are delivered", func() bool { return r.mix.Counts().Delivered == 2 })

	exit.answer = func(delivery.Item, int) delivery.Outcome { return delivery.Outcome{} }
	p, late := r.exiting(testExitType)
	r.mustSend(p)
	r.mixOnce()
	eventually(t, "the exit is tried", func() bool { return exit.tried(late) > 0 })
	r.close()
	r.cfg.Exits = nil
	r.clk.Advance(7*day + 2*testInterval)
	r.run()
	eventually(t, "it is dropped", func() bool { return r.mix.Counts().Dropped == 1 })
}

// A body that the disk changed is given up and counted; the exit gets the others.
func TestExitCorruptMessage(t *testing.T) {
	var ready atomic.Bool
	exit := &fakeExit{answer: func(delivery.Item, int) delivery.Outcome {
		if ready.Load() {
			return delivery.Outcome{Status: delivery.Delivered}
		}
		return delivery.Outcome{}
	}}
	r := newRig(t, delivering(exit)).run()
	for range 4 {
		p, _ := r.exiting(testExitType)
		r.mustSend(p)
	}
	r.mixOnce()
	eventually(t, "the exit sees all", func() bool { return len(exit.seen()) > 0 && len(exit.seen()[0].items) == 4 })
	r.close()
	flipBodyByte(t, r)
	ready.Store(true)
	r.run()
	r.mixOnce()
	eventually(t, "the others are delivered", func() bool {
		c := r.mix.Counts()
		return c.Delivered == 3 && c.Corrupt == 1
	})
	r.close()
	if n := len(r.exitItems()); n != 0 {
		t.Errorf("%d messages wait", n)
	}
}

// stuckExit pulls an item and then waits for the end.
type stuckExit struct{ pulled chan struct{} }

// Deliver implements delivery.Exit.
func (x *stuckExit) Deliver(ctx context.Context, items iter.Seq[delivery.Item], done func(uint64, delivery.Outcome)) error {
	next, stop := iter.Pull(items)
	defer stop()
	it, ok := next()
	if !ok {
		return nil
	}
	close(x.pulled)
	<-ctx.Done()
	done(it.ID, delivery.Outcome{})
	return ctx.Err()
}

// An exit that hangs delays neither another exit nor the next hops, nor the end of the mix.
func TestStuckExit(t *testing.T) {
	stuck, exit := &stuckExit{make(chan struct{})}, new(fakeExit)
	r := newRig(t, func(c *mix.Config) {
		retry := mix.Schedule{7 * time.Minute, time.Hour}
		c.Exits = []mix.ExitConfig{{Type: testExitType, Exit: stuck, Retry: retry}, {Type: packet.TypeSMTP, Exit: exit, Retry: retry}}
	}).run()
	next := newFakeHop(t, r.clk, 0)
	p, _ := r.exiting(testExitType)
	r.mustSend(p)
	r.mixOnce()
	<-stuck.pulled
	p, mail := r.exiting(packet.TypeSMTP)
	q, relayed := r.relayed(next.Node)
	r.mustSend(p, q)
	r.mixOnce()
	eventually(t, "the others go their way", func() bool { return exit.tried(mail) == 1 && next.times(relayed) == 1 })
	r.close()
	if n := len(r.exitItems()); n != 1 {
		t.Errorf("%d messages wait", n)
	}
}

// A retry schedule that begins with a pause shorter than the mix interval must not make the mix knock without pause: the time of the last
// attempt is stored rounded down to the interval, so the next point of the schedule may lie before now.
func TestShortExitRetryDoesNotSpin(t *testing.T) {
	exit := &fakeExit{answer: func(delivery.Item, int) delivery.Outcome { return delivery.Outcome{} }}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: testExitType, Exit: exit, Retry: mix.Schedule{time.Minute, time.Hour}}}
	})
	r.clk.Advance(2 * time.Minute)
	r.run()
	p, digest := r.exiting(testExitType)
	r.mustSend(p)
	r.mixOnce() // at 7 minutes: queued and tried at "5 minutes", so the next attempt was due at 6
	eventually(t, "an attempt", func() bool { return exit.tried(digest) > 0 })
	q, _ := r.exiting(testExitType)
	for range 20 { // each answer takes a tick or two
		r.mustSend(q)
	}
	if n := exit.tried(digest); n > 2 {
		t.Errorf("%d attempts while the clock stood still", n)
	}
}
