package mmtp

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func from(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// testDoor is a door and who went out of it.
type testDoor struct {
	*door
	t      *testing.T
	closed map[string]bool
}

func newTestDoor(t *testing.T, l Limits, known ...string) *testDoor {
	l = l.withDefaults()
	d := &testDoor{t: t, closed: map[string]bool{}}
	d.door = newDoor(func() *Limits { return &l }, func(a netip.Addr) bool {
		for _, k := range known {
			if a == netip.MustParseAddr(k) {
				return true
			}
		}
		return false
	})
	return d
}

func (d *testDoor) admit(addr string) *guest {
	return d.door.admit(from(addr), func() { d.closed[addr] = true })
}

func (d *testDoor) want(addr string, ok bool) *guest {
	d.t.Helper()
	g := d.admit(addr)
	if (g != nil) != ok {
		d.t.Errorf("%s: admitted %v, want %v", addr, g != nil, ok)
	}
	return g
}

func TestDoorCountsSources(t *testing.T) {
	d := newTestDoor(t, Limits{MaxPerSource: 1, MaxConnections: 100, Rate: 600})
	var in []*guest
	for _, c := range []struct {
		addr string
		ok   bool
	}{
		{"192.0.2.1:1", true},
		{"192.0.2.1:2", false},
		{"[::ffff:192.0.2.1]:1", false},
		{"192.0.2.2:1", true},
		{"192.0.2.3:1", true},
		{"192.0.2.4:1", true},
		{"192.0.2.5:1", false}, // the fifth of its /24
		{"192.0.3.1:1", true},
		{"[2001:db8:1:1::1]:1", true},
		{"[2001:db8:1:1::2]:1", false}, // the same /64
		{"[2001:db8:1:2::1]:1", true},
		{"[2001:db8:1:3::1]:1", true},
		{"[2001:db8:1:4::1%eth0]:1", true},
		{"[2001:db8:1:5::1]:1", false}, // the fifth of its /48
		{"[2001:db8:2::1]:1", true},
		{"127.0.0.1:1", true}, // a proxy
		{"127.0.0.1:2", true},
		{"[::1]:2", true},
	} {
		if g := d.want(c.addr, c.ok); g != nil {
			in = append(in, g)
		}
	}
	if d.open() != len(in) {
		t.Errorf("%d are open, %d were let in", d.open(), len(in))
	}
	d.leave(in[0])
	in[0] = d.want("192.0.2.77:1", true)
	for _, g := range in {
		d.leave(g)
	}
	if d.open() != 0 || len(d.counts) != 0 || len(d.guests) != 0 {
		t.Errorf("left over: %d, %v, %v", d.open(), d.counts, d.guests)
	}
}

// Sixteen times as much as a /64 is all that one provider's /32 gets.
func TestDoorCountsProviders(t *testing.T) {
	d := newTestDoor(t, Limits{MaxPerSource: 2, MaxConnections: 1000, Rate: 6000})
	in := 0
	for i := range 1000 {
		if d.admit(fmt.Sprintf("[2001:db8:%x::1]:1", i)) != nil {
			in++
		}
	}
	if in != 32 {
		t.Errorf("%d connections from one /32", in)
	}
	d.want("[2001:db9::1]:1", true)
}

// When all places are taken, the most crowded network makes way, with the connection that has been silent for longest.
func TestDoorMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDoor(t, Limits{MaxConnections: 4, Rate: 600})
		d.want("192.0.2.1:1", true)
		time.Sleep(time.Second)
		d.want("198.51.100.1:1", true)
		d.want("198.51.100.2:1", true)
		time.Sleep(time.Second)
		quiet := d.want("198.51.100.3:1", true)
		d.want("198.51.100.4:1", false) // its own network is the most crowded one

		quiet.heard.Store(time.Now().Add(-time.Minute).UnixNano())
		d.want("203.0.113.1:1", true)
		if len(d.closed) != 1 || !d.closed["198.51.100.3:1"] {
			t.Errorf("closed: %v", d.closed)
		}
		d.leave(quiet)
		if d.open() != 4 {
			t.Errorf("%d are open", d.open())
		}

		// Now nobody has many. Who has said nothing for long makes way, and not before.
		d.want("203.0.113.2:1", false)
		time.Sleep(quietTime)
		d.want("203.0.113.3:1", true)
		if len(d.closed) != 2 || !d.closed["192.0.2.1:1"] {
			t.Errorf("closed: %v", d.closed)
		}
	})
}

