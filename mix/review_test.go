package mix_test

import (
	"crypto/rand"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/internal/crypt"
	"mixminion/internal/testnet/fakedns"
	"mixminion/mix"
	"mixminion/mmtp"
	"mixminion/packet"
)

// Anybody can send a packet whose next hop has the longest name that routing information allows. It must not stop the mix.
func TestLongHostName(t *testing.T) {
	r := newRig(t, nil).run()
	good := newFakeHop(t, r.clk, 0)
	long := packet.Node{
		Hop:       packet.Hop{Host: strings.Repeat("a", 255), Port: 1, KeyID: crypt.KeyID{1}},
		PacketKey: good.PacketKey,
	}
	if !packet.ValidHost(long.Host) || packet.ValidHost(long.Host+"a") {
		t.Fatal("this is not the longest name")
	}
	p, _ := r.relayed(long)
	q, digest := r.relayed(good.Node)
	r.mustSend(p, q)
	r.mixOnce()
	eventually(t, "the other packet arrives", func() bool { return good.times(digest) == 1 })
}

// Names as long as the DNS allows lead to their servers.
func TestLongestUsefulHostName(t *testing.T) {
	host := strings.Repeat(strings.Repeat("a", 59)+".", 4) + "example"
	r := newRig(t, func(c *mix.Config) {
		c.Resolver = fakedns.Resolver(map[string][]netip.Addr{host: {netip.MustParseAddr("127.0.0.1")}})
	}).run()
	next := newFakeHop(t, r.clk, 0)
	next.Host = host
	p, digest := r.relayed(next.Node)
	r.mustSend(p)
	r.mixOnce()
	eventually(t, "the packet arrives", func() bool { return next.times(digest) == 1 })
}

// A message that an exit cannot deliver now holds up only itself, not those that come later.
func TestDeferredMailHoldsUpOnlyItself(t *testing.T) {
	var deferred crypt.Digest
	exit := &fakeExit{answer: func(it delivery.Item, _ int) delivery.Outcome {
		if crypt.Hash(it.Payload[:]) == deferred {
			return delivery.Outcome{}
		}
		return delivery.Outcome{Status: delivery.Delivered}
	}}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: testExitType, Exit: exit, Retry: mix.Schedule{7 * time.Hour, 7 * time.Hour}}}
	})
	r.run()
	var p *packet.Packet
	p, deferred = r.exiting(testExitType)
	r.mustSend(p)
	r.mixOnce()
	eventually(t, "the first attempt", func() bool { return exit.tried(deferred) == 1 })
	for range 3 {
		q, digest := r.exiting(testExitType)
		r.mustSend(q)
		r.mixOnce()
		eventually(t, "a later message is delivered", func() bool { return exit.tried(digest) == 1 })
	}
	if n := exit.tried(deferred); n != 1 {
		t.Errorf("the deferred message was tried %d times", n)
	}
}

// Stored times are rounded down, to a grid that need not fit the retry schedule. Each attempt still uses up a point of the schedule.
func TestRetriesOffTheGrid(t *testing.T) {
	exit := &fakeExit{answer: func(delivery.Item, int) delivery.Outcome { return delivery.Outcome{} }}
	r := newRig(t, func(c *mix.Config) {
		c.Interval = 45 * time.Minute
		c.Exits = []mix.ExitConfig{{Type: testExitType, Exit: exit, Retry: mix.Schedule{time.Hour, time.Hour, time.Hour}}}
	})
	r.run()
	p, digest := r.exiting(testExitType)
	r.mustSend(p)
	for range 12 {
		r.mixOnce()
	}
	eventually(t, "all attempts are made", func() bool { return exit.tried(digest) >= 3 })
	r.close()
	if n := exit.tried(digest); n > 4 {
		t.Errorf("%d attempts on a schedule of three retries", n)
	}
}

// Nothing is acknowledged sooner than a whole tick after it arrived, on an idle mix either.
func TestAckWaitsForTick(t *testing.T) {
	const tick = 150 * time.Millisecond
	r := newRig(t, func(c *mix.Config) { c.Tick = tick })
	r.run()
	next := newFakeHop(t, r.clk, 0)
	padding := new(packet.Packet)
	rand.Read(padding[:])
	good, _ := r.relayed(next.Node)
	for name, item := range map[string]mmtp.Item{"padding": {Packet: padding, Junk: true}, "junk": {Packet: padding}, "packet": {Packet: good}} {
		r.mustSend() // the link is there
		begun := time.Now()
		if errs := r.send([]mmtp.Item{item}); errs[0] != nil {
			t.Errorf("%s: %v", name, errs[0])
		}
		if took := time.Since(begun); took < tick {
			t.Errorf("%s was acknowledged after %v", name, took)
		}
	}
}
