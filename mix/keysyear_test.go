package mix_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/mix"
	"mixminion/packet"
)

// Whenever a reply block for seven days was made, it works to its last hour, though the mix changes its keys meanwhile.
func TestReplyBlocksWorkToTheirLastHour(t *testing.T) {
	t.Parallel()
	const lifetime = 7 * day
	days, keys := 60, 3
	if underRace {
		days, keys = 10, 1
	}
	r := newRig(t, func(c *mix.Config) {
		c.Interval = 1000 * day // what arrives stays in the pool, to be counted
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: new(fakeExit)}}
	})
	r.open()
	at := func(moment time.Time) {
		r.clk.Advance(moment.Sub(r.clk.Now()))
		r.reopen()
	}
	secret := make([]byte, 20)
	rand.Read(secret)
	waiting := map[time.Time]*packet.SURB{} // by the midnight on which they expire
	used := map[crypt.Digest]bool{}         // packet keys that blocks were made for
	midnight := start.Truncate(day)
	stored := 0
	for d := range days + 7 {
		today := midnight.Add(time.Duration(d) * day)
		at(today.Add(9 * time.Hour))
		now := r.clk.Now()
		if d < days {
			fit := directory.Newest(r.mix.Descriptors(), now, now.Add(lifetime))
			if len(fit) != 1 {
				t.Fatalf("day %d: no descriptor covers a reply block's lifetime", d)
			}
			node := fit[0].Node()
			node.Port = r.cfg.Port
			surb, _, err := packet.BuildSURB(rand.Reader, []packet.Node{node}, packet.TypeSMTP, []byte("a@b.example"), secret, now.Add(lifetime))
			if err != nil {
				t.Fatal(err)
			}
			waiting[today.Add(lifetime)] = surb
			used[crypt.Hash(crypt.EncodePublicKey(node.PacketKey))] = true
		}
		tomorrow := today.Add(day)
		surb, due := waiting[tomorrow]
		if !due {
			continue
		}
		at(tomorrow.Add(-30 * time.Minute))
		payload, _ := randomPayload()
		entry := r.mix.Descriptors()[0].Node()
		entry.Port = r.cfg.Port
		p, err := packet.BuildReply(rand.Reader, []packet.Node{entry}, surb, payload)
		if err != nil {
			t.Fatal(err)
		}
		r.run()
		r.mustSend(p)
		r.close()
		stored++
		if pool, _ := r.stored(); pool != stored {
			t.Errorf("the reply block of %v does not work half an hour before its end", tomorrow.Add(-lifetime).Format(time.DateOnly))
			stored = pool
		}
		r.open()
	}
	if stored != days || len(used) < keys {
		t.Errorf("%d of %d answers arrived, over %d packet keys", stored, days, len(used))
	}
}

// A year of a mix whose operator stops it now and then, whose machine dies while it makes keys, and whose clock is set
// forth and back. At each start there are keys to work with, at most two in use, and nothing is left of those that are
// over; and whoever connects gets a link certificate that is valid, and the next day another one.
func TestKeysOverAYear(t *testing.T) {
	t.Parallel()
	seeds := uint64(2)
	if underRace {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			keysOverAYear(t, mathrand.New(mathrand.NewPCG(seed, 0)))
		})
	}
}

