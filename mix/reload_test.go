package mix_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/directory"
	"mixminion/mix"
	"mixminion/mmtp"
	"mixminion/packet"
)

// current is the text of the file that is given to others.
func (r *rig) current() string {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.cfg.KeyDir, mix.CurrentDescriptorFile))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// A new configuration is used at once: by the descriptor, the pool and the exits. Packets that came before it go by it, over a connection
// that stays open.
func TestReload(t *testing.T) {
	before, after := new(fakeExit), new(fakeExit)
	exits := func(x *fakeExit) []mix.ExitConfig {
		return []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: x, Retry: mix.Schedule{time.Hour}, Advertise: func(f *directory.Fields) {
			f.SMTP = &directory.Delivery{MaximumSize: 32, MaximumRecipients: 1}
		}}}
	}
	r := newRig(t, func(c *mix.Config) { c.Exits = exits(before) }).run()
	published := descriptors(t, r.cfg.KeyDir)["key_0001"]
	p, _ := r.exiting(packet.TypeSMTP)
	r.mustSend(p)

	next := r.cfg
	next.Exits, next.Contact, next.Interval = exits(after), "new@example.com", 3*time.Minute
	next.Nickname, next.Port = "renamed", 1 // cannot change
	if err := r.mix.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	d := r.mix.Descriptors()[0]
	if d.Contact != next.Contact || d.Nickname != r.cfg.Nickname || d.Incoming.Port != r.cfg.Port || !strings.Contains(r.current(), next.Contact) {
		t.Errorf("the descriptor says %q, %q, %d", d.Contact, d.Nickname, d.Incoming.Port)
	}
	if !d.ValidAfter.Equal(published.ValidAfter) || !d.PacketKey.Equal(published.PacketKey) {
		t.Error("another packet key")
	}
	r.mixThen(3 * time.Minute)
	eventually(t, "the message is delivered", func() bool { return r.mix.Counts().Delivered == 1 })
	if len(before.seen()) > 0 || len(after.seen()) == 0 {
		t.Error("delivered by the old exit")
	}
	q, digest := r.exiting(packet.TypeSMTP)
	r.mustSend(q) // by the connection of before
	r.clk.Advance(3 * time.Minute)
	eventually(t, "another message", func() bool { return after.tried(digest) == 1 })

	// What is wrong changes nothing.
	text := r.current()
	for name, change := range map[string]func(*mix.Config){
		"no interval":                  func(c *mix.Config) { c.Interval = 0 },
		"a descriptor that is refused": func(c *mix.Config) { c.Comments = strings.Repeat("x", 2000) },
	} {
		bad := next
		bad.Contact = "third@example.com"
		change(&bad)
		if err := r.mix.Reload(t.Context(), bad); err == nil {
			t.Errorf("%s: taken", name)
		}
		if r.current() != text || r.mix.Descriptors()[0].Contact != next.Contact {
			t.Errorf("%s: something changed", name)
		}
	}

	// An exit that is switched off takes no more packets.
	off := next
	off.Exits = nil
	if err := r.mix.Reload(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.current(), "[Delivery/SMTP]") {
		t.Error("the descriptor names the exit")
	}
	q, digest = r.exiting(packet.TypeSMTP)
	r.mustSend(q)
	r.close()
	if pool, _ := r.stored(); pool != 0 || after.tried(digest) != 0 {
		t.Error("a packet for no exit was kept")
	}
}

// mixThen lets the interval that runs pass, and waits until one of another length has begun.
func (r *rig) mixThen(interval time.Duration) {
	r.t.Helper()
	r.clk.Advance(r.cfg.Interval)
	r.clk.await(r.t, interval)
}

func TestErrandsOfAStoppedMix(t *testing.T) {
	r := newRig(t, nil).open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.mix.Reload(ctx, r.cfg); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	r.run()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.mix.Reload(t.Context(), r.cfg); !errors.Is(err, mix.ErrNotRunning) {
		t.Error(err)
	}
}

