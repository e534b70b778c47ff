package mix

import (
	"context"
	"crypto/rand"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/store"
)

// jumpClock makes all waiting end at once, by moving its time on.
type jumpClock struct {
	mu     sync.Mutex
	now    time.Time
	passed func() // called when time passes, if not nil
}

func (c *jumpClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// After implements clock.Clock.
func (c *jumpClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	if c.passed != nil {
		c.passed()
	}
	ch := make(chan time.Time, 1)
	ch <- c.now
	return ch
}

var coverStart = time.Date(2031, 3, 5, 9, 0, 0, 0, time.UTC)

// coverMix opens a mix that does not run.
func coverMix(t *testing.T, clk clock.Clock, change func(*Config)) *Mix {
	t.Helper()
	dir := t.TempDir()
	cfg := Config{
		KeyDir: filepath.Join(dir, "keys"), QueueDir: filepath.Join(dir, "queues"),
		Nickname: "tested", Contact: "operator@example.com", Software: "Mixminion test",
		KeyLifetime: 30 * day, KeyOverlap: 2 * day, Hostname: "127.0.0.1", Port: 48099,
		Rule: Rule{Algorithm: Timed}, Interval: 5 * time.Minute, Relay: true, Clock: clk, Cover: 120,
	}
	if change != nil {
		change(&cfg)
	}
	m, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Dummies are a Poisson process of the rate that is asked for.
func TestCoverIsPoisson(t *testing.T) {
	const n = 4000
	clk := &jumpClock{now: coverStart}
	ctx, cancel := context.WithCancel(t.Context())
	var gaps []float64 // in means
	last := coverStart
	m := coverMix(t, clk, func(c *Config) {
		c.Servers = func() []*directory.Descriptor { // asked once for each dummy; without servers none is made
			gaps = append(gaps, clk.Now().Sub(last).Hours()*120)
			if last = clk.Now(); len(gaps) == n {
				cancel()
			}
			return nil
		}
	})
	if err := m.covering(ctx); err != nil {
		t.Fatal(err)
	}
	slices.Sort(gaps)
	distance := 0.0
	for i, g := range gaps {
		f := 1 - math.Exp(-g)
		distance = max(distance, f-float64(i)/float64(len(gaps)), float64(i+1)/float64(len(gaps))-f)
	}
	// By the bound of Dvoretzky, Kiefer, Wolfowitz and Massart a fair process exceeds this once in a million.
	if limit := math.Sqrt(math.Log(2e6) / 2 / n); distance > limit {
		t.Errorf("distance %.4f from an exponential distribution; the limit is %.4f", distance, limit)
	}
}

// What others send lets fewer dummies be made, by steps, with a delay, and never less than half.
func TestTopUp(t *testing.T) {
	for _, c := range []struct {
		rates []int // arrivals in each period of six hours
		want  float64
	}{
		{nil, 1},
		{[]int{0}, 1},
		{[]int{179}, 1}, // 30 in an hour are a quarter of 120
		{[]int{181}, 0.75},
		{[]int{359}, 0.75},
		{[]int{361}, 0.5},
		{[]int{720}, 0.5},
		{[]int{1 << 30}, 0.5},
		{[]int{-1}, 1},
		{[]int{0, 0, 0, 721}, 0.75},
		{[]int{720, 0, 0, 0, 0}, 1},
	} {
		u := topUp{target: 120}
		now := coverStart
		u.share(now)
		for _, n := range c.rates {
			before := u.share(now)
			u.arrived(n)
			if now = now.Add(coverPeriod); u.share(now.Add(-time.Second)) != before {
				t.Errorf("%v: the share changes within a period", c.rates)
			}
			u.share(now)
		}
		if got := u.share(now); got != c.want {
			t.Errorf("%v: %v, want %v", c.rates, got, c.want)
		}
	}
	// A clock that was set back begins a new period.
	u := topUp{target: 120}
	u.share(coverStart)
	u.arrived(10000)
	if u.share(coverStart.Add(-day)); u.share(coverStart) != 1 {
		t.Error("a period of negative length counts")
	}
}

// Under a flood the process goes on at half its rate.
func TestCoverUnderFlood(t *testing.T) {
	const n = 4000
	clk := &jumpClock{now: coverStart}
	ctx, cancel := context.WithCancel(t.Context())
	made := 0
	m := coverMix(t, clk, func(c *Config) {
		c.Servers = func() []*directory.Descriptor {
			if made++; made == n {
				cancel()
			}
			return nil
		}
	})
	clk.passed = func() { m.topUp.arrived(1000) }
	m.topUp.share(coverStart)
	m.topUp.arrived(1000)
	clk.now = clk.now.Add(coverPeriod)
	if err := m.covering(ctx); err != nil {
		t.Fatal(err)
	}
	// n dummies take n/60 hours; the sum of so many gaps is nearly normal.
	hours := clk.Now().Sub(coverStart.Add(coverPeriod)).Hours()
	if z := (hours*60 - n) / math.Sqrt(n); math.Abs(z) > 5.2 {
		t.Errorf("%d dummies in %.1f hours", n, hours)
	}
}

// Dummies take no room that the packets of others need.
func TestNoCoverWithoutRoom(t *testing.T) {
	m := coverMix(t, clock.NewManual(coverStart), func(c *Config) { c.MaxDisk = 64 << 20 })
	if !m.roomForCover() {
		t.Fatalf("no room in an empty store: %+v", m.store.Usage())
	}
	body := make([]byte, 32<<10)
	for range 64 << 5 {
		if !m.roomForCover() {
			break
		}
		if _, err := m.store.Commit([]store.Entry{{Body: body}}); err != nil {
			t.Fatal(err)
		}
	}
	if m.roomForCover() || !m.store.Room() || m.store.Usage().Live > 33<<20 {
		t.Errorf("no limit before the one of others' packets: %+v", m.store.Usage())
	}
}

func TestCoverPath(t *testing.T) {
	for hops, want := range map[int]string{1: "tested:*1", 2: "tested:*2", 3: "tested,*1:*2", 4: "tested,*2:*2"} {
		if got := coverPath("tested", hops).String(); got != want {
			t.Errorf("%d hops: %s, want %s", hops, got, want)
		}
	}
}

// Without anything to choose servers from no dummy is made, and nothing is tried.
func TestCoverNeedsServers(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no directory": func(*Config) {},
		"no relaying": func(c *Config) {
			c.Servers, c.Relay = func() []*directory.Descriptor { return nil }, false
		},
		"off": func(c *Config) {
			c.Servers, c.Cover = func() []*directory.Descriptor { return nil }, 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			if coverMix(t, clock.NewManual(coverStart), change).covers() {
				t.Error("there is cover traffic")
			}
		})
	}
	m := coverMix(t, clock.NewManual(coverStart), func(c *Config) {
		c.Servers = func() []*directory.Descriptor { return nil }
	})
	if !m.covers() {
		t.Error("no cover traffic")
	}
	if _, err := m.dummy(rand.Reader); err == nil {
		t.Error("a dummy without servers")
	}
	for _, bad := range []float64{-1, math.NaN(), maxCover + 1} {
		if _, err := Open(Config{KeyDir: "x", QueueDir: "x", Interval: 1, KeyLifetime: day, Cover: bad}); err == nil {
			t.Errorf("a mix with cover traffic of %v", bad)
		}
	}
}
