package mix_test

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/store"
	"mixminion/mix"
	"mixminion/packet"
)

// descriptor is a descriptor of the hop.
func (h *fakeHop) descriptor(n int, nickname string) *directory.Descriptor {
	h.t.Helper()
	text, err := directory.SignDescriptor(testKey(h.t, 2*n), directory.Fields{
		Nickname: nickname, Published: start, ValidAfter: start.Truncate(day), ValidUntil: start.Truncate(day).Add(30 * day),
		PacketKey: h.PacketKey, PacketVersions: []string{packet.Version}, Software: "Mixminion test",
		Contact: "operator@example.com", Secure: true,
		Incoming: &directory.Incoming{Hostname: h.Host, Port: h.Port, Protocols: directory.MMTPProtocols(true, false), TLS: directory.TLSVersions(false)},
		Outgoing: &directory.Outgoing{Protocols: directory.MMTPProtocols(true, false), TLS: directory.TLSVersions(false)},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	d, err := directory.ParseDescriptor(text)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// coverRig is a mix with cover traffic to four servers.
func coverRig(t *testing.T, change func(*mix.Config)) (*rig, []*fakeHop) {
	t.Helper()
	var hops []*fakeHop
	var servers []*directory.Descriptor
	r := newRig(t, func(c *mix.Config) {
		c.Cover = 120
		c.Servers = func() []*directory.Descriptor { return servers }
		if change != nil {
			change(c)
		}
	})
	for i := range 4 {
		h := newFakeHop(t, r.clk, i)
		h.cover = true
		hops, servers = append(hops, h), append(servers, h.descriptor(i, "hop"+string(rune('a'+i))))
	}
	return r, hops
}

// Dummies go from the pool to random servers, at some of which they end, and no log tells of them.
func TestCoverLeaves(t *testing.T) {
	r, hops := coverRig(t, nil)
	r.run()
	fates := func() (relayed, dropped, most, least int) {
		least = math.MaxInt
		for _, h := range hops {
			h.mu.Lock()
			relayed, dropped = relayed+h.fates[packet.Relay], dropped+h.fates[packet.Drop]
			n := h.fates[packet.Relay] + h.fates[packet.Drop]
			most, least = max(most, n), min(least, n)
			if h.fates[packet.Deliver] > 0 {
				t.Error("a dummy leaves the network")
			}
			h.mu.Unlock()
		}
		return relayed, dropped, most, least
	}
	const enough = 100
	eventually(t, "dummies at the servers", func() bool {
		r.clk.Advance(30 * time.Second)
		relayed, dropped, _, _ := fates()
		return relayed+dropped >= enough
	})
	r.close()
	relayed, dropped, most, least := fates()
	// A quarter ends at the first server; each server gets a quarter. A fair mix fails one of these once in a million times.
	if n := float64(relayed + dropped); math.Abs(float64(dropped)-n/4) > 5.2*math.Sqrt(n*3/16) || float64(least) < n/4-5.3*math.Sqrt(n*3/16) ||
		float64(most) > n/4+5.3*math.Sqrt(n*3/16) {
		t.Errorf("%d are passed on, %d end at the first server; %d to %d at each", relayed, dropped, least, most)
	}
	if n := r.log.count("cover"); n > 0 {
		t.Errorf("%d lines in the log", n)
	}
}

// On the disk a dummy is a packet that arrived: it has an entry in the replay log, and is stored as others are.
func TestCoverIsStoredAsOthers(t *testing.T) {
	var kept atomic.Int64
	r, hops := coverRig(t, func(c *mix.Config) {
		c.Rule = mix.Rule{Algorithm: mix.Binomial, MinSize: 1 << 20, Rate: 0.4} // nothing leaves
		c.Watch = func(b mix.Batch) { kept.Store(int64(b.Kept)) }
	})
	r.open()
	users, _ := r.relayed(hops[0].Node)
	r.run()
	r.mustSend(users)
	const enough = 20
	eventually(t, "dummies in the pool", func() bool {
		r.clk.Advance(30 * time.Second)
		return kept.Load() > enough
	})
	r.close()
	rep, err := store.Check(nil, r.cfg.QueueDir)
	if err != nil || len(rep.Damage) > 0 {
		t.Fatal(rep, err)
	}
	pool, queues := r.stored()
	if pool <= enough || rep.Packets != pool || rep.Hashes != pool || len(queues) != 0 {
		t.Errorf("%d packets in the pool, %+v", pool, rep)
	}
	r.inspect(func(s *store.Store) {
		forms := map[string]bool{}
		for _, id := range s.Pool() {
			body, err := s.Read(id, nil)
			if err != nil {
				t.Fatal(err)
			}
			forms[fmt.Sprintf("%d bytes, beginning with %x", len(body), body[:4])] = true
		}
		if len(forms) != 1 {
			t.Errorf("records differ: %v", forms)
		}
	})
}

// seen is what somebody who watches the link to a hop can count, and what is behind it.
func (h *fakeHop) seen() (packets, junk int) {
	packets = h.total()
	h.mu.Lock()
	defer h.mu.Unlock()
	return packets, h.junk
}

// The number of packets on a link is padded.
func TestLinkPadding(t *testing.T) {
	r := newRig(t, nil).run()
	for n, want := range map[int]int{1: 4, 4: 4, 6: 8, 9: 16, 18: 32} {
		next := newFakeHop(t, r.clk, n)
		var list []*packet.Packet
		for range n {
			p, _ := r.relayed(next.Node)
			list = append(list, p)
		}
		r.mustSend(list...)
		r.mixOnce()
		eventually(t, "packets and padding", func() bool {
			got, junk := next.seen()
			return got == n && junk == want-n
		})
	}
	r.close()
}

// Refusals are padded too, and whatever comes of the padding, a packet that was refused is tried again.
func TestPaddingOfRefusals(t *testing.T) {
	r := newRig(t, func(c *mix.Config) { c.OutgoingRetry = mix.Schedule{7 * time.Minute, day} }).run()
	next := newFakeHop(t, r.clk, 0)
	next.set(hopRejects)
	p, digest := r.relayed(next.Node)
	r.mustSend(p)
	r.mixOnce()
	eventually(t, "a refusal, padded", func() bool {
		_, junk := next.seen()
		return next.rejected.Load() == 1 && junk == 3
	})
	r.clk.await(t, 7*time.Minute)
	next.set(hopGood)
	r.clk.Advance(7 * time.Minute)
	eventually(t, "the second attempt, padded", func() bool {
		got, junk := next.seen()
		return got == 1 && junk == 6
	})
	r.close()
	if n := next.times(digest); n != 1 {
		t.Errorf("the packet arrived %d times", n)
	}
	if _, queues := r.stored(); len(queues) > 0 {
		t.Errorf("left: %v", queues)
	}
}

// Servers for which there is nothing are visited too. One that does not answer is no matter for the log, and gets its packets all the same.
func TestVisits(t *testing.T) {
	r, hops := coverRig(t, func(c *mix.Config) {
		c.Rule = mix.Rule{Algorithm: mix.Binomial, MinSize: 1 << 20, Rate: 0.4} // nothing leaves
	})
	hops[0].set(hopDown)
	r.run()
	eventually(t, "visits everywhere", func() bool {
		r.clk.Advance(testInterval)
		for i, h := range hops {
			packets, junk := h.seen()
			if packets > 0 {
				t.Fatal("a packet left the pool")
			}
			if i > 0 && junk < 8 {
				return false
			}
		}
		return hops[0].visits.Load() > 0
	})
	hops[0].set(hopGood)
	eventually(t, "a visit to a server that is up again", func() bool {
		r.clk.Advance(testInterval)
		_, junk := hops[0].seen()
		return junk > 0
	})
	// No time passes any more, so that visits end and no new ones begin.
	eventually(t, "whole numbers of items everywhere", func() bool {
		for _, h := range hops {
			if _, junk := h.seen(); junk%4 != 0 {
				return false
			}
		}
		return true
	})
	r.close()
	if n := r.log.count("cannot pass packets on"); n > 0 {
		t.Errorf("%d lines about visits", n)
	}
}
