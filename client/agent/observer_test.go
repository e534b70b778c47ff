package agent

import (
	"context"
	"errors"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/client"
	"mixminion/internal/clock"
	"mixminion/packet"
	"mixminion/path"
)

// A sighting is all that a watcher of the line sees of a departure, as far as the agent has a say in it.
type sighting struct {
	at   time.Time
	to   packet.Hop
	size int
}

// An observer watches the line of an agent.
type observer struct {
	mu   sync.Mutex
	seen []sighting
}

func (o *observer) see(p client.PreparedPacket) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, sighting{time.Now(), p.First, len(p.Packet)})
	return len(o.seen)
}

// all is what was seen so far.
func (o *observer) all() []sighting {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

// times are those of the events, and counts how many packets left at each.
func (o *observer) times() (times []time.Time, counts []int) {
	for _, s := range o.all() {
		if n := len(times); n > 0 && times[n-1].Equal(s.at) {
			counts[n-1]++
			continue
		}
		times, counts = append(times, s.at), append(counts, 1)
	}
	return times, counts
}

// gaps are the times between events, in units of mean, sorted.
func (o *observer) gaps(mean time.Duration) []float64 {
	times, _ := o.times()
	var gaps []float64
	for i := range times[1:] {
		gaps = append(gaps, float64(times[i+1].Sub(times[i]))/float64(mean))
	}
	return gaps
}

// hops counts departures by first server.
func (o *observer) hops() map[packet.Hop]int {
	m := map[packet.Hop]int{}
	for _, s := range o.all() {
		m[s.to]++
	}
	return m
}

// significance is the probability with which one comparison raises a false alarm.
const significance = 1e-7

// kolmogorov reports the distance of two samples, and the one that they exceed with the probability significance if they are of one
// continuous distribution.
func kolmogorov(a, b []float64) (distance, limit float64) {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	for i, j := 0, 0; i < len(a) && j < len(b); {
		if a[i] <= b[j] {
			i++
		} else {
			j++
		}
		distance = max(distance, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	n, m := float64(len(a)), float64(len(b))
	return distance, math.Sqrt(-math.Log(significance/2)/2) * math.Sqrt((n+m)/(n*m))
}

// exponential is a sample that has exactly the exponential distribution of mean 1.
func exponential(n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = -math.Log(1 - (float64(i)+0.5)/float64(n))
	}
	return list
}

// chiSquare reports how much two counts by category differ, and the limit that this exceeds with about the probability significance if they
// are of one distribution (by the approximation of Wilson and Hilferty).
func chiSquare[K comparable](a, b map[K]int) (sum, limit float64) {
	all := maps.Clone(a)
	var n, m float64
	for k, c := range a {
		all[k], n = c+b[k], n+float64(c)
	}
	for k, c := range b {
		all[k], m = c+a[k], m+float64(c)
	}
	for k, c := range all {
		p := float64(c) / (n + m)
		sum += math.Pow(float64(a[k])-n*p, 2)/(n*p) + math.Pow(float64(b[k])-m*p, 2)/(m*p)
	}
	const z = 5.2 // of the normal distribution, for significance
	d := float64(len(all) - 1)
	return sum, d * math.Pow(1-2/(9*d)+z*math.Sqrt(2/(9*d)), 3)
}

// differ says how a watcher can tell two lines apart.
func differ(a, b *observer, mean time.Duration) (how []string) {
	if d, limit := kolmogorov(a.gaps(mean), b.gaps(mean)); d > limit {
		how = append(how, "times")
	}
	if sum, limit := chiSquare(a.hops(), b.hops()); sum > limit {
		how = append(how, "first servers")
	}
	if d, limit := kolmogorov(follow(a.gaps(mean)), follow(b.gaps(mean))); d > limit {
		how = append(how, "sums of two times")
	}
	kinds := func(o *observer) (kinds []sighting) {
		_, counts := o.times()
		for i, n := range counts {
			kinds = append(kinds, sighting{size: o.seen[i].size * n})
		}
		return slices.Compact(kinds)
	}
	if !slices.Equal(kinds(a), kinds(b)) {
		how = append(how, "sizes and counts")
	}
	return how
}

// follow gives the sums of neighbours, pair by pair.
func follow(gaps []float64) (sums []float64) {
	for i := 0; i+1 < len(gaps); i += 2 {
		sums = append(sums, gaps[i]+gaps[i+1])
	}
	return sums
}

// A scene is a run of a real agent on a simulated clock.
type scene struct {
	cfg    Config
	events int
	busy   func(t testing.TB, c *client.Client, departures int) // called at first, and after every departure
	// send takes as long, and fails, as it likes.
	send func(ctx context.Context, p client.PreparedPacket, n int) error
}

// watchAgent lets an agent run until so many packets have left.
func watchAgent(t *testing.T, s scene) *observer {
	o := new(observer)
	synctest.Test(t, func(t *testing.T) {
		c := home(t, clock.Real{}) // whose time is simulated here
		a, err := New(c, s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		// Sockets are no part of the simulation.
		if err := a.listener.Close(); err != nil {
			t.Fatal(err)
		}
		a.listener = &noListener{closed: make(chan struct{})}
		enough := make(chan struct{})
		a.deliver = func(ctx context.Context, p client.PreparedPacket) error {
			n := o.see(p)
			if n == s.events {
				close(enough)
			}
			if s.busy != nil {
				s.busy(t, c, n)
			}
			if s.send != nil {
				return s.send(ctx, p, n)
			}
			return nil
		}
		if s.busy != nil {
			s.busy(t, c, 0)
		}
		stop := start(t, a)
		<-enough
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	o.seen = o.seen[:s.events]
	return o
}

// idleLine is the line of an agent that has nothing to send.
func idleLine(t *testing.T) *observer {
	t.Helper()
	shared.Do(func() { shared.idle = watchAgent(t, scene{events: events}) })
	if shared.idle == nil {
		t.Fatal("the idle agent failed in another test")
	}
	return shared.idle
}

// shared is a line that several tests compare others with: it takes long to come about.
var shared struct {
	sync.Once
	idle *observer
}

// noListener stands for a socket that nobody connects to.
type noListener struct {
	net.Listener
	closed chan struct{}
	once   sync.Once
}

func (l *noListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

func (l *noListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// events is how many departures the samples have.
const events = 600

// keepBusy has more packets wait at all times than an event needs.
func keepBusy(t testing.TB, c *client.Client, departures int) {
	if departures%100 == 0 {
		fill(t, c, 120)
	}
}

// Whoever watches departures cannot tell an agent that has much to send from one that has nothing to send, nor from one whose servers
// fail and are slow.
func TestBusyLooksIdle(t *testing.T) {
	mean := 30 * time.Minute
	idle := idleLine(t)
	busy := watchAgent(t, scene{events: events, busy: keepBusy})
	failing := watchAgent(t, scene{events: events, busy: keepBusy, send: func(ctx context.Context, _ client.PreparedPacket, n int) error {
		if n%3 > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(n%100) * time.Minute): // longer than most events are apart
			}
			return errors.New("no answer")
		}
		return nil
	}})
	for name, o := range map[string]*observer{"idle": idle, "busy": busy, "failing": failing} {
		if d, limit := kolmogorov(o.gaps(mean), exponential(100*events)); d > limit {
			t.Errorf("%s: the times between departures are not exponentially distributed: distance %.3f", name, d)
		}
		if how := differ(idle, o, mean); how != nil {
			t.Errorf("%s and idle differ in %q", name, how)
		}
	}
}

// Nor does it help to keep a server from answering: packets that wait for it do not draw the agent to it, however many they are, and
// whether or not others wait.
func TestDeadServerShowsNothing(t *testing.T) {
	dead := func(_ context.Context, p client.PreparedPacket, _ int) error {
		if p.First.Host == "elm.example.net" {
			return errors.New("no answer")
		}
		return nil
	}
	atTimes := func(t testing.TB, c *client.Client, departures int) {
		if departures%60 == 0 {
			fill(t, c, 20)
		}
	}
	atFirst := func(t testing.TB, c *client.Client, departures int) {
		if departures == 0 {
			fill(t, c, 60)
		}
	}
	idle := watchAgent(t, scene{events: events, send: dead})
	for name, s := range map[string]scene{
		"always":  {events: events / 2, busy: keepBusy},
		"first":   {events: events / 2, busy: atFirst},
		"several": {cfg: Config{PerEvent: 3}, events: events / 2, busy: atTimes},
	} {
		s.send = dead
		if sum, limit := chiSquare(idle.hops(), watchAgent(t, s).hops()); sum > limit {
			t.Errorf("%s: other first servers than those of an idle agent", name)
		}
	}
}

// The same for several packets at each event, of which some but not all are dummies.
func TestBusyLooksIdleSeveral(t *testing.T) {
	cfg := Config{Mean: time.Hour, PerEvent: 3}
	idle := watchAgent(t, scene{cfg: cfg, events: events / 2})
	busy := watchAgent(t, scene{cfg: cfg, events: events / 2, busy: func(t testing.TB, c *client.Client, departures int) {
		if departures%3 == 0 {
			fill(t, c, 1+departures%2)
		}
	}})
	if how := differ(idle, busy, cfg.Mean); how != nil {
		t.Errorf("they differ in %q", how)
	}
}

// The comparison can fail: it sees a rate that depends on the queue, a burst, several packets at a time, and a server that is preferred.
func TestObserverSees(t *testing.T) {
	const mean = 30 * time.Minute
	idle := idleLine(t)
	begin := idle.seen[0].at
	alder := []path.Element{{Kind: path.Named, Name: "alder"}, {Kind: path.Count, N: 3}}
	for name, c := range map[string]struct {
		seen *observer
		want string
	}{
		"rate": {idle.changed(func(_ int, at time.Time) time.Time { return begin.Add(at.Sub(begin) / 2) }), "times"},
		"burst": {idle.changed(func(i int, at time.Time) time.Time {
			if i%4 > 0 {
				return at
			}
			return idle.seen[i-i%4+1].at.Add(-time.Second) // each fourth waits for the next
		}), "times"},
		"two": {idle.changed(func(i int, _ time.Time) time.Time { return idle.seen[i-i%2].at }), "sizes and counts"},
		"hop": {watchAgent(t, scene{cfg: Config{Path: path.Spec{Leg1: alder}}, events: events / 4}), "first servers"},
	} {
		if how := differ(idle, c.seen, mean); !slices.Contains(how, c.want) {
			t.Errorf("%s: seen %q, not %q", name, how, c.want)
		}
	}
}

// changed is the same line with other times.
func (o *observer) changed(when func(i int, at time.Time) time.Time) *observer {
	c := &observer{seen: slices.Clone(o.seen)}
	for i, s := range o.seen {
		c.seen[i].at = when(i, s.at)
	}
	return c
}