// Whoever takes all places, from however many networks: known mixes get in, and stay.
func TestDoorKnowsMixes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDoor(t, Limits{MaxConnections: 50, MaxPerSource: 2, Rate: 600, TotalRate: 120}, "192.0.2.1", "192.0.2.2")
		for i := range 1000 {
			d.admit(fmt.Sprintf("10.%d.1.1:1", i%250))
			time.Sleep(100 * time.Millisecond)
		}
		for i := range 8 {
			d.admit(fmt.Sprintf("192.0.2.%d:1", 10+i)) // a crowd beside the mixes
		}
		for d.admit("10.9.9.9:1") != nil {
		} // nothing of TotalRate is left, or the source has all that it may have
		for _, mix := range []string{"192.0.2.1", "192.0.2.2"} {
			d.want(mix+":1", true)
			d.want(mix+":2", true)
			d.want(mix+":3", false)
		}
		if d.open() != 50 {
			t.Errorf("%d connections", d.open())
		}
		time.Sleep(time.Hour)
		for i := range 1000 {
			d.admit(fmt.Sprintf("10.%d.2.%d:1", i%250, i/250))
			time.Sleep(time.Second)
		}
		for addr := range d.closed {
			if a := netip.MustParseAddrPort(addr).Addr().String(); a == "192.0.2.1" || a == "192.0.2.2" {
				t.Errorf("a mix had to make way")
			}
		}
	})
}

func TestRates(t *testing.T) {
	now := testNow
	l := (&Limits{Rate: 60, TotalRate: 6000}).withDefaults()
	var r rates
	allowed := func(n int, addr func(int) string) (in int) {
		for i := range n {
			s, _ := sourceOf(from(addr(i)))
			if r.allow(&l, s, false, now) {
				in++
			}
		}
		return in
	}
	one := func(int) string { return "192.0.2.1:1" }
	if n := allowed(100, one); n != 30 {
		t.Errorf("%d connections of one source at once", n)
	}
	now = now.Add(10 * time.Second)
	if n := allowed(100, one); n != 10 {
		t.Errorf("%d connections of one source in 10 s", n)
	}
	now = now.Add(time.Hour)
	if n := allowed(1000, func(i int) string { return fmt.Sprintf("192.0.2.%d:1", i%250) }); n != 120 {
		t.Errorf("%d connections of one /24 at once", n)
	}
	if n := allowed(10, func(i int) string { return fmt.Sprintf("192.0.%d.1:1", 10+i) }); n != 10 {
		t.Errorf("its neighbours may make only %d", n)
	}
	l.Rate = 120 // a reload
	if n := allowed(100, one); n != 60 {
		t.Errorf("%d connections of one source at once, after the limit changed", n)
	}
	l.TotalRate = 20
	if n := allowed(100, func(i int) string { return fmt.Sprintf("10.%d.0.1:1", i) }); n != 10 {
		t.Errorf("%d connections in all at once", n)
	}
	if n := allowed(1, func(i int) string { return "127.0.0.1:1" }); n != 0 {
		t.Error("TotalRate does not bind a proxy")
	}
	s, _ := sourceOf(from("10.99.0.1:1"))
	if !r.allow(&l, s, true, now) {
		t.Error("TotalRate binds a known mix")
	}
}

// What is remembered of sources is bounded, whatever addresses they have.
func TestRatesMemory(t *testing.T) {
	now := testNow
	l := (&Limits{Rate: 60, TotalRate: 1 << 30}).withDefaults()
	var r rates
	in := 0
	for i := range 200_000 { // a whole /32 of IPv6, without end
		s, _ := sourceOf(from(fmt.Sprintf("[2001:db8:%x:%x::1]:1", i%65536, i%9999)))
		if r.allow(&l, s, false, now) {
			in++
		}
		now = now.Add(time.Millisecond)
	}
	if n := len(r.buckets); n > 2*in+1 { // who is refused leaves nothing behind
		t.Errorf("%d buckets for one /32", n)
	}
	if in > 480+200*16+1 {
		t.Errorf("%d connections from one /32 in 200 s", in)
	}
	in = 0
	for i := range 100_000 { // from everywhere
		s, _ := sourceOf(from(fmt.Sprintf("%d.%d.%d.1:1", 1+i%100, i/100%250, i/25000)))
		if r.allow(&l, s, false, now) {
			in++
		}
	}
	if n := len(r.buckets); n > maxBuckets {
		t.Errorf("%d buckets", n)
	}
	if in > maxBuckets/2+480 {
		t.Errorf("%d connections from sources that are not remembered", in)
	}
	now = now.Add(time.Minute)
	s, _ := sourceOf(from("192.0.2.1:1"))
	if !r.allow(&l, s, false, now) || len(r.buckets) > 10 {
		t.Errorf("%d buckets are left after a minute", len(r.buckets))
	}
}

func FuzzSource(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1}, "")
	f.Add(netip.MustParseAddr("2001:db8::1").AsSlice(), "eth0")
	f.Add([]byte{1}, "x")
	f.Fuzz(func(t *testing.T, ip []byte, zone string) {
		s, _ := sourceOf(&net.TCPAddr{IP: ip, Zone: zone})
		for i := 1; i < len(s); i++ {
			if !s[i].Contains(s[i-1].Addr()) {
				t.Errorf("%v does not contain %v", s[i], s[i-1])
			}
		}
	})
}
