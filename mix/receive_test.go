package mix_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/mix"
	"mixminion/mmtp"
	"mixminion/packet"
)

// delivering is a configuration with one exit.
func delivering(x *fakeExit) func(*mix.Config) {
	return func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: testExitType, Exit: x, Retry: mix.Schedule{testInterval, testInterval}}}
	}
}

// What is sent twice, in one tick or later, over one link or another, before or after a restart, goes into the pool once. All is
// acknowledged.
func TestReplay(t *testing.T) {
	r := newRig(t, nil).run()
	next := newFakeHop(t, r.clk, 0)
	p, digest := r.relayed(next.Node)
	other, _ := r.relayed(next.Node)
	r.mustSend(p, other, p, p)
	r.client.Close()
	r.client = nil
	r.mustSend(p)
	r.close()
	if pool, _ := r.stored(); pool != 2 {
		t.Fatalf("%d packets in the pool", pool)
	}
	r.run()
	r.mustSend(p)
	r.mixOnce()
	eventually(t, "both packets arrive", func() bool { return next.total() >= 2 })
	r.mustSend(p)
	r.mixOnce()
	r.close()
	if pool, queues := r.stored(); pool+len(queues) != 0 || next.times(digest) != 1 || next.total() != 2 {
		t.Errorf("%d in the pool, %d queues, %d arrivals", pool, len(queues), next.total())
	}
	if c := r.log.count("level=ERROR"); c != 0 {
		t.Errorf("%d errors in the log", c)
	}
}

// Padding, noise, packets for others and packets that were changed on their way are acknowledged like good ones.
func TestJunk(t *testing.T) {
	r := newRig(t, nil).run()
	next := newFakeHop(t, r.clk, 0)
	noise, padding := new(packet.Packet), new(packet.Packet)
	rand.Read(noise[:])
	rand.Read(padding[:])
	good, _ := r.relayed(next.Node)
	foreign, _ := packetVia(t, []packet.Node{next.Node}, []packet.Node{r.node}, testExitType)
	changed, _ := r.relayed(next.Node)
	changed[300] ^= 1 // a header fails its digest
	dummy, _ := packetVia(t, []packet.Node{r.node}, []packet.Node{r.node}, packet.TypeDrop)
	all := append(items(noise, good, foreign, changed, dummy), mmtp.Item{Packet: padding, Junk: true})
	for i, err := range r.send(all) {
		if err != nil {
			t.Errorf("item %d: %v", i, err)
		}
	}
	r.close()
	if pool, _ := r.stored(); pool != 1 {
		t.Errorf("%d packets in the pool", pool)
	}
}