// What waits for another attempt is tried at once, and what is in the pool stays there.
func TestFlushQueues(t *testing.T) {
	var works atomic.Bool
	exit := &fakeExit{answer: func(delivery.Item, int) delivery.Outcome {
		if !works.Load() {
			return delivery.Outcome{Status: delivery.Retry, Reason: delivery.Deferred}
		}
		return delivery.Outcome{Status: delivery.Delivered}
	}}
	r := newRig(t, func(c *mix.Config) {
		c.OutgoingRetry = mix.Schedule{7 * time.Hour, 9 * time.Hour}
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{8 * time.Hour, 10 * time.Hour}}}
	}).run()
	next := newFakeHop(t, r.clk, 0)
	next.set(hopDown)
	p, relayed := r.relayed(next.Node)
	q, mailed := r.exiting(packet.TypeSMTP)
	r.mustSend(p, q)
	r.mixOnce()
	r.clk.await(t, 7*time.Hour)
	eventually(t, "an attempt at the exit", func() bool { return exit.tried(mailed) == 1 })
	pooled, stays := r.relayed(next.Node)
	r.mustSend(pooled)

	// Attempts beside the schedule use up nothing of it.
	eventually(t, "more attempts", func() bool {
		r.mix.FlushQueues() // passes over what is being tried already
		return next.visits.Load() >= 2 && exit.tried(mailed) >= 2
	})
	next.set(hopGood)
	works.Store(true)
	eventually(t, "all is gone", func() bool {
		r.mix.FlushQueues()
		c := r.mix.Counts()
		return c.Relayed == 1 && c.Delivered == 1
	})
	if next.times(relayed) != 1 || next.times(stays) != 0 {
		t.Error("a packet went twice, or around the pool")
	}
	r.close()
	if pool, _ := r.stored(); pool != 1 {
		t.Errorf("%d packets in the pool", pool)
	}
}

// An attempt that an operator asked for does not count.
func TestFlushKeepsTheSchedule(t *testing.T) {
	exit := &fakeExit{answer: func(delivery.Item, int) delivery.Outcome {
		return delivery.Outcome{Status: delivery.Retry, Reason: delivery.Deferred}
	}}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{8 * time.Hour, 10 * time.Hour}}}
	}).run()
	q, mailed := r.exiting(packet.TypeSMTP)
	r.mustSend(q)
	r.mixOnce()
	eventually(t, "many attempts", func() bool {
		r.mix.FlushQueues()
		return exit.tried(mailed) > 8
	})
	r.close()
	if items := r.exitItems(); len(items) != 1 || items[0].Attempts != 1 {
		t.Errorf("%+v", items)
	}
}

// A mix that drains rejects packets, mixes and sends what it has, and takes packets again when it is told so.
func TestDrain(t *testing.T) {
	r := newRig(t, nil).run()
	next := newFakeHop(t, r.clk, 0)
	p, digest := r.relayed(next.Node)
	r.mustSend(p)
	r.mix.Drain(true)
	if st := r.mix.Status(); !st.Draining || st.Drained {
		t.Errorf("%+v", st)
	}
	q, _ := r.relayed(next.Node)
	if err := r.send(items(q))[0]; !errors.Is(err, mmtp.ErrRejected) {
		t.Error(err)
	}
	r.mixOnce()
	eventually(t, "what it holds goes on", func() bool { return next.times(digest) == 1 })
	eventually(t, "it says that it is drained", func() bool {
		r.mixOnce()
		return r.mix.Status().Drained
	})
	r.mix.Drain(false)
	r.mustSend(q)
	if st := r.mix.Status(); st.Draining || st.Drained {
		t.Errorf("%+v", st)
	}
}

func TestRepublish(t *testing.T) {
	if n := newRig(t, nil).open().mix.Republish(); n != 0 {
		t.Errorf("to %d servers", n)
	}
	site := newUploadSite(t)
	r := newRig(t, func(c *mix.Config) { c.PublishTo = []string{site.URL} }).run()
	d := r.mix.Descriptors()[0]
	eventually(t, "the descriptor is published", func() bool { return site.took(d) == 1 })
	if n := r.mix.Republish(); n != 1 {
		t.Errorf("to %d servers", n)
	}
	eventually(t, "it is published again", func() bool { return site.took(d) == 2 })
	r.close()
}

