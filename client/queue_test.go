package client_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/mmtp"
	"mixminion/packet"
)

// lock takes the lock of a home directory until the test ends.
func lock(t testing.TB, c *client.Client) {
	t.Helper()
	unlock, err := c.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unlock(); err != nil {
			t.Error(err)
		}
	})
}

func enqueue(t testing.TB, c *client.Client, p *client.Prepared) []string {
	t.Helper()
	ids, err := c.Enqueue(t.Context(), p)
	if err != nil || len(ids) != len(p.Packets) {
		t.Fatalf("%d names: %v", len(ids), err)
	}
	return ids
}

func flush(t testing.TB, c *client.Client, only func(client.QueuedPacket) bool, max int) *client.FlushResult {
	t.Helper()
	r, err := c.Flush(t.Context(), only, max, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkQueue compares the number of packets that wait, and looks that nothing else lies in the directory.
func checkQueue(t testing.TB, c *client.Client, home string, want int) []client.QueuedPacket {
	t.Helper()
	q, err := c.Queue()
	if err != nil || len(q.Packets) != want || len(q.Damaged) != 0 {
		t.Fatalf("queue %+v: %v; want %d packets", q, err, want)
	}
	if files := queueNames(t, home); len(files) != want {
		t.Errorf("files %v, want %d", files, want)
	}
	return q.Packets
}

func queueNames(t testing.TB, home string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(home, "queue"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// sorted gives packets in an order that does not depend on the way they went.
func sorted(list []*packet.Packet) []packet.Packet {
	var out []packet.Packet
	for _, p := range list {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b packet.Packet) int { return slices.Compare(a[:], b[:]) })
	return out
}

// checkHas compares what an entry has, in whatever order, with what it should have.
func (e *entry) checkHas(t testing.TB, want []*packet.Packet) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(sorted(e.packets), sorted(want)) {
		t.Errorf("the server has %d packets, not the %d it should have", len(e.packets), len(want))
	}
}

func TestQueueAndFlush(t *testing.T) {
	s := mixServers()
	c, _, home := newHome(t)
	one, two := listen(t, s[0], new(entry)), listen(t, s[1], new(entry))
	p := packets(t, 10, one.hop, two.hop)
	lock(t, c)
	checkQueue(t, c, home, 0)
	ids := enqueue(t, c, p)
	list := checkQueue(t, c, home, 20)
	midnight := noon.Truncate(day)
	for i, q := range list {
		if !slices.Contains(ids, q.ID) || !q.Day.Equal(midnight) || q.First != one.hop && q.First != two.hop {
			t.Errorf("%+v", q)
		}
		if i > 0 && q.First.String() < list[i-1].First.String() {
			t.Error("not sorted")
		}
		info, err := os.Stat(filepath.Join(home, "queue", q.ID))
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		if !info.ModTime().Equal(midnight) {
			t.Errorf("the file tells of %v", info.ModTime())
		}
	}
	if info, err := os.Stat(filepath.Join(home, "queue")); err != nil || !info.ModTime().Equal(midnight) {
		t.Errorf("the directory tells of %v: %v", info.ModTime(), err)
	}
	w := new(watcher)
	r, err := c.Flush(t.Context(), nil, 0, w)
	if err != nil || r.Sent != 20 || r.Kept != 0 || r.Causes != nil || r.Damaged != nil {
		t.Errorf("%+v: %v", r, err)
	}
	w.check(t, "sent", w.sent, 20, 20)
	one.checkHas(t, to(p, one.hop))
	two.checkHas(t, to(p, two.hop))
	checkQueue(t, c, home, 0)
	if r := flush(t, c, nil, 0); r.Sent != 0 || r.Kept != 0 {
		t.Errorf("%+v", r)
	}
	if ids, err := c.Enqueue(t.Context(), new(client.Prepared)); ids != nil || err != nil {
		t.Errorf("nothing to queue: %v, %v", ids, err)
	}
}

func TestFlushSome(t *testing.T) {
	s := mixServers()
	c, _, home := newHome(t)
	one, two := listen(t, s[0], new(entry)), listen(t, s[1], new(entry))
	lock(t, c)
	first, second := packets(t, 4, one.hop), packets(t, 4, two.hop)
	enqueue(t, c, first)
	ids := enqueue(t, c, second)
	if r := flush(t, c, client.Named(ids[:2]), 0); r.Sent != 2 {
		t.Errorf("%+v", r)
	}
	two.checkHas(t, []*packet.Packet{second.Packets[0].Packet, second.Packets[1].Packet})
	one.checkHas(t, nil)
	checkQueue(t, c, home, 6)
	if r := flush(t, c, func(q client.QueuedPacket) bool { return q.First == one.hop }, 3); r.Sent != 3 {
		t.Errorf("%+v", r)
	}
	checkQueue(t, c, home, 3)
	flush(t, c, nil, 100)
	one.checkHas(t, to(first, one.hop))
	two.checkHas(t, to(second, two.hop))
	checkQueue(t, c, home, 0)
}

// What cannot be sent stays, and is sent when the server is there again.
func TestFlushKeeps(t *testing.T) {
	s := mixServers()
	c, _, home := newHome(t)
	good := listen(t, s[0], new(entry))
	picky := listen(t, s[1], &entry{accept: func(n int) bool { return n%2 == 0 }})
	gone := down(t, s[2])
	p := packets(t, 4, good.hop, picky.hop, gone)
	lock(t, c)
	enqueue(t, c, p)
	r := flush(t, c, nil, 0)
	if r.Sent != 6 || r.Kept != 6 || len(r.Causes) != 2 || r.Damaged != nil {
		t.Fatalf("%+v", r)
	}
	if err := errors.Join(r.Causes...); !errors.Is(err, mmtp.ErrRejected) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	for _, q := range checkQueue(t, c, home, 6) {
		if q.First == good.hop {
			t.Error("a packet that was sent is kept")
		}
	}
	picky.mu.Lock()
	picky.accept = nil
	picky.mu.Unlock()
	if r := flush(t, c, func(q client.QueuedPacket) bool { return q.First != gone }, 0); r.Sent != 2 {
		t.Errorf("%+v", r)
	}
	picky.checkHas(t, to(p, picky.hop))
	checkQueue(t, c, home, 4)
}

func TestFlushCancelled(t *testing.T) {
	c, _, home := newHome(t)
	e := listen(t, mixServers()[0], &entry{silent: true})
	lock(t, c)
	enqueue(t, c, packets(t, 3, e.hop))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan *client.FlushResult, 1)
	go func() {
		r, err := c.Flush(ctx, nil, 0, nil)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	<-e.arrived
	cancel()
	if r := <-done; r.Sent != 0 || r.Kept != 3 || !errors.Is(errors.Join(r.Causes...), context.Canceled) {
		t.Errorf("%+v", r)
	}
	checkQueue(t, c, home, 3)
}

// One bad file does not stop the others, and is not sent.
func TestFlushDamaged(t *testing.T) {
	c, _, home := newHome(t)
	e := listen(t, mixServers()[0], new(entry))
	lock(t, c)
	p := packets(t, 5, e.hop)
	ids := enqueue(t, c, p)
	spoil := func(i int, change func([]byte) []byte) {
		name := filepath.Join(home, "queue", ids[i])
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, change(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	spoil(1, func(d []byte) []byte { return d[:100] })
	spoil(3, func(d []byte) []byte { d[8] = 3; return d })
	for _, old := range []string{"msg_ABCDEFGH", "meta_ABCDEFGH", "unknown", ".hidden"} {
		if err := os.WriteFile(filepath.Join(home, "queue", old), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	q, err := c.Queue()
	if err != nil || len(q.Packets) != 3 || len(q.Damaged) != 3 {
		t.Fatalf("%+v: %v", q, err)
	}
	problems := errors.Join(q.Damaged...)
	if !errors.Is(problems, client.ErrDamaged) || !errors.Is(problems, client.ErrOtherVersion) ||
		!errors.Is(problems, client.ErrOldForm) || !strings.Contains(problems.Error(), "msg_ABCDEFGH") ||
		!strings.Contains(problems.Error(), ids[1]) || !strings.Contains(problems.Error(), ids[3]) {
		t.Error(problems)
	}
	r := flush(t, c, nil, 0)
	if r.Sent != 3 || r.Kept != 0 || len(r.Damaged) != 3 {
		t.Errorf("%+v", r)
	}
	e.checkHas(t, []*packet.Packet{p.Packets[0].Packet, p.Packets[2].Packet, p.Packets[4].Packet})
	// The damaged one can be cleaned away, the other version's cannot.
	removed, damaged, err := c.Clean(0, nil)
	if err != nil || len(removed) != 0 || damaged != 1 {
		t.Errorf("%v, %d, %v", removed, damaged, err)
	}
	if names := queueNames(t, home); len(names) != 5 || !slices.Contains(names, ids[3]) {
		t.Errorf("left %v", names)
	}
}

// What a process that died in Enqueue leaves.
func TestQueueAfterCrash(t *testing.T) {
	c, _, home := newHome(t)
	e := listen(t, mixServers()[0], new(entry))
	unlock, err := c.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := packets(t, 4, e.hop)
	ids := enqueue(t, c, p)
	in := func(parts ...string) string { return filepath.Join(append([]string{home, "queue"}, parts...)...) }
	for _, move := range []struct{ dir, id string }{{"batch_A", ids[0]}, {"batch_A", ids[1]}, {"batch_B", ids[2]}, {"new_C", ids[3]}} {
		if err := os.MkdirAll(in(move.dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(in(move.id), in(move.dir, move.id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(in("new_C", ".half.tmp"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	q, err := c.Queue()
	if err != nil || len(q.Packets) != 3 || q.Damaged != nil {
		t.Errorf("%+v: %v", q, err)
	}
	lock(t, c)
	if r := flush(t, c, nil, 1); r.Sent != 1 {
		t.Errorf("%+v", r)
	}
	checkQueue(t, c, home, 2)
	flush(t, c, nil, 0)
	e.checkHas(t, []*packet.Packet{p.Packets[0].Packet, p.Packets[1].Packet, p.Packets[2].Packet})
}

func TestEnqueueAllOrNone(t *testing.T) {
	c, _, home := newHome(t)
	lock(t, c)
	p := packets(t, 3, mixServers()[0].hop())
	p.Packets[2].First.Host = strings.Repeat("x", 256)
	if ids, err := c.Enqueue(t.Context(), p); err == nil || ids != nil {
		t.Errorf("%v, %v", ids, err)
	}
	checkQueue(t, c, home, 0)
	if err := os.Remove(filepath.Join(home, "queue")); err != nil {
		t.Fatal(err)
	}
	if ids, err := c.Enqueue(t.Context(), packets(t, 1, mixServers()[0].hop())); !errors.Is(err, os.ErrNotExist) || ids != nil {
		t.Errorf("%v, %v", ids, err)
	}
	if _, err := c.Queue(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := c.Flush(t.Context(), nil, 0, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, _, err := c.Clean(0, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestClean(t *testing.T) {
	s := mixServers()
	for _, test := range []struct {
		days int
		only bool
		want int
	}{
		{60, false, 0}, {4, false, 0}, {3, false, 2}, {2, false, 2}, {1, false, 2}, {0, false, 4}, {3, true, 1}, {0, true, 2},
	} {
		c, clk, home := newHome(t)
		lock(t, c)
		enqueue(t, c, packets(t, 1, s[0].hop(), s[1].hop()))
		clk.Advance(3*day + 11*time.Hour) // shortly before midnight
		enqueue(t, c, packets(t, 1, s[0].hop(), s[1].hop()))
		var only func(client.QueuedPacket) bool
		if test.only {
			only = func(q client.QueuedPacket) bool { return q.First == s[1].hop() }
		}
		removed, damaged, err := c.Clean(test.days, only)
		if err != nil || len(removed) != test.want || damaged != 0 {
			t.Errorf("%d days: removed %d, damaged %d: %v", test.days, len(removed), damaged, err)
		}
		checkQueue(t, c, home, 4-test.want)
	}
}

func TestMatchServers(t *testing.T) {
	s := mixServers()
	c, _ := newClient(t, s[0].descriptor(t), s[1].descriptor(t))
	elsewhere := packet.Hop{Host: "10.0.0.7", Port: 1234}
	moved := s[0].hop()
	moved.Host = "moved.example.net"
	list := []client.QueuedPacket{{First: s[0].hop()}, {First: elsewhere}}
	for _, test := range []struct {
		names []string
		want  []packet.Hop // nil: refused
	}{
		{[]string{"alder"}, []packet.Hop{s[0].hop(), moved}},
		{[]string{"ALDER", "birch"}, []packet.Hop{s[0].hop(), s[1].hop(), moved}},
		{[]string{"10.0.0.7"}, []packet.Hop{elsewhere}},
		{[]string{"10.0.0.7:1234"}, []packet.Hop{elsewhere}},
		{[]string{"Alder.example.net:48099"}, []packet.Hop{s[0].hop()}},
		{[]string{"10.0.0.7:1235"}, nil},
		{[]string{"cedar"}, nil},
		{[]string{"alder", ""}, nil},
	} {
		match, err := c.MatchServers(test.names, list)
		if (err == nil) != (test.want != nil) {
			t.Errorf("%q: %v", test.names, err)
			continue
		}
		if err != nil {
			continue
		}
		for _, h := range []packet.Hop{s[0].hop(), s[1].hop(), s[2].hop(), elsewhere, moved} {
			if match(h) != slices.Contains(test.want, h) {
				t.Errorf("%q matches %v: %v", test.names, h, match(h))
			}
		}
	}
}

// From the message through the queue to the first hop.
func TestPrepareQueueFlush(t *testing.T) {
	s := mixServers()
	first := listen(t, s[0], new(entry))
	text := s[0].descriptor(t, func(f *directory.Fields) { f.Incoming.Hostname, f.Incoming.Port = first.hop.Host, first.hop.Port })
	c, _ := newClient(t, text, s[1].descriptor(t))
	m := client.Message{To: parseAddress(t, "bob@example.com"), Body: randomText(t, 30_000), Path: parseSpec(t, "alder:birch")}
	p, err := c.Prepare(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	lock(t, c)
	ids := enqueue(t, c, p)
	if r := flush(t, c, client.Named(ids), 0); r.Sent != 3 {
		t.Errorf("%+v", r)
	}
	first.checkHas(t, to(p, first.hop))
}

// BenchmarkEnqueue writes the packets of a message of 1 MB to the queue, and makes them safe.
func BenchmarkEnqueue(b *testing.B) {
	c, _ := newClient(b)
	lock(b, c)
	p := packets(b, 50, mixServers()[0].hop())
	b.SetBytes(50 * packet.Size)
	for b.Loop() {
		if _, err := c.Enqueue(b.Context(), p); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if _, _, err := c.Clean(0, nil); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