// A packet whose next hop is this mix is unwrapped again at once, never sent over the network, and each of its layers is remembered.
func TestSelfHops(t *testing.T) {
	exit := new(fakeExit)
	r := newRig(t, delivering(exit)).run()
	next := newFakeHop(t, r.clk, 0)
	self := r.node
	selfs := []packet.Node{self, self, self}

	relayed, relayedDigest := packetVia(t, selfs, append(selfs[:3:3], next.Node), testExitType)
	delivered, deliveredDigest := packetVia(t, selfs, selfs, testExitType)
	// The same packet without its outermost layer, as an observer of the second hop would have it.
	inner := *delivered
	u := unwrapperOf(t, r)
	for range 2 {
		if _, err := u.Unwrap(&inner); err != nil {
			t.Fatal(err)
		}
	}
	r.mustSend(relayed, delivered)
	r.mustSend(relayed, delivered, &inner)
	r.mixOnce()
	eventually(t, "one packet arrives and one is delivered", func() bool {
		return next.times(relayedDigest) > 0 && exit.tried(deliveredDigest) > 0
	})
	r.mustSend(relayed, delivered, &inner)
	r.mixOnce()
	r.close()
	if pool, queues := r.stored(); pool+len(queues) != 0 {
		t.Errorf("%d in the pool, %d queues", pool, len(queues))
	}
	if next.total() != 1 || exit.tried(deliveredDigest) != 1 {
		t.Errorf("relayed %d times, delivered %d times", next.total(), exit.tried(deliveredDigest))
	}

	// The other way round: the inner packet comes first.
	late, lateDigest := packetVia(t, selfs, selfs, testExitType)
	inner = *late
	if _, err := u.Unwrap(&inner); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.mustSend(&inner)
	r.mustSend(late)
	r.mixOnce()
	eventually(t, "the packet is delivered", func() bool { return exit.tried(lateDigest) > 0 })
	r.close()
	if n := exit.tried(lateDigest); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

// unwrapperOf opens packets as the mix does.
func unwrapperOf(t *testing.T, r *rig) *packet.Unwrapper {
	t.Helper()
	dec, err := crypt.StdProvider{}.Decrypter(readPrivate(t, r.keyPath("key_0001", "mix.key")))
	if err != nil {
		t.Fatal(err)
	}
	u, err := packet.NewUnwrapper(dec)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// hashes is how many packets the closed mix has in its replay logs.
func (r *rig) hashes() (n uint64) {
	r.t.Helper()
	for _, name := range r.keySets() {
		rep, err := store.CheckLog(nil, r.keyPath(name, "replay"))
		if err != nil || len(rep.Damage) > 0 {
			r.t.Fatalf("replay log: %v, %v", rep, err)
		}
		n += rep.Hashes
	}
	return n
}

// What the mix has no use for is acknowledged and dropped, but remembered: a replay takes the same way as a replay of anything else.
func TestUnwantedPackets(t *testing.T) {
	exit := new(fakeExit)
	for name, c := range map[string]struct {
		change func(*mix.Config)
		packet func(r *rig, next packet.Node) (*packet.Packet, crypt.Digest)
		hashes uint64 // of a packet: one for each layer that it has for this mix
	}{
		"no such exit": {delivering(exit), func(r *rig, _ packet.Node) (*packet.Packet, crypt.Digest) {
			return r.exiting(packet.TypeSMTP)
		}, 2},
		"exit type of nobody": {delivering(exit), func(r *rig, _ packet.Node) (*packet.Packet, crypt.Digest) {
			return r.exiting(0x1ff)
		}, 2},
		"dummy": {delivering(exit), func(r *rig, _ packet.Node) (*packet.Packet, crypt.Digest) {
			return r.exiting(packet.TypeDrop)
		}, 2},
		"relay is off": {
			func(c *mix.Config) { delivering(exit)(c); c.Relay = false },
			func(r *rig, next packet.Node) (*packet.Packet, crypt.Digest) { return r.relayed(next) }, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.change).run()
			next := newFakeHop(t, r.clk, 0)
			p, _ := c.packet(r, next.Node)
			q, _ := c.packet(r, next.Node)
			r.mustSend(p, q, p)
			r.mixOnce()
			r.close()
			if pool, queues := r.stored(); pool+len(queues) != 0 {
				t.Errorf("%d in the pool, %d queues", pool, len(queues))
			}
			if n := r.hashes(); n != 2*c.hashes {
				t.Errorf("%d hashes in the replay log, want %d", n, 2*c.hashes)
			}
		})
	}
	if len(exit.seen()) > 0 {
		t.Error("the exit was called")
	}
}

// A mix with relaying off still delivers, and says in its descriptor that it does not relay.
func TestRelayOff(t *testing.T) {
	exit := new(fakeExit)
	r := newRig(t, func(c *mix.Config) { delivering(exit)(c); c.Relay = false }).run()
	if r.mix.Descriptors()[0].Outgoing != nil {
		t.Error("the descriptor promises to relay")
	}
	p, digest := r.exiting(testExitType)
	r.mustSend(p)
	r.mixOnce()
	eventually(t, "the message is delivered", func() bool { return exit.tried(digest) == 1 })
}

