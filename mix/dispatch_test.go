package mix_test

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/mix"
	"mixminion/packet"
)

// retrying is a configuration whose pauses differ from each other and from all other timers, so that a test can tell them apart.
func retrying(s ...time.Duration) func(*mix.Config) {
	return func(c *mix.Config) { c.OutgoingRetry = s }
}

// A next hop that is down is tried again on the schedule, which begins with the first failure, and at its last pace when the schedule is
// over. All its packets wait for the same moment; none is lost or sent twice.
func TestNextHopDown(t *testing.T) {
	r := newRig(t, retrying(7*time.Minute, 11*time.Minute, 13*time.Minute, 31*time.Minute)).run()
	next := newFakeHop(t, r.clk, 0)
	next.set(hopDown)
	visits := func(when string, want int32) {
		t.Helper()
		if got := next.visits.Load(); got != want {
			t.Errorf("%s: %d attempts, want %d", when, got, want)
		}
	}
	p, first := r.relayed(next.Node)
	r.mustSend(p)
	r.mixOnce()
	r.clk.await(t, 7*time.Minute)
	visits("at once", 1)

	// A second packet for the hop does not make the mix knock earlier.
	q, second := r.relayed(next.Node)
	r.mustSend(q)
	r.mixOnce()
	r.clk.await(t, 2*time.Minute)
	visits("after the next mix", 1)

	r.clk.Advance(2 * time.Minute)
	r.clk.await(t, 11*time.Minute)
	visits("at the first point", 2)
	r.clk.Advance(11 * time.Minute)
	r.clk.await(t, 13*time.Minute)
	visits("at the second point", 3)
	r.clk.Advance(13 * time.Minute)
	r.clk.await(t, 31*time.Minute)
	visits("at the third point", 4)

	next.set(hopGood)
	r.clk.Advance(31 * time.Minute)
	eventually(t, "both packets arrive", func() bool { return next.total() == 2 })
	eventually(t, "both are counted", func() bool { return r.mix.Counts().Relayed == 2 })
	if next.times(first) != 1 || next.times(second) != 1 {
		t.Error("a packet arrived twice")
	}

	// The success ended the schedule: the next failure begins a new one.
	next.set(hopDown)
	before := next.visits.Load()
	p, _ = r.relayed(next.Node)
	r.mustSend(p)
	r.clk.await(t, testInterval)
	r.clk.Advance(time.Hour) // the link that is left grows too old
	r.clk.await(t, 7*time.Minute)
	if next.visits.Load() == before {
		t.Error("no new attempt")
	}
	if n := r.log.count("cannot pass packets on to a server"); n != 2 {
		t.Errorf("%d warnings for two failures", n)
	}
	if r.log.count(next.Host) > 0 && r.log.count("somebody") > 0 {
		t.Error("the log names a recipient")
	}
}

// When the schedule is over its packets are given up; a hop that has newer ones goes on being tried at the last pace.
func TestPacketsExpire(t *testing.T) {
	r := newRig(t, retrying(7*time.Minute, 23*time.Minute)).run()
	next := newFakeHop(t, r.clk, 0)
	next.set(hopDown)
	p, first := r.relayed(next.Node)
	r.mustSend(p)
	r.mixOnce() // queued after 5 minutes
	r.clk.await(t, 7*time.Minute)
	r.clk.Advance(7 * time.Minute) // 12
	r.clk.await(t, 23*time.Minute, testInterval)
	q, second := r.relayed(next.Node)
	r.mustSend(q)
	r.mixOnce() // queued after 15 minutes: the time is rounded to the interval
	r.clk.await(t, 18*time.Minute)
	if r.mix.Counts().Dropped != 0 {
		t.Error("a packet is dropped before its time")
	}
	r.clk.Advance(18 * time.Minute) // 35: the end of the schedule, an attempt
	r.clk.await(t, 23*time.Minute)  // its last pace
	if n := r.mix.Counts().Dropped; n != 0 {
		t.Errorf("%d packets dropped", n)
	}
	next.set(hopGood)
	r.clk.Advance(10 * time.Minute) // 45: nobody is tried yet
	r.clk.await(t, 13*time.Minute)
	r.clk.Advance(5*time.Minute - 1) // the second packet still has its time: 15 + 30 + 5
	if next.total() != 0 {
		t.Error("the hop is tried before its time")
	}
	r.close()

	// After a restart each hop is tried at once.
	r.run()
	eventually(t, "the packet arrives", func() bool { return next.times(second) == 1 })
	eventually(t, "it is counted", func() bool { return r.mix.Counts().Relayed == 1 })
	if c := r.mix.Counts(); c.Dropped != 1 || next.times(first) != 0 {
		t.Errorf("%+v", c)
	}
	r.close()
	if pool, queues := r.stored(); pool+len(queues) != 0 {
		t.Errorf("%d in the pool, %d queues", pool, len(queues))
	}
}

// What a next hop rejects is kept and sent again.
func TestNextHopRejects(t *testing.T) {
	r := newRig(t, retrying(7*time.Minute, 11*time.Minute, time.Hour)).run()
	next := newFakeHop(t, r.clk, 0)
	next.set(hopRejects)
	var digests []crypt.Digest
	for range 3 {
		p, d := r.relayed(next.Node)
		r.mustSend(p)
		digests = append(digests, d)
	}
	r.mixOnce()
	r.clk.await(t, 7*time.Minute)
	once := next.rejected.Load() // the mix may stop asking when it hears the first no
	if once < 1 || once > 3 {
		t.Errorf("%d packets were offered", once)
	}
	r.clk.Advance(7 * time.Minute)
	r.clk.await(t, 11*time.Minute)
	if n := next.rejected.Load(); n <= once || n > 6 || r.mix.Counts().Relayed != 0 {
		t.Errorf("%d packets were offered in two attempts", n)
	}
	next.set(hopGood)
	r.clk.Advance(11 * time.Minute)
	eventually(t, "all arrive", func() bool { return r.mix.Counts().Relayed == 3 })
	for _, d := range digests {
		if next.times(d) != 1 {
			t.Errorf("a packet arrived %d times", next.times(d))
		}
	}
}

