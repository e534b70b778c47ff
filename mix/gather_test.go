package mix_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/reassemble"
	"mixminion/internal/store"
	"mixminion/message"
	"mixminion/mix"
	"mixminion/packet"
)

// wholeExit keeps the messages that it gets.
type wholeExit struct {
	answer func(delivery.Item) delivery.Outcome // nil: delivers

	mu  sync.Mutex
	got []delivery.Item
}

// Deliver implements delivery.Exit.
func (x *wholeExit) Deliver(_ context.Context, items iter.Seq[delivery.Item], done func(uint64, delivery.Outcome)) error {
	for it := range items {
		out := delivery.Outcome{Status: delivery.Delivered}
		if x.answer != nil {
			out = x.answer(it)
		}
		x.mu.Lock()
		it.Info, it.Reassembled = bytes.Clone(it.Info), bytes.Clone(it.Reassembled)
		x.got = append(x.got, it)
		x.mu.Unlock()
		done(it.ID, out)
	}
	return nil
}

func (x *wholeExit) seen() []delivery.Item {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.got)
}

var somebody = []byte("somebody@example.com")

// gatherRig is a mix that puts messages together and hands them to exit.
func gatherRig(t *testing.T, exit delivery.Exit, change func(*mix.Gather)) *rig {
	t.Helper()
	g := mix.Gather{Limits: reassemble.Limits{Size: 1 << 20, Bytes: 64 << 20, Messages: 100}, Wait: 2 * day}
	if change != nil {
		change(&g)
	}
	return newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{7 * time.Hour, 7 * time.Hour}}, gatherExit(t, g)}
	})
}