func keysOverAYear(t *testing.T, rnd *mathrand.Rand) {
	r := newRig(t, nil).open()
	id := r.mix.KeyID()
	end := start.Add(365 * day)
	for step := 0; r.clk.Now().Before(end); step++ {
		what := []string{"days", "days", "days", "weeks", "stop", "crash", "forth", "back"}[rnd.IntN(8)]
		switch what {
		case "days":
			r.clk.Advance(time.Duration(1+rnd.IntN(5*24)) * time.Hour)
		case "weeks":
			r.clk.Advance(time.Duration(1+rnd.IntN(20)) * day)
		case "stop":
			r.clk.Advance(time.Duration(20+rnd.IntN(70)) * day)
		case "forth", "back":
			hours := time.Duration(1+rnd.IntN(72)) * time.Hour
			if what == "back" {
				hours = -hours
			}
			r.setClock(r.clk.Now().Add(hours))
		case "crash":
			r.crashWhileMakingKey(rnd.IntN(2) == 0)
		}
		r.reopen()
		when := fmt.Sprintf("step %d (%s), %v", step, what, r.clk.Now().Format(time.DateTime))
		if r.mix.KeyID() != id {
			r.t.Fatalf("%s: the identity changed", when)
		}
		r.checkAnyKeys(when)
		if step%16 == 3 {
			r.checkLinks(when)
		}
	}
	// Four weeks without trouble, and all is regular again.
	for range 28 {
		r.clk.Advance(day)
		r.reopen()
	}
	r.checkAnyKeys("at the end")
	descs := r.mix.Descriptors()
	now := r.clk.Now()
	if !slices.ContainsFunc(descs, func(d *directory.Descriptor) bool { return d.ValidOver(now, now.Add(7*day)) }) {
		r.t.Errorf("at the end no descriptor covers the next seven days")
	}
	if last := descs[len(descs)-1]; int(last.ValidAfter.Weekday()) != ownWeekday(id) {
		r.t.Errorf("at the end a key begins on a %v", last.ValidAfter.Weekday())
	}
}

// setClock makes the clock show another time, as an operator does while the mix is stopped.
func (r *rig) setClock(now time.Time) {
	r.close()
	r.clk = newTestClock(now)
	r.cfg.Clock = r.clk
	if err := r.tryOpen(); err != nil {
		r.t.Fatal(err)
	}
}

// crashWhileMakingKey leaves what a power failure leaves while a key set is made: everything but the key file, which is written last.
func (r *rig) crashWhileMakingKey(withDescriptor bool) {
	r.close()
	dir := r.keyPath("key_9000")
	if err := os.MkdirAll(filepath.Join(dir, "replay"), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if withDescriptor {
		sets := r.keySets()
		mustWrite(r.t, filepath.Join(dir, "ServerDesc"), mustRead(r.t, r.keyPath(sets[0], "ServerDesc")))
	}
	if err := r.tryOpen(); err != nil {
		r.t.Fatal(err)
	}
	if exists(r.t, dir) {
		r.t.Error("a key set that was never finished is still there")
	}
}

// checkLinks runs the mix for two days and looks at its link certificates.
func (r *rig) checkLinks(when string) {
	r.t.Helper()
	r.run()
	var keys [][]byte
	for _, wait := range []time.Duration{0, 12 * time.Hour, 13 * time.Hour, 12 * time.Hour, 13 * time.Hour} {
		r.clk.Advance(wait)
		conn, err := tls.Dial("tcp", r.listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		if err != nil {
			r.t.Fatalf("%s: %v", when, err)
		}
		leaf := conn.ConnectionState().PeerCertificates[0]
		if err := conn.Close(); err != nil {
			r.t.Error(err)
		}
		if now := r.clk.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			r.t.Errorf("%s: at %v the link certificate is valid from %v to %v", when, now, leaf.NotBefore, leaf.NotAfter)
		}
		keys = append(keys, leaf.RawSubjectPublicKeyInfo)
	}
	slices.SortFunc(keys, bytes.Compare)
	if n := len(slices.CompactFunc(keys, bytes.Equal)); n != 3 {
		r.t.Errorf("%s: %d link keys in two days and two hours", when, n)
	}
	r.reopen()
	r.checkAnyKeys(when)
}

// checkAnyKeys demands what must hold after any start, whatever happened before.
func (r *rig) checkAnyKeys(when string) {
	now := r.clk.Now()
	live := 0
	for name, d := range descriptors(r.t, r.cfg.KeyDir) {
		if !exists(r.t, r.keyPath(name, "mix.key")) || !exists(r.t, r.keyPath(name, "replay")) {
			r.t.Errorf("%s: %s is not whole", when, name)
		}
		if now.After(d.ValidUntil.Add(r.cfg.KeyOverlap)) {
			r.t.Errorf("%s: %s is still there though it ended at %v", when, name, d.ValidUntil)
		}
	}
	for _, d := range r.mix.Descriptors() {
		if d.LiveAt(now) {
			live++
		}
	}
	if live < 1 || live > 2 {
		r.t.Errorf("%s: %d of the published keys are valid", when, live)
	}
}