// A full store answers REJECTED to everything, and loses nothing that it took. When packets have left there is room again,
// without a restart.
func TestFullStore(t *testing.T) {
	r := newRig(t, func(c *mix.Config) {
		c.MaxDisk = 12 << 20
		c.OutgoingRetry = mix.Schedule{testInterval, 1000 * testInterval}
	}).run()
	next := newFakeHop(t, r.clk, 0)
	next.set(hopDown)
	var taken []crypt.Digest
	rejected := func() bool {
		p, digest := r.relayed(next.Node)
		err := r.send(items(p))[0]
		if err == nil {
			taken = append(taken, digest)
		} else if !errors.Is(err, mmtp.ErrRejected) {
			t.Fatal(err)
		}
		return err != nil
	}
	for !rejected() {
		if len(taken) > 12<<20/packet.Size {
			t.Fatal("more packets are taken than the disk may hold")
		}
	}
	if len(taken) < 20 {
		t.Errorf("only %d packets were taken", len(taken))
	}
	noise := new(packet.Packet)
	rand.Read(noise[:])
	if err := r.send(items(noise))[0]; !errors.Is(err, mmtp.ErrRejected) {
		t.Errorf("noise, when there is no room: %v", err)
	}
	if !r.mix.Status().Full {
		t.Error("the status does not say that there is no room")
	}
	larger := r.cfg
	larger.MaxDisk = 16 << 20
	if err := r.mix.Reload(t.Context(), larger); err != nil {
		t.Fatal(err)
	}
	if rejected() {
		t.Error("a packet is rejected although MaxDisk was raised")
	}
	if r.mix.Status().Full {
		t.Error("there is room, and the status says that there is none")
	}
	if err := r.mix.Reload(t.Context(), r.cfg); err != nil {
		t.Fatal(err)
	}
	if !rejected() {
		t.Error("a packet is taken although MaxDisk was lowered again")
	}
	next.set(hopGood)
	r.mixOnce()
	eventually(t, "all packets that were taken arrive", func() bool {
		r.clk.Advance(testInterval)
		return next.total() == len(taken)
	})
	before := len(taken)
	eventually(t, "there is room again", func() bool { return !rejected() })
	r.mixOnce()
	eventually(t, "the next packet arrives", func() bool { return next.times(taken[before]) == 1 })
	for _, d := range taken {
		if n := next.times(d); n != 1 {
			t.Errorf("a packet arrived %d times", n)
		}
	}
}

// When the mix is told to stop in the middle of its work, everything that it acknowledged is in its store.
func TestStopKeepsWhatWasAcknowledged(t *testing.T) {
	r := newRig(t, nil)
	r.open()
	next := newFakeHop(t, r.clk, 0)
	u := unwrapperOf(t, r)
	var acked []crypt.Digest // of payloads, as the store holds them
	for range 4 {
		r.run()
		var batch []*packet.Packet
		var after []crypt.Digest
		for range 24 {
			p, _ := r.relayed(next.Node)
			q := *p
			if _, err := u.Unwrap(&q); err != nil {
				t.Fatal(err)
			}
			batch, after = append(batch, p), append(after, crypt.Hash(q[:]))
		}
		all := items(batch...)
		stopped := make(chan struct{})
		var once bool
		client := mmtp.NewClient(mmtp.ClientConfig{Now: r.clk.Now})
		err := client.Send(t.Context(), r.node.Hop, func(yield func(mmtp.Item) bool) {
			for i, it := range all {
				it.Done = func(err error) {
					if err == nil {
						acked = append(acked, after[i])
					}
					if !once {
						once = true
						go func() { // Done should not block; the loop below waits for it
							defer close(stopped)
							r.close()
						}()
					}
				}
				if !yield(it) {
					return
				}
			}
		})
		if err != nil {
			t.Logf("the link ended: %v", err)
		}
		<-stopped
		client.Close()
	}
	if len(acked) < 4 {
		t.Fatalf("%d packets acknowledged", len(acked))
	}
	held := map[crypt.Digest]int{}
	r.inspect(func(s *store.Store) {
		for _, id := range s.Pool() {
			body, err := s.Read(id, nil)
			if err != nil {
				t.Fatal(err)
			}
			held[crypt.Hash(body[len(body)-packet.Size:])]++
		}
	})
	for _, d := range acked {
		if held[d] != 1 {
			t.Errorf("a packet that was acknowledged is in the store %d times", held[d])
		}
	}
}

// No file of the mix changes its modification time to the moment at which a packet came.
func TestStoredTimesAreRounded(t *testing.T) {
	r := newRig(t, nil).run()
	next := newFakeHop(t, r.clk, 0)
	next.set(hopDown)
	r.clk.Advance(testInterval / 3)
	p, _ := r.relayed(next.Node)
	r.mustSend(p)
	r.mixOnce()
	r.close()
	r.inspect(func(s *store.Store) {
		for _, q := range s.Queues() {
			for _, it := range s.Queue(q.Name, 0) {
				if int64(it.Queued)%int64(testInterval.Seconds()) != 0 {
					t.Errorf("a packet was queued at %d", it.Queued)
				}
			}
		}
	})
	paths, err := filepath.Glob(filepath.Join(r.cfg.QueueDir, "*.seg"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%v, %v", paths, err)
	}
	stamps := map[int64]bool{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		stamps[info.ModTime().UnixNano()] = true
	}
	if len(stamps) != 1 {
		t.Errorf("the segments have %d different times", len(stamps))
	}
}
