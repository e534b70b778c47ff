package store_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"mixminion/internal/store"
	"mixminion/internal/store/crashfs"
)

func TestLogLife(t *testing.T) {
	fs := crashfs.New()
	s := mustOpen(t, fs, smallOptions(fs))
	if _, err := s.OpenLog("/key1", "0001"); !errors.Is(err, store.ErrNoLog) {
		t.Errorf("open of a missing log: %v", err)
	}
	if _, err := s.CreateLog("/key1", ""); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("log without a name: %v", err)
	}
	one, err := s.CreateLog("/key1", "0001")
	must(t, err)
	two, err := s.CreateLog("/key2", "0002")
	must(t, err)
	if _, err := s.CreateLog("/key1", "0001"); !errors.Is(err, store.ErrLogExists) {
		t.Errorf("second creation: %v", err)
	}
	if _, err := s.OpenLog("/key1", "0001"); !errors.Is(err, store.ErrLogExists) {
		t.Errorf("second opening: %v", err)
	}
	if _, err := s.OpenLog("/key1", "0002"); !errors.Is(err, store.ErrNoLog) {
		t.Errorf("opening under another name: %v", err)
	}
	if got := mustCommit(t, s, store.Entry{Log: one, Replay: testHash(1)}, store.Entry{Log: two, Replay: testHash(1)}); slices.Contains(got, false) {
		t.Error("logs are not separate")
	}
	must(t, s.CloseLog(two))
	if _, err := s.Commit([]store.Entry{{Log: two, Replay: testHash(2)}, {Body: []byte("x")}}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit to a closed log: %v", err)
	}
	if s.PoolSize() != 0 {
		t.Error("a failed commit left a packet")
	}
	if err := s.CloseLog(two); !errors.Is(err, store.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	// Once closed, a log is complete and may be opened by another store.
	other, err := store.Open("/other", smallOptions(fs))
	must(t, err)
	two, err = other.OpenLog("/key2", "0002")
	must(t, err)
	if !two.Has(testHash(1)) || two.Has(testHash(2)) || two.Name() != "0002" {
		t.Error("the moved log has other hashes")
	}
	if _, err := s.Commit([]store.Entry{{Log: two, Replay: testHash(2)}}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("commit to a log of another store: %v", err)
	}
	must(t, other.DestroyLog(two))
	must(t, s.DestroyLog(one))
	for _, dir := range []string{"/key1", "/key2"} {
		if _, err := fs.ReadDir(dir); err == nil {
			t.Errorf("%s still exists", dir)
		}
	}
	// A new log in the same place knows nothing of the old one.
	one, err = s.CreateLog("/key1", "0001")
	must(t, err)
	if one.Has(testHash(1)) {
		t.Error("a new log knows old hashes")
	}
	must(t, other.Close())
	must(t, s.Close())
}

// TestLogCrashPoints cuts the power during creation and destruction of a log: it is there, complete, or not.
func TestLogCrashPoints(t *testing.T) {
	for n := 0; n < 200; n += stride {
		random := crashfs.LoseRandom
		for seed, loss := range []crashfs.Loss{crashfs.LoseNothing, crashfs.LoseAll, random, random, random, random} {
			fs := crashfs.New()
			s := mustOpen(t, fs, smallOptions(fs))
			fs.CutPower(n)
			created, destroyed := false, false
			var committed uint64
			l, err := s.CreateLog(logDir, "0001")
			if err == nil {
				created = true
				for committed < 20 && err == nil {
					if _, err = s.Commit([]store.Entry{{Log: l, Replay: testHash(committed)}}); err == nil {
						committed++
						err = s.Tend()
					}
				}
			}
			tried := err == nil
			if tried {
				destroyed = s.DestroyLog(l) == nil
			}
			fs.CutPower(0)
			_ = s.Close()
			fs.Crash(loss, rand.New(rand.NewPCG(uint64(n), uint64(seed))))
			s = mustOpen(t, fs, smallOptions(fs))
			l, err = s.OpenLog(logDir, "0001")
			switch {
			case errors.Is(err, store.ErrNoLog):
				if created && !tried {
					t.Fatalf("%d: the log is lost", n)
				}
				if l, err = s.CreateLog(logDir, "0001"); err != nil {
					t.Fatalf("%d: %v", n, err)
				}
				mustCommit(t, s, store.Entry{Log: l, Replay: testHash(1)})
			case err != nil:
				t.Fatalf("%d: %v", n, err)
			case destroyed:
				t.Fatalf("%d: the log is back", n)
			default:
				for i := range committed {
					if !l.Has(testHash(i)) {
						t.Fatalf("%d: hash %d is lost", n, i)
					}
				}
			}
			must(t, s.Close())
			checkSound(t, fs)
		}
	}
}

