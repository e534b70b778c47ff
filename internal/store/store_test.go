package store

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hashOf makes the n-th replay hash of a test.
func hashOf(n uint64) [20]byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return sha1.Sum(b[:])
}

func openTest(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func createLog(t testing.TB, s *Store, dir string) *ReplayLog {
	t.Helper()
	l, err := s.CreateLog(dir, "0001")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func openLog(t testing.TB, s *Store, dir string) *ReplayLog {
	t.Helper()
	l, err := s.OpenLog(dir, "0001")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func commit(t testing.TB, s *Store, entries ...Entry) []bool {
	t.Helper()
	accepted, err := s.Commit(entries)
	if err != nil {
		t.Fatal(err)
	}
	return accepted
}

func TestPacketLife(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "store"), Options{})
	l := createLog(t, s, filepath.Join(dir, "replay"))
	body := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 1000+n) }
	got := commit(t, s,
		Entry{Log: l, Replay: hashOf(1), Body: body(1), Queued: 300},
		Entry{Log: l, Replay: hashOf(2), Body: body(2), Queued: 300, Queue: "exit"},
		Entry{Log: l, Replay: hashOf(3)},
		Entry{Body: body(4)})
	if want := []bool{true, true, true, true}; !slices.Equal(got, want) {
		t.Fatalf("accepted %v", got)
	}
	got = commit(t, s,
		Entry{Log: l, Replay: hashOf(1), Body: body(9)}, Entry{Log: l, Replay: hashOf(3)},
		Entry{Log: l, Replay: hashOf(5)}, Entry{Log: l, Replay: hashOf(5)})
	if got[0] || got[1] || got[2] == got[3] {
		t.Fatalf("accepted %v, want only one of the last two", got)
	}
	if s.PoolSize() != 2 || len(s.Pool()) != 2 {
		t.Fatalf("pool of %d", s.PoolSize())
	}
	exit := s.Queue("exit", 0)
	if len(exit) != 1 || exit[0].Queued != 300 || exit[0].Length != 1002 {
		t.Fatalf("exit queue %+v", exit)
	}
	b, err := s.Read(exit[0].ID, nil)
	if err != nil || !bytes.Equal(b, body(2)) {
		t.Fatalf("read: %d bytes, %v", len(b), err)
	}
	pool := s.Pool()
	if err := s.Move([]Assignment{{pool[0], "hop", 600}, {12345, "hop", 600}}); !errors.Is(err, ErrUnknown) {
		t.Fatalf("move of an unknown packet: %v", err)
	}
	if s.PoolSize() != 2 {
		t.Fatal("a failed move changed the pool")
	}
	if err := s.Move([]Assignment{{pool[0], "hop", 600}, {pool[1], "hop", 600}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Note(pool[:1], 3, 900); err != nil {
		t.Fatal(err)
	}
	if err := s.Done(exit[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := s.DoneSoon(pool[1]); err != nil {
		t.Fatal(err)
	}
	check := func(s *Store) {
		t.Helper()
		want := Item{ID: pool[0], Queued: 600, LastAttempt: 900, Attempts: 3}
		items := s.Queue("hop", 0)
		if len(items) != 1 {
			t.Fatalf("queue: %+v", items)
		}
		want.Length = items[0].Length
		if items[0] != want || s.PoolSize() != 0 || len(s.Queues()) != 1 {
			t.Fatalf("queue: %+v, queues %+v", items, s.Queues())
		}
		if _, err := s.Read(pool[1], nil); !errors.Is(err, ErrUnknown) {
			t.Fatalf("read of an erased packet: %v", err)
		}
	}
	check(s)
	mustClose(t, s)
	s = openTest(t, filepath.Join(dir, "store"), Options{})
	l = openLog(t, s, filepath.Join(dir, "replay"))
	check(s)
	for _, n := range []uint64{1, 2, 3, 5} {
		if got := commit(t, s, Entry{Log: l, Replay: hashOf(n)}); got[0] {
			t.Errorf("hash %d forgotten over a restart", n)
		}
	}
	if got := commit(t, s, Entry{Log: l, Replay: hashOf(6)}); !got[0] {
		t.Error("new hash refused")
	}
}

func TestReplayLogManyEntries(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "store"), Options{RunEntries: 500, SegmentBytes: 1 << 16})
	l := createLog(t, s, filepath.Join(dir, "replay"))
	const n, batch = 30_000, 100
	for i := uint64(0); i < n; i += batch {
		var entries []Entry
		for j := i; j < i+batch; j++ {
			entries = append(entries, Entry{Log: l, Replay: hashOf(j)})
		}
		if slices.Contains(commit(t, s, entries...), false) {
			t.Fatalf("new hash near %d refused", i)
		}
	}
	for range 2 {
		for i := uint64(0); i < n; i += batch {
			var entries []Entry
			for j := i; j < i+batch; j++ {
				entries = append(entries, Entry{Log: l, Replay: hashOf(j)})
			}
			if slices.Contains(commit(t, s, entries...), true) {
				t.Fatalf("replay near %d accepted", i)
			}
		}
		mustClose(t, s)
		s = openTest(t, filepath.Join(dir, "store"), Options{RunEntries: 500, SegmentBytes: 1 << 16})
		l = openLog(t, s, filepath.Join(dir, "replay"))
	}
}
