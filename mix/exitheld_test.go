package mix_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/ceiling"
	"mixminion/delivery/mail"
	"mixminion/mix"
	"mixminion/packet"
)

// untilHeld waits until a message that waits for a ceiling is planned for the hours after the next midnight, and returns how long that is.
func untilHeld(t *testing.T, r *rig) time.Duration {
	t.Helper()
	now := r.clk.Now()
	midnight := now.Truncate(day).Add(day).Sub(now)
	return r.clk.awaitWithin(t, midnight, midnight+6*time.Hour)
}

// A message that waits for a recipient's ceiling is tried after midnight, day after day, and no such day counts as an attempt. When it
// has been tried it has the whole of its retry schedule.
func TestExitHeld(t *testing.T) {
	outcome := delivery.Outcome{Status: delivery.Retry, Reason: delivery.Ceiling, Held: 1}
	exit := &fakeExit{answer: func(_ delivery.Item, attempt int) delivery.Outcome {
		switch {
		case attempt < 3:
			return outcome
		case attempt == 3:
			return delivery.Outcome{Status: delivery.Retry, Reason: delivery.Deferred}
		}
		return delivery.Outcome{Status: delivery.Delivered}
	}}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{10 * time.Minute}}}
	})
	exit.clock = r.clk
	r.clk.Advance(2 * time.Minute)
	r.run()
	p, _ := r.exiting(packet.TypeSMTP)
	r.mustSend(p)
	r.mixOnce() // at 9:07
	first := untilHeld(t, r)
	r.close()
	r.run() // a restart changes nothing
	if again := untilHeld(t, r); again != first {
		t.Errorf("to be tried after %v, and after a restart %v", first, again)
	}
	if st := r.mix.Status(); st.Held != 100 {
		t.Errorf("%d are said to wait for the ceiling", st.Held)
	}
	for range 3 {
		r.clk.Advance(untilHeld(t, r))
	}
	retry := r.clk.awaitWithin(t, testInterval+1, 10*time.Minute+1) // counted from the last attempt, rounded down
	r.clk.Advance(retry)
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
	var at []time.Duration
	for _, c := range exit.seen() {
		at = append(at, c.at.Sub(start))
	}
	tried := 7*time.Minute + first
	want := []time.Duration{7 * time.Minute, tried, tried + day, tried + 2*day, tried + 2*day + retry}
	if !slices.Equal(at, want) {
		t.Errorf("attempts after %v, want %v", at, want)
	}
}

// Of several recipients, those who could be tried and cannot be reached are given up in time; one who has had enough waits longer.
func TestExitHeldInPart(t *testing.T) {
	var served []uint8
	exit := &fakeExit{answer: func(it delivery.Item, attempt int) delivery.Outcome {
		served = append(served, it.Served)
		if it.Served == 0b11111101 {
			return delivery.Outcome{Status: delivery.Delivered}
		}
		return delivery.Outcome{Status: delivery.Retry, Reason: delivery.Deferred, Held: 0b10, Served: 1}
	}}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{10 * time.Minute}}}
	})
	r.clk.Advance(2 * time.Minute)
	r.run()
	p, _ := r.exiting(packet.TypeSMTP)
	r.mustSend(p)
	r.mixOnce() // at 9:07, queued "9:05"
	r.clk.await(t, 8*time.Minute)
	r.clk.Advance(8 * time.Minute)
	r.clk.Advance(untilHeld(t, r))
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
	if want := []uint8{0, 1, 0b11111101}; !slices.Equal(served, want) {
		t.Errorf("served %b, want %b", served, want)
	}
}

// A message that waits for a ceiling is given up a week after its retry schedule is over.
func TestExitHeldTooLong(t *testing.T) {
	exit := &fakeExit{answer: func(delivery.Item, int) delivery.Outcome {
		return delivery.Outcome{Status: delivery.Retry, Reason: delivery.Ceiling, Held: 1}
	}}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{day}}}
	})
	r.run()
	p, digest := r.exiting(packet.TypeSMTP)
	r.mustSend(p)
	r.mixOnce()
	eventually(t, "an attempt", func() bool { return exit.tried(digest) == 1 })
	r.close()
	r.clk.Advance(8*day - testInterval)
	r.run()
	eventually(t, "another attempt", func() bool { return exit.tried(digest) == 2 })
	r.close()
	r.clk.Advance(3 * testInterval)
	r.run()
	eventually(t, "the message is dropped", func() bool { return r.mix.Counts().Dropped == 1 })
	if n := exit.tried(digest); n != 2 {
		t.Errorf("%d attempts", n)
	}
}

// What an exit settles while it is at work on the other recipients is remembered, whatever becomes of the attempt, and after a restart.
func TestExitSettles(t *testing.T) {
	var served []uint8
	exit := &fakeExit{answer: func(it delivery.Item, attempt int) delivery.Outcome {
		served = append(served, it.Served)
		if attempt < 2 {
			it.Settle(1 << attempt)
			return delivery.Outcome{Status: delivery.Retry, Reason: delivery.Deferred}
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
	r.close()
	r.run()
	r.clk.await(t, 8*time.Minute)
	r.clk.Advance(8 * time.Minute)
	r.clk.await(t, 20*time.Minute)
	r.close()
	r.run()
	r.clk.await(t, 20*time.Minute)
	r.clk.Advance(20 * time.Minute)
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
	if want := []uint8{0, 1, 3}; !slices.Equal(served, want) {
		t.Errorf("served %b, want %b", served, want)
	}
}

// Two mails to one person, who may have one a day: the second comes after midnight.
func TestCeilingOfAMix(t *testing.T) {
	server := &crashServer{}
	server.serve(t)
	r := newRig(t, func(c *mix.Config) {
		limits := ceiling.Limits{}
		limits.PerDay[ceiling.Readable] = 1
		limit, err := ceiling.New(limits, nil, c.Clock.Now)
		if err != nil {
			t.Fatal(err)
		}
		smtp, err := delivery.NewSMTP(delivery.SMTPConfig{
			Mail: mail.Options{ReturnAddress: "nobody@exit.example.org"}, MaximumRecipients: 8, Ceiling: limit,
			TransportConfig: delivery.TransportConfig{Servers: []string{server.addr}, TLS: delivery.TLSOff, Now: c.Clock.Now},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: smtp, Retry: mix.Schedule{time.Hour}}}
	})
	r.clk.Advance(2 * time.Minute)
	r.run()
	r.mustSend(r.mailTo("bob@example.com"), r.mailTo("Bob+tag@example.com", "carol@example.com"))
	r.mixOnce() // at 9:07
	wait := untilHeld(t, r)
	if asked, _ := server.seen(); len(asked) != 2 || !slices.Contains(asked, "carol@example.com") {
		t.Errorf("the server was asked for %v", asked)
	}
	r.clk.Advance(wait)
	eventually(t, "both are delivered", func() bool { return r.mix.Counts().Delivered == 2 })
	if asked, _ := server.seen(); len(asked) != 3 {
		t.Errorf("the server was asked for %v", asked)
	}
}

// An exit looks after its files when the mix starts and every hour; what goes wrong is logged, and tried again.
func TestUpkeepOfExits(t *testing.T) {
	var calls atomic.Int32
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: &fakeExit{}, Retry: mix.Schedule{day}, Upkeep: func(context.Context) error {
			calls.Add(1)
			return errors.New("read-only file system")
		}}}
	})
	r.run()
	eventually(t, "it is called at the start", func() bool { return calls.Load() == 1 })
	eventually(t, "it is called every hour", func() bool {
		r.clk.Advance(time.Hour)
		return calls.Load() > 2
	})
}