// TestFlushWaitsForTick cuts the power in the sync of a Commit while a flush of the replay log tries to overtake
// it: a hash in a run without its packet would turn the packet, when it is sent again, into a replay.
func TestFlushWaitsForTick(t *testing.T) {
	disk := crashfs.New()
	fs := &hookFS{FS: disk}
	opts := smallOptions(fs)
	s := mustOpen(t, fs, opts)
	l, err := s.CreateLog(logDir, "0001")
	must(t, err)
	var flush sync.WaitGroup
	fs.onSync = func() {
		fs.onSync = nil
		flush.Go(func() { _ = s.CloseLog(l) })
		for range 20_000 {
			runtime.Gosched()
		}
		disk.CutPower(0)
	}
	if _, err := s.Commit([]store.Entry{{Log: l, Replay: testHash(1), Body: testBody(1)}}); !errors.Is(err, crashfs.ErrOff) {
		t.Fatalf("commit: %v", err)
	}
	flush.Wait()
	_ = s.Close()
	disk.Crash(crashfs.LoseAll, nil)
	s = mustOpen(t, disk, smallOptions(disk))
	l, err = s.OpenLog(logDir, "0001")
	must(t, err)
	if l.Has(testHash(1)) && s.PoolSize() == 0 {
		t.Error("the hash outlived its packet")
	}
	must(t, s.Close())
}

// TestUnopenedLog keeps the hashes of a log that is opened late, through restarts and reclaiming.
func TestUnopenedLog(t *testing.T) {
	fs := crashfs.New()
	opts := smallOptions(fs)
	opts.RunEntries = 1000
	s := mustOpen(t, fs, opts)
	l, err := s.CreateLog(logDir, "0001")
	must(t, err)
	for i := range uint64(50) {
		mustCommit(t, s, store.Entry{Log: l, Replay: testHash(i)})
	}
	crash := func() {
		t.Helper()
		fs.CutPower(0)
		_ = s.Close()
		fs.Crash(crashfs.LoseAll, nil)
		s = mustOpen(t, fs, opts)
	}
	crash()
	for i := range uint64(100) {
		mustCommit(t, s, store.Entry{Body: testBody(i)})
		must(t, s.Done(s.Pool()...))
		must(t, s.Tend())
	}
	if err := s.Sweep(context.Background()); !errors.Is(err, store.ErrNoLog) {
		t.Errorf("sweep over hashes of an unopened log: %v", err)
	}
	before := s.Usage().Disk
	crash()
	l, err = s.OpenLog(logDir, "0001")
	must(t, err)
	for i := range uint64(50) {
		if !l.Has(testHash(i)) {
			t.Fatalf("hash %d is lost", i)
		}
	}
	must(t, s.Sweep(context.Background()))
	must(t, s.Tend())
	if after := s.Usage().Disk; after >= before {
		t.Errorf("%d bytes after the sweep, %d before", after, before)
	}
	must(t, s.Close())
	checkSound(t, fs)

	// Orphans do not hold segments for ever.
	s = mustOpen(t, fs, opts)
	l, err = s.OpenLog(logDir, "0001")
	must(t, err)
	for i := range uint64(50) {
		mustCommit(t, s, store.Entry{Log: l, Replay: testHash(100 + i), Body: testBody(i)})
	}
	crash()
	must(t, s.DropOrphans())
	must(t, s.Done(s.Pool()...))
	must(t, s.Sweep(context.Background()))
	must(t, s.Close())
}
