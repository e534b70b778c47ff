package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"mixminion/internal/store"
	"mixminion/internal/store/crashfs"
)

func mustOpen(t *testing.T, fs store.FS, opts store.Options) *store.Store {
	t.Helper()
	opts.FS = fs
	s, err := store.Open(storeDir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCommit(t *testing.T, s *store.Store, entries ...store.Entry) []bool {
	t.Helper()
	accepted, err := s.Commit(entries)
	if err != nil {
		t.Fatal(err)
	}
	return accepted
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkSound runs the checkers over a closed store and log.
func checkSound(t *testing.T, fs store.FS) store.Report {
	t.Helper()
	rep, err := store.Check(fs, storeDir)
	must(t, err)
	if len(rep.Damage) > 0 {
		t.Errorf("check: %v", rep.Damage)
	}
	logs, err := store.CheckLog(fs, logDir)
	if err != nil && !errors.Is(err, store.ErrNoLog) {
		t.Error(err)
	}
	if len(logs.Damage) > 0 {
		t.Errorf("check log: %v", logs.Damage)
	}
	return rep
}

func TestFullDisk(t *testing.T) {
	fs := crashfs.New()
	opts := smallOptions(fs)
	// The reserve must hold at least a run, which has 4 KB.
	opts.SegmentBytes = 64 << 10
	s := mustOpen(t, fs, opts)
	l, err := s.CreateLog(logDir, "0001")
	must(t, err)
	fs.SetCapacity(1 << 20)
	var n uint64
	for {
		accepted, err := s.Commit([]store.Entry{
			{Log: l, Replay: testHash(2 * n), Body: testBody(2 * n)},
			{Log: l, Replay: testHash(2*n + 1), Body: testBody(2*n + 1)}})
		if errors.Is(err, store.ErrFull) {
			if accepted != nil {
				t.Error("entries accepted on a full disk")
			}
			break
		}
		must(t, err)
		n++
		if n > 5000 {
			t.Fatal("the disk never became full")
		}
	}
	if s.Room() {
		t.Error("room on a full disk")
	}
	if got := s.PoolSize(); got != int(2*n) {
		t.Errorf("%d packets, want %d", got, 2*n)
	}
	// The entries that were refused are not in the replay log.
	if l.Has(testHash(2 * n)) {
		t.Error("a refused entry was logged")
	}
	// Moving and erasing work on a full disk, and free it.
	for _, id := range s.Pool() {
		must(t, s.Move([]store.Assignment{{ID: id, Queue: "hop", Queued: 1}}))
		must(t, s.Done(id))
		if err := s.Tend(); err != nil && !errors.Is(err, store.ErrFull) {
			t.Fatal(err)
		}
	}
	if used := fs.Used(); used > 400<<10 {
		t.Errorf("%d bytes used by an empty store", used)
	}
	fs.SetCapacity(-1)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if got := mustCommit(t, s, store.Entry{Log: l, Replay: testHash(2 * n), Body: testBody(1)}); !got[0] {
		t.Error("entry refused after the disk had room again")
	}
	must(t, s.Close())
	if rep := checkSound(t, fs); rep.Packets != 1 {
		t.Errorf("%d packets, want 1", rep.Packets)
	}
}

// A store opens on a disk without a free byte, holds what it held, and can erase it.
func TestOpenOnAFullDisk(t *testing.T) {
	fs := crashfs.New()
	opts := smallOptions(fs)
	s := mustOpen(t, fs, opts)
	for i := range uint64(20) {
		mustCommit(t, s, store.Entry{Body: testBody(i)})
	}
	must(t, s.Close())
	fs.SetCapacity(fs.Used())
	s = mustOpen(t, fs, opts)
	if got := len(s.Pool()); got != 20 {
		t.Errorf("%d packets, want 20", got)
	}
	if s.Room() {
		t.Error("room on a full disk")
	}
	if _, err := s.Commit([]store.Entry{{Body: testBody(1)}}); !errors.Is(err, store.ErrFull) {
		t.Errorf("a packet on a full disk: %v", err)
	}
	must(t, s.Done(s.Pool()...))
	fs.SetCapacity(-1)
	must(t, s.Tend())
	mustCommit(t, s, store.Entry{Body: testBody(1)})
	must(t, s.Close())
	checkSound(t, fs)
}

func TestMaxBytes(t *testing.T) {
	fs := crashfs.New()
	opts := smallOptions(fs)
	opts.MaxBytes = 100 << 10
	s := mustOpen(t, fs, opts)
	if !s.Room() {
		t.Fatal("no room in an empty store")
	}
	ticks := 0
	for s.Room() {
		var entries []store.Entry
		for size := int64(0); size < 3000; {
			b := testBody(uint64(ticks*10 + len(entries)))
			entries = append(entries, store.Entry{Body: b})
			size += int64(len(b))
		}
		// Room promised that a tick's worth fits.
		mustCommit(t, s, entries...)
		ticks++
	}
	if used := s.Usage().Disk; used > opts.MaxBytes || used < opts.MaxBytes/2 {
		t.Errorf("%d bytes used when the store says that it is full", used)
	}
	for range 100 {
		if _, err := s.Commit([]store.Entry{{Body: make([]byte, 2000)}}); err != nil {
			if !errors.Is(err, store.ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if used := s.Usage().Disk; used > opts.MaxBytes {
		t.Errorf("%d bytes used, more than allowed", used)
	}
	// An idle tick still works.
	mustCommit(t, s)
	for _, id := range s.Pool() {
		must(t, s.Done(id))
	}
	must(t, s.Tend())
	if !s.Room() {
		t.Errorf("no room after all packets are gone: %+v", s.Usage())
	}
	must(t, s.Close())
	checkSound(t, fs)
}

// The share of the disk can change: with more there is room at once; with less than what is held, that stays, and nothing new is taken
// until enough of it is gone.
func TestSetMaxBytes(t *testing.T) {
	fs := crashfs.New()
	opts := smallOptions(fs)
	opts.MaxBytes = 100 << 10
	s := mustOpen(t, fs, opts)
	fill := func() {
		for i := 0; s.Room(); i++ {
			mustCommit(t, s, store.Entry{Body: testBody(uint64(i))})
		}
	}
	fill()
	s.SetMaxBytes(300 << 10)
	if !s.Room() {
		t.Errorf("no room in a larger share: %+v", s.Usage())
	}
	fill()
	if used := s.Usage().Disk; used < 150<<10 || used > 300<<10 {
		t.Errorf("%d bytes of the larger share are used", used)
	}
	held := s.Pool()
	s.SetMaxBytes(100 << 10)
	must(t, s.Tend())
	if s.Room() {
		t.Error("room, with more held than allowed")
	}
	if _, err := s.Commit([]store.Entry{{Body: testBody(1)}}); !errors.Is(err, store.ErrFull) {
		t.Errorf("a packet above the share: %v", err)
	}
	if got := s.Pool(); len(got) != len(held) {
		t.Errorf("%d packets held, want %d", len(got), len(held))
	}
	must(t, s.Done(held...))
	must(t, s.Tend())
	if used := s.Usage().Disk; !s.Room() || used > 100<<10 {
		t.Errorf("when all is gone: %+v", s.Usage())
	}
	s.SetMaxBytes(0)
	for range 200 {
		mustCommit(t, s, store.Entry{Body: make([]byte, 2000)})
	}
	must(t, s.Close())
	checkSound(t, fs)
}

// TestSmallDisk gets room back although no segment was ever full.
func TestSmallDisk(t *testing.T) {
	for _, capped := range []bool{false, true} {
		fs := crashfs.New()
		opts := store.Options{FS: fs, SegmentBytes: 128 << 10, TickBytes: 16 << 10, Manual: true}
		if capped {
			opts = store.Options{FS: fs, MaxBytes: 400 << 10, TickBytes: 16 << 10, Manual: true}
		}
		s := mustOpen(t, fs, opts)
		if !capped {
			fs.SetCapacity(fs.Used() + 2*128<<10 + 16<<10 + 64<<10)
		}
		for round := range 20 {
			ticks := 0
			for s.Room() {
				mustCommit(t, s, store.Entry{Body: testBody(uint64(ticks))}, store.Entry{Body: testBody(uint64(ticks + 1))})
				ticks++
			}
			if ticks == 0 {
				t.Fatalf("capped %v: no room in round %d: %+v", capped, round, s.Usage())
			}
			must(t, s.Done(s.Pool()...))
			must(t, s.Tend())
		}
		must(t, s.Close())
		checkSound(t, fs)
	}
}

func TestFailedSync(t *testing.T) {
	fs := crashfs.New()
	s := mustOpen(t, fs, smallOptions(fs))
	l, err := s.CreateLog(logDir, "0001")
	must(t, err)
	mustCommit(t, s, store.Entry{Log: l, Replay: testHash(1), Body: testBody(1)})
	fs.FailSync(0)
	_, err = s.Commit([]store.Entry{{Log: l, Replay: testHash(2), Body: testBody(2)}})
	if !errors.Is(err, store.ErrFailed) || !errors.Is(err, crashfs.ErrIO) {
		t.Fatalf("commit: %v", err)
	}
	// The next sync would succeed, and lie.
	for name, err := range map[string]error{
		"commit": second(s.Commit(nil)), "move": s.Move(nil), "note": s.Note(nil, 0, 0), "note now": s.NoteNow(nil, 0, 0), "done": s.Done(1),
		"done soon": s.DoneSoon(1), "read": second(s.Read(1, nil)), "sweep": s.Sweep(context.Background()), "tend": s.Tend(),
		"err": s.Err(),
	} {
		if !errors.Is(err, store.ErrFailed) {
			t.Errorf("%s after a failed sync: %v", name, err)
		}
	}
	if s.Room() {
		t.Error("room in a failed store")
	}
	if err := s.Close(); !errors.Is(err, store.ErrFailed) {
		t.Errorf("close: %v", err)
	}
	fs.Crash(crashfs.LoseAll, nil)
	s = mustOpen(t, fs, smallOptions(fs))
	if s.PoolSize() != 1 {
		t.Errorf("%d packets after the restart, want 1", s.PoolSize())
	}
	must(t, s.Close())
	checkSound(t, fs)
}

func second[T any](_ T, err error) error { return err }

// TestEveryFailedSync lets each sync of a piece of work fail once; the store must stop and lose nothing.
func TestEveryFailedSync(t *testing.T) {
	for name, sealed := range storeForms {
		t.Run(name, func(t *testing.T) { testEveryFailedSync(t, sealed) })
	}
}

func testEveryFailedSync(t *testing.T, sealed bool) {
	for n := 0; n < 60; n += stride {
		r := rand.New(rand.NewPCG(4, 4))
		fs := crashfs.New()
		w, err := newWorld(fs, sealed, func(n int) int { return r.IntN(n) })
		must(t, err)
		fs.FailSync(n)
		for i := 0; i < 60 && !w.down; i++ {
			must(t, w.step())
		}
		if w.down && !errors.Is(w.s.Err(), store.ErrFailed) {
			t.Fatalf("sync %d: the store goes on", n)
		}
		must(t, w.crash(crashfs.LoseAll, r, false))
		must(t, w.end())
	}
}

func TestLocked(t *testing.T) {
	fs := crashfs.New()
	s := mustOpen(t, fs, smallOptions(fs))
	if _, err := store.Open(storeDir, smallOptions(fs)); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	if _, err := store.Check(fs, storeDir); !errors.Is(err, store.ErrLocked) {
		t.Errorf("check of an open store: %v", err)
	}
	must(t, s.Close())
	must(t, s.Close())
	if _, err := s.Commit(nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit after close: %v", err)
	}
	must(t, mustOpen(t, fs, smallOptions(fs)).Close())
}

func TestSweepForgets(t *testing.T) {
	fs := crashfs.New()
	s := mustOpen(t, fs, smallOptions(fs))
	l, err := s.CreateLog(logDir, "0001")
	must(t, err)
	const secret = "this packet is erased"
	mustCommit(t, s, store.Entry{Log: l, Replay: testHash(0), Body: []byte(secret)})
	erased := s.Pool()
	for n := range uint64(30) {
		mustCommit(t, s, store.Entry{Log: l, Replay: testHash(n + 1), Body: testBody(n)})
	}
	must(t, s.Done(erased...))
	if !diskHolds(t, fs, secret) {
		t.Fatal("the test looks in the wrong place")
	}
	must(t, s.Sweep(context.Background()))
	if diskHolds(t, fs, secret) {
		t.Error("an erased packet is still on disk after Sweep")
	}
	if s.PoolSize() != 30 {
		t.Errorf("%d packets, want 30", s.PoolSize())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	must(t, s.Done(s.Pool()[0]))
	if err := s.Sweep(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("sweep with an ended context: %v", err)
	}
	must(t, s.Close())
	checkSound(t, fs)
}

func diskHolds(t *testing.T, fs store.FS, text string) bool {
	t.Helper()
	names, err := fs.ReadDir(storeDir)
	must(t, err)
	for _, name := range names {
		if bytes.Contains(readAll(t, fs, storeDir+"/"+name), []byte(text)) {
			return true
		}
	}
	return false
}

func TestInvalidArguments(t *testing.T) {
	fs := crashfs.New()
	if _, err := store.Open(storeDir, store.Options{FS: fs, SegmentBytes: 1}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("tiny segments: %v", err)
	}
	s := mustOpen(t, fs, smallOptions(fs))
	long := string(make([]byte, store.MaxQueueName+1))
	for name, e := range map[string]store.Entry{
		"nothing": {}, "long body": {Body: make([]byte, store.MaxBody+1)}, "long queue": {Body: []byte("x"), Queue: long},
	} {
		if _, err := s.Commit([]store.Entry{e}); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustCommit(t, s, store.Entry{Body: make([]byte, store.MaxBody), Queue: long[1:]}, store.Entry{Body: []byte{}})
	id := s.Pool()[0]
	if err := s.Move([]store.Assignment{{ID: id, Queue: "a"}, {ID: id, Queue: "b"}}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("packet moved twice: %v", err)
	}
	if b, err := s.Read(id, nil); err != nil || len(b) != 0 {
		t.Errorf("empty body: %d bytes, %v", len(b), err)
	}
	must(t, s.Close())
	s = mustOpen(t, fs, smallOptions(fs))
	if n := len(s.Queue(long[1:], 0)); n != 1 {
		t.Errorf("%d packets in the queue, want 1", n)
	}
	must(t, s.Close())
	checkSound(t, fs)
}

func TestManyQueues(t *testing.T) {
	fs := crashfs.New()
	opts := smallOptions(fs)
	opts.SegmentBytes = 1 << 20
	s := mustOpen(t, fs, opts)
	for i := range 300 {
		mustCommit(t, s, store.Entry{Body: testBody(uint64(i)), Queue: fmt.Sprint("hop", i), Queued: uint32(i)})
	}
	if n := len(s.Queues()); n != 300 {
		t.Fatalf("%d queues", n)
	}
	for i, q := range s.Queues() {
		if q.Count != 1 || q.Name != fmt.Sprint("hop", q.Oldest) {
			t.Errorf("%+v", q)
		}
		if i%2 == 0 {
			must(t, s.DoneSoon(s.Queue(q.Name, 1)[0].ID))
		}
	}
	if n := len(s.Queues()); n != 150 {
		t.Errorf("%d queues, want 150", n)
	}
	must(t, s.Close())
	if rep := checkSound(t, fs); rep.Queues != 150 {
		t.Errorf("%d queues, want 150", rep.Queues)
	}
}