// Nothing that the status says tells how much there is.
func TestStatusIsRounded(t *testing.T) {
	r := newRig(t, nil).run()
	empty := r.mix.Status()
	if empty.Nickname != "tested" || empty.Key != r.mix.KeyID().Fingerprint() || len(empty.Keys) == 0 || !empty.Keys[0].InUse ||
		empty.Pool != 100 || empty.Waiting != 100 || empty.Connections != 10 || empty.Disk%(10<<20) != 0 {
		t.Errorf("%+v", empty)
	}
	next := newFakeHop(t, r.clk, 0)
	next.set(hopDown)
	for range 3 {
		p, _ := r.relayed(next.Node)
		r.mustSend(p)
	}
	full := r.mix.Status()
	if full.Pool != empty.Pool || full.Waiting != empty.Waiting || full.Connections != empty.Connections || full.Disk != empty.Disk {
		t.Errorf("%+v is not %+v", full, empty)
	}
	keys := r.mix.PacketKeys()
	d := r.mix.Descriptors()[0]
	if k := keys[0]; k.Name != "key_0001" || !k.From.Equal(d.ValidAfter) || !k.Until.Equal(d.ValidUntil) || !k.Accepted.Equal(d.ValidUntil.Add(r.cfg.KeyOverlap)) {
		t.Errorf("%+v", k)
	}
}

// A key that is destroyed is gone with its replay log, and another one takes its place at once.
func TestDestroyKey(t *testing.T) {
	r := newRig(t, nil).run()
	if err := r.mix.DestroyKey(t.Context(), "key_0099"); !errors.Is(err, mix.ErrNoSuchKey) {
		t.Error(err)
	}
	old := r.node
	next := newFakeHop(t, r.clk, 0)
	p, held := r.relayed(next.Node) // what was unwrapped before goes on
	r.mustSend(p)
	if err := r.mix.DestroyKey(t.Context(), "key_0001"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.cfg.KeyDir, "key_0001")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the key is still there")
	}
	r.node = r.mix.Descriptors()[0].Node()
	if r.node.PacketKey.Equal(old.PacketKey) {
		t.Fatal("the old key is still published")
	}
	if !strings.Contains(r.current(), "[Server]") || len(descriptors(t, r.cfg.KeyDir)) != len(r.mix.PacketKeys()) {
		t.Error("the files do not show it")
	}
	read, err := mix.ReadKeys(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range r.mix.PacketKeys() {
		if read[i] != k {
			t.Errorf("%+v is read as %+v", k, read[i])
		}
	}
	q, fresh := r.relayed(next.Node)
	r.mustSend(q)
	r.mixOnce()
	eventually(t, "packets of both keys go on", func() bool { return next.times(held) == 1 && next.times(fresh) == 1 })
	r.close()
	r.open() // and it stays so
	if d := r.mix.Descriptors()[0]; !d.PacketKey.Equal(r.node.PacketKey) {
		t.Error("another key after a restart")
	}
}

// A reload changes the limits of a mix that runs: how many connections it takes, and how fast. What is open stays open.
func TestReloadLimits(t *testing.T) {
	r := newRig(t, nil).run()
	p, _ := r.relayed(newFakeHop(t, r.clk, 0).Node)
	r.mustSend(p)

	next := r.cfg
	next.Incoming.TotalRate = 1
	next.Bandwidth = 1 << 20
	if err := r.mix.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	p, _ = r.relayed(newFakeHop(t, r.clk, 1).Node)
	r.mustSend(p) // over the connection that is there
	stranger := mmtp.NewClient(mmtp.ClientConfig{Now: r.clk.Now})
	defer stranger.Close()
	if _, err := stranger.Probe(t.Context(), r.node.Hop); err != nil {
		t.Errorf("the one connection of this minute: %v", err)
	}
	if _, err := stranger.Probe(t.Context(), r.node.Hop); err == nil {
		t.Error("a second connection in this minute")
	}

	next.Incoming.TotalRate = 0
	if err := r.mix.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Probe(t.Context(), r.node.Hop); err != nil {
		t.Errorf("after the limit was lifted: %v", err)
	}
}
