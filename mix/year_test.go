package mix_test

import (
	"fmt"
	"io/fs"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/mix"
	"mixminion/packet"
)

// A mix runs through a year, with packets, in which its operator stops it now and then, its machine dies, its next hop
// is down, and its clock is set forth and back, while it runs or not. Who sends to what it publishes finds his packet
// taken and passed on once; its keys and its link certificate are always good; and the directory server knows them.
func TestAYear(t *testing.T) {
	t.Parallel()
	length := 365 * day
	if underRace {
		length = 60 * day
	}
	site := newUploadSite(t)
	r := newRig(t, func(c *mix.Config) {
		c.PublishTo = []string{site.URL}
		c.OutgoingRetry = everyHour
	})
	y := &year{rig: r, next: newFakeHop(t, r.clk, 0), site: site, rnd: mathrand.New(mathrand.NewPCG(8, 0)), sent: map[crypt.Digest]*packet.Packet{}}
	r.run()
	id := r.mix.KeyID()
	happened := map[string]int{}
	for end := start.Add(length); r.clk.Now().Before(end); {
		what := y.step()
		happened[what]++
		y.when = fmt.Sprintf("%s, %v", what, r.clk.Now().Format(time.DateTime))
		if r.mix.KeyID() != id {
			t.Fatalf("%s: the identity changed", y.when)
		}
		y.look()
	}
	t.Logf("%d packets; %v", len(y.sent), happened)
	if y.replay(); !underRace && len(happened) < 7 {
		t.Errorf("little happened: %v", happened)
	}
	r.close()
}

type year struct {
	*rig
	next *fakeHop
	site *uploadSite
	rnd  *mathrand.Rand
	when string
	sent map[crypt.Digest]*packet.Packet // those that were acknowledged
}

// step lets time pass, and something happen, and returns what.
func (y *year) step() string {
	hours := func(most int) time.Duration { return time.Duration(1+y.rnd.IntN(most)) * time.Hour }
	jump := hours(72) * time.Duration(2*y.rnd.IntN(2)-1)
	switch y.rnd.IntN(10) {
	default:
		for range 1 + y.rnd.IntN(9) {
			y.pass(hours(30))
		}
		return "days"
	case 0:
		y.close()
		y.clk.Advance(hours(40 * 24))
		y.run()
		return "stop"
	case 1:
		y.send1()
		y.crash()
		return "crash"
	case 2:
		y.clk.jump(jump)
		return "clock set"
	case 3:
		y.close()
		y.clk.jump(jump)
		y.run()
		return "stop, clock set"
	case 4:
		y.next.set(hopDown)
		y.send1()
		y.pass(testInterval)
		y.pass(hours(48))
		y.next.set(hopGood)
		return "next hop down"
	case 5:
		y.next.set(hopRejects)
		y.send1()
		y.pass(testInterval)
		y.clk.jump(jump)
		y.crash()
		y.next.set(hopGood)
		return "next hop full, clock set, crash"
	}
}

// pass lets time pass, and waits until the mix has mixed and looked after its keys.
func (y *year) pass(d time.Duration) {
	y.clk.Advance(d)
	y.clk.await(y.t, testInterval)
	if d >= time.Hour {
		y.clk.await(y.t, time.Hour)
	}
}

// look sends a packet as somebody does who has the descriptors, and looks whether all is as it should be.
func (y *year) look() {
	y.t.Helper()
	y.pass(time.Hour)
	y.checkAnyKeys(y.when)
	y.send1()
	y.pass(testInterval)
	eventually(y.t, y.when+": each packet has arrived", func() bool {
		y.mix.FlushQueues() // the next attempt may be days away
		return y.next.total() >= len(y.sent)
	})
	// What the next hop has is sent once more if the mix ends before it hears of that.
	eventually(y.t, y.when+": the mix is done with each packet", y.holdsNothing)
	for digest := range y.sent {
		if n := y.next.times(digest); n != 1 {
			y.t.Fatalf("%s: a packet arrived %d times", y.when, n)
		}
	}
	for _, d := range y.mix.Descriptors() {
		eventually(y.t, y.when+": the descriptor is published", func() bool { return y.site.took(d) > 0 })
	}
}

// holdsNothing reports whether the mix has no packet on its disk.
func (y *year) holdsNothing() bool {
	dir := y.t.TempDir()
	for name, data := range y.files() {
		if filepath.Dir(name) == y.cfg.QueueDir {
			mustWrite(y.t, filepath.Join(dir, filepath.Base(name)), []byte(data))
		}
	}
	report, err := store.Check(store.OS, dir)
	return err == nil && report.Segments > 0 && report.Packets == 0
}

// send1 sends a packet to what is published now.
func (y *year) send1() {
	y.t.Helper()
	now := y.clk.Now()
	fit := directory.Newest(y.mix.Descriptors(), now, now.Add(7*day))
	if len(fit) != 1 {
		y.t.Fatalf("%s: no descriptor covers the next seven days", y.when)
	}
	y.node = fit[0].Node()
	y.node.Port = y.cfg.Port
	if y.client != nil { // a new connection, and so a new certificate
		y.client.Close()
		y.client = nil
	}
	p, digest := y.relayed(y.next.Node)
	copied := *p
	y.mustSend(p)
	y.sent[digest] = &copied
}

// crash gives the mix the disk that it had when it still ran.
func (y *year) crash() {
	y.t.Helper()
	var files map[string]string
	eventually(y.t, "the disk is at rest", func() bool {
		files = y.files()
		return maps.Equal(files, y.files())
	})
	y.close()
	for _, dir := range []string{y.cfg.KeyDir, y.cfg.QueueDir} {
		if err := os.RemoveAll(dir); err != nil {
			y.t.Fatal(err)
		}
	}
	for name, data := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			y.t.Fatal(err)
		}
		mustWrite(y.t, name, []byte(data))
	}
	y.run()
}

// files reads what lies on the disk, without the ballast, which is room that is kept free.
func (y *year) files() map[string]string {
	out := map[string]string{}
	for _, dir := range []string{y.cfg.KeyDir, y.cfg.QueueDir} {
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || e.Name() == "ballast" {
				return err
			}
			data, err := os.ReadFile(name)
			out[name] = string(data)
			return err
		})
		if err != nil {
			return map[string]string{"unread": fmt.Sprint(len(out), err)} // it changes just now
		}
	}
	return out
}

// replay sends old packets again. They are taken, and go nowhere.
func (y *year) replay() {
	y.t.Helper()
	before := y.next.total()
	for _, p := range y.sent {
		copied := *p
		if err := y.send(items(&copied))[0]; err != nil {
			y.t.Fatalf("a replay is told from other packets: %v", err)
		}
	}
	y.send1()
	y.pass(testInterval)
	eventually(y.t, "the last packet has arrived", func() bool { return y.next.total() > before })
	y.pass(testInterval)
	if n := y.next.total(); n != before+1 {
		y.t.Errorf("%d replays were passed on", n-before-1)
	}
}
