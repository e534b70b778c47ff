package mix_test

import (
	"crypto/rand"
	"errors"
	"regexp"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/store"
	"mixminion/mix"
	"mixminion/packet"
)

// A key that was begun ahead of time is what senders take from then on, and what was promised by the old one is kept.
func TestRotate(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *mix.Config) {
		c.Interval = 1000 * day // what arrives stays in the pool, to be counted
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: new(fakeExit)}}
	}).run()
	old := r.mix.Descriptors()[0]
	oldNode := old.Node()
	oldNode.Port = r.cfg.Port
	secret := make([]byte, 20)
	rand.Read(secret)
	expires := start.Truncate(day).Add(10 * day)
	surb, _, err := packet.BuildSURB(rand.Reader, []packet.Node{oldNode}, packet.TypeSMTP, []byte("a@b.example"), secret, expires)
	if err != nil {
		t.Fatal(err)
	}

	name, err := r.mix.Rotate(t.Context())
	if err != nil || name != "key_0002" {
		t.Fatalf("rotate: %q, %v", name, err)
	}
	descs := r.mix.Descriptors()
	if len(descs) != 1 || descs[0].PacketKey.Equal(old.PacketKey) || !descs[0].LiveAt(start) || !descs[0].ValidUntil.Equal(old.ValidUntil) {
		t.Fatalf("%d descriptors are published; the first is valid from %v to %v", len(descs), descs[0].ValidAfter, descs[0].ValidUntil)
	}
	if best := directory.Newest([]*directory.Descriptor{descs[0], old}, start, start.Add(7*day)); len(best) != 1 || best[0] != descs[0] {
		t.Error("senders do not take the new key")
	}
	newNode := descs[0].Node()
	newNode.Port = r.cfg.Port

	// A changed configuration does not bring the old descriptor back.
	r.cfg.Contact = "changed@example.com"
	r.clk.Advance(time.Minute)
	if err := r.mix.Reload(t.Context(), r.cfg); err != nil {
		t.Fatal(err)
	}
	if descs := r.mix.Descriptors(); len(descs) != 1 || descs[0].Contact != r.cfg.Contact || !descs[0].PacketKey.Equal(newNode.PacketKey) {
		t.Error("after a reload not the new key alone is published")
	}

	accepted := 0
	arrive := func(what string, packets ...*packet.Packet) {
		t.Helper()
		r.mustSend(packets...)
		r.close()
		accepted += len(packets)
		if pool, _ := r.stored(); pool != accepted {
			t.Errorf("%s: %d packets are in the pool, want %d", what, pool, accepted)
			accepted = pool
		}
		oldNode.Port, newNode.Port = r.cfg.Port, r.cfg.Port
	}
	exiting := func(node packet.Node) *packet.Packet {
		t.Helper()
		p, _ := packetVia(t, []packet.Node{node}, []packet.Node{node}, packet.TypeSMTP)
		return p
	}
	arrive("on the first day", exiting(oldNode), exiting(newNode))
	r.clk.Advance(expires.Add(-time.Hour).Sub(r.clk.Now()))
	r.run()
	payload, _ := randomPayload()
	newNode.Port = r.cfg.Port
	reply, err := packet.BuildReply(rand.Reader, []packet.Node{newNode}, surb, payload)
	if err != nil {
		t.Fatal(err)
	}
	arrive("the old reply block", reply)
}

// However often an operator wants new keys, never more than three are in use; and what a refusal promises is kept.
func TestRotateAgainAndAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil).open()
	if _, err := mix.RotateStopped(r.cfg); !errors.Is(err, store.ErrLocked) {
		t.Fatalf("a mix that is open was opened a second time: %v", err)
	}
	r.close()
	days := 80
	if underRace {
		days = 12
	}
	promised := regexp.MustCompile(`possible on (\d{4}-\d\d-\d\d)`)
	var due time.Time
	rotated := 0
	for range days {
		now := r.clk.Now()
		_, err := mix.RotateStopped(r.cfg)
		switch {
		case err == nil:
			// What is refused at midnight may be possible in the morning.
			if rotated++; !due.IsZero() && (due.Sub(now) > day || now.Sub(due) > day) {
				t.Errorf("%v was promised, %v it is", due, now)
			}
			due = time.Time{}
		case !errors.Is(err, mix.ErrTooManyKeys):
			t.Fatal(err)
		default:
			m := promised.FindStringSubmatch(err.Error())
			if m == nil {
				t.Fatalf("no day is promised: %v", err)
			}
			day, err := time.Parse(time.DateOnly, m[1])
			if err != nil || !day.After(now) {
				t.Fatalf("promised on %v: %v, %v", now, day, err)
			}
			if !due.IsZero() && !due.Equal(day) {
				t.Errorf("on %v the promised day moved from %v to %v", now, due, day)
			}
			due = day
		}
		inUse := 0
		for _, d := range descriptors(t, r.cfg.KeyDir) {
			if !now.Before(d.ValidAfter.Add(-day)) && !now.After(d.ValidUntil.Add(r.cfg.KeyOverlap)) {
				inUse++
			}
		}
		if inUse > 3 {
			t.Fatalf("on %v, %d keys are in use", now, inUse)
		}
		var published []*directory.Descriptor
		for _, text := range directory.SplitDescriptors(mustRead(t, r.keyPath(mix.CurrentDescriptorFile))) {
			d, err := directory.ParseDescriptor(text)
			if err != nil {
				t.Fatal(err)
			}
			published = append(published, d)
		}
		if len(directory.Newest(published, now, now.Add(7*day))) != 1 {
			t.Errorf("on %v no published descriptor covers a week", now)
		}
		r.clk.Advance(day)
	}
	if !underRace && rotated < 3 {
		t.Errorf("only %d rotations", rotated)
	}
}

// A clock that was set back leaves descriptors from the future, in whose place none of now can step.
func TestRotateClockBehind(t *testing.T) {
	r := newRig(t, nil).open()
	r.setClock(start.Add(-2 * time.Hour))
	r.close()
	if _, err := mix.RotateStopped(r.cfg); !errors.Is(err, mix.ErrClockBehind) {
		t.Errorf("error %v", err)
	}
	r.open()
	r.setClock(start)
	r.close()
	if name, err := mix.RotateStopped(r.cfg); err != nil || name == "" {
		t.Errorf("%q, %v", name, err)
	}
}