func gatherExit(t *testing.T, g mix.Gather) mix.ExitConfig {
	t.Helper()
	x, err := mix.FragmentExit(g)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// fragmented builds the packets of a message of size random bytes, which do not shrink, for an exit of the mix.
func (r *rig) fragmented(size int, to packet.RoutingType) (body []byte, packets []*packet.Packet) {
	r.t.Helper()
	body = make([]byte, size)
	rand.Read(body)
	enc, err := message.EncodeForServer(rand.Reader, append([]byte("\n"), body...), to, somebody)
	if err != nil || !enc.Fragmented {
		r.t.Fatal(err)
	}
	for i := range enc.Payloads {
		p, err := packet.BuildForward(rand.Reader, []packet.Node{r.node}, []packet.Node{r.node}, packet.Exit{Type: packet.TypeFragment}, &enc.Payloads[i])
		if err != nil {
			r.t.Fatal(err)
		}
		packets = append(packets, p)
	}
	return body, packets
}

// gather sends packets and waits until the mix has looked at them.
func (r *rig) gather(packets ...*packet.Packet) {
	r.t.Helper()
	r.mustSend(packets...)
	r.mixOnce()
	r.clk.await(r.t, time.Hour)
}

func (r *rig) bodyOf(it delivery.Item) []byte {
	r.t.Helper()
	d, err := message.DecodeReassembled(it.Reassembled)
	if err != nil || it.Payload != nil || it.Type != packet.TypeSMTP || !bytes.Equal(it.Info, somebody) {
		r.t.Fatalf("%v, to %v", err, it.Type)
	}
	return d.Body
}

// inClear reports whether pieces of a message, or its address, stand in a file of the packet store.
func inClear(t *testing.T, dir string, body []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || bytes.Contains(data, somebody)
		for i := 0; i+32 <= len(body); i += 1000 { // what cannot be compressed stands in compressed data as it is
			found = found || bytes.Contains(data, body[i:i+32])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A message is delivered once enough fragments are there, over stops of the mix, and never lies on the disk in the clear.
func TestFragments(t *testing.T) {
	ready := false
	exit := &wholeExit{answer: func(delivery.Item) delivery.Outcome {
		if ready {
			return delivery.Outcome{Status: delivery.Delivered}
		}
		return delivery.Outcome{}
	}}
	r := gatherRig(t, exit, nil).run()
	body, packets := r.fragmented(100_000, packet.TypeSMTP) // 4 of 6
	_, other := r.fragmented(40_000, packet.TypeSMTP)
	for i := range 3 {
		r.gather(packets[i+1])
		if i == 1 {
			r.gather(other[0])
			r.close()
			r.run()
			r.clk.await(t, time.Hour)
		}
		if len(exit.seen()) != 0 || inClear(t, r.cfg.QueueDir, body) {
			t.Fatalf("after %d fragments the message can be read", i+1)
		}
	}
	r.mustSend(packets[4], packets[5]) // one more than enough
	r.mixOnce()
	eventually(t, "the message is tried", func() bool { return len(exit.seen()) == 1 })
	if first := exit.seen()[0]; !bytes.Equal(r.bodyOf(first), body) {
		t.Fatal("the message differs")
	}
	r.close()
	if inClear(t, r.cfg.QueueDir, body) {
		t.Error("a message that waits for the mail server lies on the disk in the clear")
	}
	r.inspect(func(s *store.Store) {
		if n := s.Usage().Packets; n != 5 {
			t.Errorf("%d packets are kept, not 4 of the message and one of the other", n)
		}
	})
	control := t.TempDir()
	if err := os.WriteFile(filepath.Join(control, "whole"), exit.seen()[0].Reassembled, 0o600); err != nil || !inClear(t, control, body) {
		t.Errorf("the search would not have found it: %v", err)
	}
	ready = true
	r.run()
	r.clk.await(t, time.Hour)
	r.clk.Advance(7 * time.Hour)
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
	seen := exit.seen()
	if len(seen) != 2 || seen[0].Nonce != seen[1].Nonce || !seen[0].Queued.Equal(seen[1].Queued) || seen[0].Nonce == [16]byte{} {
		t.Errorf("%d attempts, or the second mail is another one", len(seen))
	}
	// The message is remembered over a stop.
	r.close()
	r.run()
	r.gather(packets[0])
	r.close()
	if n := r.waitingFragments(); n != 1 {
		t.Errorf("%d fragments wait, not that of the other message", n)
	}
	if len(exit.seen()) != 2 {
		t.Error("the message was delivered twice")
	}
}

// waitingFragments counts the packets in the store of a closed mix, without the records of finished messages.
func (r *rig) waitingFragments() (n int) {
	r.inspect(func(s *store.Store) {
		for _, q := range s.Queues() {
			if q.Name != "f" {
				n += q.Count
			}
		}
	})
	return n
}

// A mix that is killed between the delivery and its note of it delivers once more, under the same name; a copy of its files is what
// kill -9 leaves.
func TestKilledAtDelivery(t *testing.T) {
	var r *rig
	copied := t.TempDir()
	exit := &wholeExit{}
	exit.answer = func(delivery.Item) delivery.Outcome {
		if err := os.CopyFS(filepath.Join(copied, "queues"), os.DirFS(r.cfg.QueueDir)); err != nil {
			t.Error(err)
		}
		if err := os.CopyFS(filepath.Join(copied, "keys"), os.DirFS(r.cfg.KeyDir)); err != nil {
			t.Error(err)
		}
		return delivery.Outcome{Status: delivery.Delivered}
	}
	r = gatherRig(t, exit, nil).run()
	body, packets := r.fragmented(40_000, packet.TypeSMTP)
	r.mustSend(packets[:2]...)
	r.mixOnce()
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
	r.close()
	if n := r.waitingFragments(); n != 0 {
		t.Errorf("%d fragments are left", n)
	}
	exit.answer = nil
	r.cfg.QueueDir, r.cfg.KeyDir = filepath.Join(copied, "queues"), filepath.Join(copied, "keys")
	for _, dir := range []string{r.cfg.QueueDir, r.cfg.KeyDir} {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.run()
	eventually(t, "it is delivered again", func() bool { return r.mix.Counts().Delivered == 1 })
	seen := exit.seen()
	if len(seen) != 2 || seen[0].Nonce != seen[1].Nonce || !seen[0].Queued.Equal(seen[1].Queued) || !bytes.Equal(r.bodyOf(seen[1]), body) {
		t.Errorf("%d deliveries, or the second is another one", len(seen))
	}
}

// Fragments whose message does not become whole in time go, at a midnight.
func TestFragmentsExpire(t *testing.T) {
	r := gatherRig(t, &wholeExit{}, nil).run()
	_, packets := r.fragmented(40_000, packet.TypeSMTP)
	r.gather(packets[0])
	r.clk.Advance(2*day + 14*time.Hour) // 23:05 of the second day after
	r.clk.await(t, time.Hour)
	if n := r.mix.Counts().Dropped; n != 0 {
		t.Fatalf("%d fragments are dropped before their time", n)
	}
	r.clk.Advance(time.Hour)
	eventually(t, "it is dropped", func() bool { return r.mix.Counts().Dropped == 1 })
	r.close()
	if n := r.waitingFragments(); n != 0 {
		t.Errorf("%d fragments wait", n)
	}
}

// Fragments that the disk does not give back after a start go when their time is over; a start before then finds them again.
func TestFragmentsThatCannotBeRead(t *testing.T) {
	r := gatherRig(t, &wholeExit{}, nil).run()
	_, packets := r.fragmented(100_000, packet.TypeSMTP)
	r.gather(packets[:2]...)
	unreadable := func() (repair func()) {
		t.Helper()
		segments, err := filepath.Glob(filepath.Join(r.cfg.QueueDir, "*.seg"))
		if err != nil || len(segments) == 0 {
			t.Fatal(err)
		}
		r.open()
		data := mustRead(t, segments[0])
		if err := os.Truncate(segments[0], 0); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.clk.await(t, time.Hour)
		return func() {
			t.Helper()
			if err := os.WriteFile(segments[0], data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.close()
	repair := unreadable()
	r.clk.Advance(day)
	r.clk.await(t, time.Hour)
	repair()
	r.close()
	if n := r.waitingFragments(); n != 2 {
		t.Fatalf("%d fragments wait, not 2", n)
	}
	repair = unreadable()
	r.clk.Advance(2 * day)
	eventually(t, "they are given up", func() bool { return r.mix.Counts().Dropped == 2 })
	repair()
	r.close()
	if n := r.waitingFragments(); n != 0 {
		t.Errorf("%d fragments wait", n)
	}
}

// A flood takes no more room than it may, and the message that comes in meanwhile is delivered.
func TestFragmentFlood(t *testing.T) {
	exit := &wholeExit{}
	r := gatherRig(t, exit, func(g *mix.Gather) { g.Size, g.Bytes = 60_000, 16*packet.PayloadLen }).run()
	_, packets := r.fragmented(40_000, packet.TypeSMTP)
	flood := func(n int) {
		var all []*packet.Packet
		for range n {
			_, p := r.fragmented(30_000, packet.TypeSMTP)
			all = append(all, p[0])
		}
		r.gather(all...)
	}
	flood(10)
	r.gather(packets[0])
	flood(10)
	r.mustSend(packets[2])
	r.mixOnce()
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
	flood(5)
	if n := r.log.count("take all the space"); n != 1 {
		t.Errorf("%d warnings", n)
	}
	dropped := r.mix.Counts().Dropped
	r.close()
	if n := r.waitingFragments(); n > 16 || n+int(dropped) != 25 {
		t.Errorf("%d fragments wait, %d are dropped", n, dropped)
	}
}

// writerFunc is an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Fragments that come while others are being put together are looked at right after them.
func TestFragmentsThatComeMeanwhile(t *testing.T) {
	r := gatherRig(t, &wholeExit{}, func(g *mix.Gather) { g.Size, g.Bytes = 60_000, 16*packet.PayloadLen })
	r.cfg.Interval = 20 * time.Second // less than the minute that is waited with what cannot be helped
	busy, goOn := make(chan struct{}), make(chan struct{})
	r.cfg.Logger = slog.New(slog.NewTextHandler(writerFunc(func(line []byte) (int, error) {
		if bytes.Contains(line, []byte("take all the space")) { // it is at work, and says so once a day at most
			close(busy)
			<-goOn
		}
		return r.log.Write(line)
	}), nil))
	r.run()
	var flood []*packet.Packet
	for range 20 {
		_, p := r.fragmented(30_000, packet.TypeSMTP)
		flood = append(flood, p[0])
	}
	r.mustSend(flood...)
	r.mixOnce()
	<-busy
	_, packets := r.fragmented(40_000, packet.TypeSMTP)
	r.mustSend(packets[:2]...)
	r.mixOnce()
	close(goOn)
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
}

// What cannot be delivered is dropped, and counted.
func TestFragmentsRefused(t *testing.T) {
	exit := &wholeExit{}
	r := gatherRig(t, exit, func(g *mix.Gather) { g.Size = 110_000 }).run()
	_, nowhere := r.fragmented(40_000, packet.TypeMBOX)
	_, large := r.fragmented(112_000, packet.TypeSMTP) // as many fragments as 110,000 bytes
	_, larger := r.fragmented(300_000, packet.TypeSMTP)
	junk, _ := r.exiting(packet.TypeFragment)
	var all []*packet.Packet
	all = append(append(append(append(all, nowhere[:2]...), large[:4]...), larger[0]), junk)
	r.gather(all...)
	eventually(t, "they are dropped", func() bool { return r.mix.Counts().Dropped == 8 })
	r.close()
	if n := r.waitingFragments(); n != 0 || len(exit.seen()) != 0 {
		t.Errorf("%d fragments wait, %d messages are delivered", n, len(exit.seen()))
	}
}

// What waits is not lost when the operator changes the limits, or switches reassembly off and on again, except for what exceeds them.
func TestFragmentsAndReload(t *testing.T) {
	exit := &wholeExit{}
	r := gatherRig(t, exit, nil).run()
	_, packets := r.fragmented(100_000, packet.TypeSMTP)
	r.gather(packets[:3]...)
	on := r.cfg
	off := r.cfg
	off.Exits = off.Exits[:1]
	if err := r.mix.Reload(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	r.clk.Advance(2 * time.Hour)
	r.clk.await(t, time.Hour)
	r.close()
	r.cfg.Exits = off.Exits
	r.run()
	r.clk.await(t, time.Hour)
	if err := r.mix.Reload(t.Context(), on); err != nil {
		t.Fatal(err)
	}
	r.mustSend(packets[4])
	r.mixOnce()
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })

	_, packets = r.fragmented(100_000, packet.TypeSMTP)
	r.gather(packets[0])
	less := on
	less.Exits = []mix.ExitConfig{on.Exits[0], gatherExit(t, mix.Gather{Limits: reassemble.Limits{Size: math.MaxInt32}, Wait: day})}
	if err := r.mix.Reload(t.Context(), less); err != nil {
		t.Fatal(err)
	}
	r.clk.Advance(2 * time.Hour)
	eventually(t, "what exceeds the limits is dropped", func() bool { return r.mix.Counts().Dropped == 1 })
}

// To whom of several recipients a whole message has gone is on the disk as soon as the exit knows it.
func TestWholeServed(t *testing.T) {
	exit := &wholeExit{}
	r := gatherRig(t, exit, nil)
	copied := t.TempDir()
	exit.answer = func(it delivery.Item) delivery.Outcome {
		it.Settle(2)
		if err := os.CopyFS(filepath.Join(copied, "queues"), os.DirFS(r.cfg.QueueDir)); err != nil {
			t.Error(err)
		}
		return delivery.Outcome{Served: 3}
	}
	r.run()
	_, packets := r.fragmented(40_000, packet.TypeSMTP)
	r.mustSend(packets...)
	r.mixOnce()
	eventually(t, "the message is tried", func() bool { return len(exit.seen()) == 1 })
	again := func(want uint8, wait bool) {
		t.Helper()
		r.close()
		exit.answer = func(delivery.Item) delivery.Outcome { return delivery.Outcome{} }
		n := len(exit.seen())
		r.clk.forget()
		r.run()
		if wait {
			r.clk.awaitWithin(t, 6*time.Hour, 7*time.Hour+1)
			r.clk.Advance(8 * time.Hour)
		}
		eventually(t, "the message is tried again", func() bool { return len(exit.seen()) == n+1 })
		if got := exit.seen()[n].Served; got != want {
			t.Errorf("served are %b, not %b", got, want)
		}
	}
	again(3, true)
	// A mix that was killed while the exit was at work knows what had been settled.
	r.close()
	if err := os.Chmod(filepath.Join(copied, "queues"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.cfg.QueueDir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(r.cfg.QueueDir, os.DirFS(filepath.Join(copied, "queues"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.cfg.QueueDir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.open()
	again(2, false) // what was cut short is due at once
}
