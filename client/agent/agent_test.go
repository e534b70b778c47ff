package agent

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/client"
	"mixminion/client/internal/agentwire"
	"mixminion/internal/clock"
)

func TestGap(t *testing.T) {
	const n = 20000
	draws := make([]float64, n)
	for i := range draws {
		d, err := gap(crand.Reader, time.Hour)
		if err != nil || d < 0 {
			t.Fatal(d, err)
		}
		draws[i] = d.Hours()
	}
	if d, limit := kolmogorov(draws, exponential(n)); d > limit {
		t.Errorf("distance %.4f from an exponential distribution", d)
	}
	ones, zeros := bytes.Repeat([]byte{0xff}, 16), make([]byte, 16)
	for name, c := range map[string]struct {
		random []byte
		want   float64 // means
	}{
		"shortest":     {ones, 0},
		"middle":       {append([]byte{0x80}, zeros...), math.Ln2},
		"second block": {append(make([]byte, 8), ones...), 64 * math.Ln2},
		"longest":      {zeros, 128 * math.Ln2},
	} {
		if d, err := gap(bytes.NewReader(c.random), maxMean); err != nil || math.Abs(float64(d)/float64(maxMean)-c.want) > 1e-9 {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	if _, err := gap(bytes.NewReader(zeros[:9]), time.Hour); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestEstimate(t *testing.T) {
	for _, c := range []struct {
		n, perEvent     int
		expected, bound float64 // means; the bounds are half the quantiles of the chi-square distribution with 2k degrees of freedom
	}{
		{0, 1, 0, 0}, {-1, 1, 0, 0},
		{1, 1, 1, 2.9957}, {2, 2, 1, 2.9957}, {3, 2, 2, 4.7439}, {10, 1, 10, 15.7052}, {50, 1, 50, 62.171}, {1000, 1, 1000, 1052.58},
	} {
		expected, bound := estimate(c.n, c.perEvent, time.Hour)
		if math.Abs(expected.Hours()-c.expected) > 1e-6 || math.Abs(bound.Hours()-c.bound) > c.bound*1e-4 {
			t.Errorf("%d packets, %d at a time: %v and %v", c.n, c.perEvent, expected, bound)
		}
	}
	if expected, bound := estimate(math.MaxInt32, 1, maxMean); expected != math.MaxInt64 || bound != math.MaxInt64 {
		t.Errorf("%v, %v", expected, bound)
	}
}

// The bound is kept as often as is said.
func TestEstimateHolds(t *testing.T) {
	const rounds, k = 4000, 7
	rnd := rand.NewChaCha8([32]byte{7})
	_, bound := estimate(k, 1, time.Hour)
	late := 0
	for range rounds {
		sum := time.Duration(0)
		for range k {
			d, err := gap(rnd, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			sum += d
		}
		if sum > bound {
			late++
		}
	}
	if share := float64(late) / rounds; math.Abs(share-0.05) > 0.02 {
		t.Errorf("exceeded in %.3f of all cases", share)
	}
}

func TestNewRefuses(t *testing.T) {
	c := home(t, clock.Real{})
	a, err := New(c, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(c, Config{}); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), c.Home()) {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	for _, cfg := range []Config{{Mean: -1}, {Mean: maxMean + 1}, {PerEvent: -1}, {PerEvent: MaxPerEvent + 1}} {
		if _, err := New(c, cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	// What a killed agent leaves over hinders nobody.
	if err := os.WriteFile(filepath.Join(c.Home(), agentwire.Socket), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err = New(c, Config{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(c.Home(), agentwire.Socket)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	long, err := client.Open(filepath.Join(t.TempDir(), strings.Repeat("x", 100)), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(long, Config{}); err == nil || !strings.Contains(err.Error(), "longer than systems allow") {
		t.Error(err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(c.Home(), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := New(c, Config{}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Error(err)
	}
}

// simulate runs what is given beside an agent on a simulated clock; deliver is what becomes of packets.
func simulate(t *testing.T, cfg Config, deliver func(context.Context, client.PreparedPacket) error, run func(t *testing.T, a *Agent)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if cfg.Clock == nil {
			cfg.Clock = clock.Real{}
		}
		a, err := New(home(t, clock.Real{}), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.listener.Close(); err != nil {
			t.Fatal(err)
		}
		a.listener = &noListener{closed: make(chan struct{})}
		a.deliver = deliver
		a.rnd = rand.NewChaCha8([32]byte{1})
		run(t, a)
	})
}

// checkQueued compares the number of packets that wait.
func checkQueued(t testing.TB, a *Agent, want int) {
	t.Helper()
	if s, err := a.status(); err != nil || s.Queued != want {
		t.Errorf("%d packets wait, want %d: %v", s.Queued, want, err)
	}
}

// A packet that cannot be sent waits for another event, and for the right dummy; nothing is tried twice at once, and nothing is lost.
func TestFailedAttempts(t *testing.T) {
	o := new(observer)
	var working atomic.Bool
	deliver := func(_ context.Context, p client.PreparedPacket) error {
		o.see(p)
		if !working.Load() {
			return errors.New("broken")
		}
		return nil
	}
	simulate(t, Config{}, deliver, func(t *testing.T, a *Agent) {
		fill(t, a.client, 3)
		stop := start(t, a)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		checkQueued(t, a, 3)
		if n := len(o.all()); n < 20 || n > 100 {
			t.Errorf("%d attempts in a day", n)
		}
		if times, counts := o.times(); len(times) != len(counts) || len(times) != len(o.all()) {
			t.Error("two attempts at one time")
		}
		working.Store(true)
		time.Sleep(20 * 24 * time.Hour) // each waits for a dummy for its server
		synctest.Wait()
		checkQueued(t, a, 0)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// While another program has the home directory, dummies leave at the same times; the queue is left alone.
func TestLockedHome(t *testing.T) {
	var at [2][]time.Duration
	for i := range at {
		o := new(observer)
		simulate(t, Config{}, func(_ context.Context, p client.PreparedPacket) error { o.see(p); return nil }, func(t *testing.T, a *Agent) {
			fill(t, a.client, 5)
			begin := time.Now()
			unlock := func() error { return nil }
			if i == 1 {
				other, err := client.Open(a.client.Home(), client.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if unlock, err = other.Lock(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			stop := start(t, a)
			time.Sleep(12 * time.Hour)
			synctest.Wait()
			checkQueued(t, a, 5*i)
			for _, s := range o.all() {
				at[i] = append(at[i], s.at.Sub(begin))
			}
			if err := errors.Join(unlock(), stop()); err != nil {
				t.Error(err)
			}
		})
	}
	// The simulated clock stands still while disks work, so the times are the same to the nanosecond.
	if len(at[0]) < 10 || !equalTimes(at[0], at[1]) {
		t.Errorf("departures at %v, and with a lock at %v", at[0], at[1])
	}
}

func equalTimes(a, b []time.Duration) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Without dummies nothing leaves: a line on which only real packets travel would say too much.
func TestNoDummies(t *testing.T) {
	o := new(observer)
	simulate(t, Config{}, func(_ context.Context, p client.PreparedPacket) error { o.see(p); return nil }, func(t *testing.T, a *Agent) {
		fill(t, a.client, 2)
		imported := filepath.Join(a.client.Home(), "imported")
		if err := os.Rename(imported, imported+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(imported, 0o700); err != nil {
			t.Fatal(err)
		}
		stop := start(t, a)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if s, err := a.status(); err != nil || s.Queued != 2 || s.Problem == "" || len(o.all()) > 0 {
			t.Errorf("%+v, %d departures: %v", s, len(o.all()), err)
		}
		if err := errors.Join(os.Remove(imported), os.Rename(imported+".away", imported)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if s, err := a.status(); err != nil || s.Queued != 0 || s.Problem != "" || len(o.all()) < 10 {
			t.Errorf("%+v, %d departures: %v", s, len(o.all()), err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// sleepy is the clock of a machine whose timers stand still while it sleeps.
type sleepy struct {
	mu    sync.Mutex
	slept time.Duration
}

func (c *sleepy) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (c *sleepy) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.slept)
}

func (c *sleepy) sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept += d
}

// Events that would have been while the machine slept are left out, and not made up for.
func TestMachineSleeps(t *testing.T) {
	o, clk := new(observer), new(sleepy)
	simulate(t, Config{Clock: clk}, func(_ context.Context, p client.PreparedPacket) error { o.see(p); return nil }, func(t *testing.T, a *Agent) {
		fill(t, a.client, 5)
		stop := start(t, a)
		const naps = 50
		for range naps {
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			clk.sleep(48 * time.Hour)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := len(o.all()); n < naps || n > 6*naps {
			t.Errorf("%d departures while the machine was awake for %d hours", n, 2*naps)
		}
		gaps := o.gaps(30 * time.Minute)
		for i := range gaps[1:] {
			if gaps[i]+gaps[i+1] < 1e-3 {
				t.Error("a burst of departures")
			}
		}
	})
}

// Run waits for attempts that have begun, but not for ever.
func TestDrain(t *testing.T) {
	begun := make(chan struct{}, 1)
	deliver := func(ctx context.Context, _ client.PreparedPacket) error {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return ctx.Err()
	}
	simulate(t, Config{}, deliver, func(t *testing.T, a *Agent) {
		begun = make(chan struct{}, 1)
		fill(t, a.client, 1)
		stop := start(t, a)
		<-begun
		begin := time.Now()
		if err := stop(); err != nil || time.Since(begin) != drainTime {
			t.Errorf("ended after %v: %v", time.Since(begin), err)
		}
		checkQueued(t, a, 1)
	})
}

// Directories are fetched at random times, sooner after a failure, whatever else happens.
func TestRefresh(t *testing.T) {
	var mu sync.Mutex
	var good, bad int
	fail := true
	refresh := func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if fail {
			bad++
			return errors.New("no answer")
		}
		good++
		return nil
	}
	simulate(t, Config{Refresh: refresh}, func(context.Context, client.PreparedPacket) error { return nil }, func(t *testing.T, a *Agent) {
		stop := start(t, a)
		time.Sleep(10 * 24 * time.Hour)
		synctest.Wait()
		if s, err := a.status(); err != nil || s.Outdated != "no answer" {
			t.Errorf("%+v: %v", s, err)
		}
		mu.Lock()
		fail = false
		mu.Unlock()
		time.Sleep(10 * 24 * time.Hour)
		synctest.Wait()
		if s, err := a.status(); err != nil || s.Outdated != "" {
			t.Errorf("%+v: %v", s, err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if bad < 500 || bad > 1000 || good < 15 || good > 80 {
		t.Errorf("%d failures and %d successes in ten days each", bad, good)
	}
}