// A server with another identity key than the packet says gets nothing. The packet waits for the right one.
func TestWrongKeyID(t *testing.T) {
	r := newRig(t, retrying(7*time.Minute, 11*time.Minute)).run()
	next := newFakeHop(t, r.clk, 0)
	wrong := next.Node
	wrong.KeyID[0] ^= 1
	p, _ := r.relayed(wrong)
	r.mustSend(p)
	r.mixOnce()
	r.clk.await(t, 7*time.Minute)
	if next.visits.Load() != 1 || next.total() != 0 {
		t.Errorf("%d visits, %d packets", next.visits.Load(), next.total())
	}
	r.clk.Advance(7 * time.Minute)
	r.clk.await(t, 11*time.Minute)
	if next.visits.Load() != 2 || next.total() != 0 {
		t.Errorf("%d visits, %d packets", next.visits.Load(), next.total())
	}
	r.close()
	if _, queues := r.stored(); len(queues) != 1 || queues[0].Count != 1 {
		t.Errorf("queues: %+v", queues)
	}
}

// A next hop that takes the connection and then says nothing holds up its own queue only.
func TestDeadHopDelaysOnlyItself(t *testing.T) {
	r := newRig(t, nil).run()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var holding sync.WaitGroup
	held := make(chan net.Conn, 100)
	holding.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(held)
				return
			}
			held <- c
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		for c := range held {
			_ = c.Close()
		}
		holding.Wait()
	})
	good, dead := newFakeHop(t, r.clk, 0), packet.Node{PacketKey: &testKey(t, 3).PublicKey}
	dead.Hop = packet.Hop{Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port), KeyID: crypt.KeyID{7}}
	for i := range 5 {
		p, _ := r.relayed(dead)
		q, digest := r.relayed(good.Node)
		r.mustSend(p, q)
		r.mixOnce()
		eventually(t, "the other hop gets its packet", func() bool { return good.times(digest) == 1 })
		if i == 0 {
			eventually(t, "the dead hop is called", func() bool { return len(held) == 1 })
		}
	}
	r.close()
	if _, queues := r.stored(); len(queues) != 1 || queues[0].Count != 5 {
		t.Errorf("queues: %+v", queues)
	}
}

// Packets that were on their way when the mix stopped go out after its next start.
func TestQueuesSurviveRestart(t *testing.T) {
	r := newRig(t, retrying(7*time.Minute, 11*time.Minute)).run()
	hops := []*fakeHop{newFakeHop(t, r.clk, 0), newFakeHop(t, r.clk, 1)}
	var digests []crypt.Digest
	for i := range 6 {
		hops[i%2].set(hopDown)
		p, d := r.relayed(hops[i%2].Node)
		r.mustSend(p)
		digests = append(digests, d)
	}
	r.mixOnce()
	r.clk.await(t, 7*time.Minute)
	r.close()
	if pool, queues := r.stored(); pool != 0 || len(queues) != 2 {
		t.Fatalf("%d in the pool, queues %+v", pool, queues)
	}
	for _, h := range hops {
		h.set(hopGood)
	}
	r.run()
	for i, d := range digests {
		eventually(t, "all arrive", func() bool { return hops[i%2].times(d) == 1 })
	}
}

// A packet that the disk changed is given up and counted; the others go their way.
func TestCorruptPackets(t *testing.T) {
	for name, queued := range map[string]bool{"in the pool": false, "in a queue": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, retrying(7*time.Minute, time.Hour)).run()
			next := newFakeHop(t, r.clk, 0)
			next.set(hopDown)
			const n = 5
			for range n {
				p, _ := r.relayed(next.Node)
				r.mustSend(p)
			}
			if queued {
				r.mixOnce()
				r.clk.await(t, 7*time.Minute)
			}
			r.close()
			flipBodyByte(t, r)
			next.set(hopGood)
			r.run()
			if !queued {
				r.mixOnce()
			}
			eventually(t, "the others arrive", func() bool { return next.total() == n-1 })
			eventually(t, "all are counted", func() bool {
				c := r.mix.Counts()
				return c.Corrupt == 1 && c.Relayed == n-1
			})
			r.close()
			if pool, queues := r.stored(); pool+len(queues) != 0 {
				t.Errorf("%d in the pool, queues %+v", pool, queues)
			}
		})
	}
}

// flipBodyByte changes one byte in the middle of a packet of a closed mix.
func flipBodyByte(t *testing.T, r *rig) {
	t.Helper()
	var body []byte
	r.inspect(func(s *store.Store) {
		ids := s.Pool()
		for _, q := range s.Queues() {
			for _, it := range s.Queue(q.Name, 0) {
				ids = append(ids, it.ID)
			}
		}
		var err error
		if body, err = s.Read(ids[0], nil); err != nil {
			t.Fatal(err)
		}
	})
	part := string(body[len(body)/2:][:64])
	paths, err := filepath.Glob(filepath.Join(r.cfg.QueueDir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data := mustRead(t, path)
		for i := 0; i+64 <= len(data); i++ {
			if data[i] == part[0] && string(data[i:i+64]) == part {
				data[i] ^= 1
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	t.Fatal("the packet is in no segment")
}
