package store

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestConcurrentUse lets a mix's worth of goroutines work on one store with its background work running: ticks, a
// batcher, two senders, a sweeper. Every accepted packet must leave exactly once.
func TestConcurrentUse(t *testing.T) {
	t.Run("clear", func(t *testing.T) { testConcurrentUse(t, OS) })
	t.Run("sealed", func(t *testing.T) { testConcurrentUse(t, sealedOptions(t, testSealKey).FS) })
}

func testConcurrentUse(t *testing.T, disk FS) {
	dir := t.TempDir()
	opts := Options{FS: disk, SegmentBytes: 64 << 10, RunEntries: 64}
	s := openTest(t, filepath.Join(dir, "store"), opts)
	l := createLog(t, s, filepath.Join(dir, "replay"))
	const ticks, perTick = 150, 8
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	sent := map[uint64]int{}
	var workers, ticker sync.WaitGroup
	ticker.Go(func() {
		for i := range uint64(ticks) {
			var entries []Entry
			for j := range uint64(perTick) {
				body := make([]byte, 500)
				binary.LittleEndian.PutUint64(body, i*perTick+j)
				entries = append(entries, Entry{Log: l, Replay: hashOf(i*perTick + j), Body: body, Queued: uint32(i)})
			}
			// Each hash twice: the second time it is a replay.
			for range 2 {
				got, err := s.Commit(entries)
				if err != nil {
					t.Error(err)
					return
				}
				if i%7 == 0 && slices.Contains(got, true) != slices.Contains(got, false) == false {
					t.Error("a tick was accepted in part")
				}
			}
		}
	})
	workers.Go(func() {
		for ctx.Err() == nil {
			var list []Assignment
			for i, id := range s.Pool() {
				list = append(list, Assignment{ID: id, Queue: []string{"a", "b"}[i%2]})
			}
			if err := s.Move(list); err != nil {
				t.Error(err)
				return
			}
			runtime.Gosched()
		}
	})
	for _, q := range []string{"a", "b"} {
		workers.Go(func() {
			var buf []byte
			for ctx.Err() == nil {
				for _, item := range s.Queue(q, 20) {
					b, err := s.Read(item.ID, buf)
					if err != nil {
						t.Error(err)
						return
					}
					n := binary.LittleEndian.Uint64(b)
					buf = b
					done := s.Done
					if n%2 == 0 {
						done = s.DoneSoon
					}
					if err := errors.Join(s.Note([]ID{item.ID}, 1, 2), done(item.ID)); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					sent[n]++
					mu.Unlock()
				}
				runtime.Gosched()
			}
		})
	}
	workers.Go(func() {
		for ctx.Err() == nil {
			if err := s.Sweep(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
				return
			}
			_, _, _ = s.Usage(), s.Room(), s.Queues()
		}
	})
	ticker.Wait()
	for s.Usage().Packets > 0 && !t.Failed() {
		runtime.Gosched()
	}
	stop()
	workers.Wait()
	if len(sent) != ticks*perTick {
		t.Errorf("%d packets sent, want %d", len(sent), ticks*perTick)
	}
	for n, times := range sent {
		if times != 1 {
			t.Errorf("packet %d sent %d times", n, times)
		}
	}
	mustClose(t, s)
	for _, check := range []func() ([]Damage, error){
		func() ([]Damage, error) { r, err := Check(disk, filepath.Join(dir, "store")); return r.Damage, err },
		func() ([]Damage, error) { r, err := CheckLog(disk, filepath.Join(dir, "replay")); return r.Damage, err },
	} {
		if damage, err := check(); err != nil || len(damage) > 0 {
			t.Errorf("check: %v, %v", damage, err)
		}
	}
}

// TestFilesTellNothing looks at modes, names and times of what a store leaves on a real disk.
func TestFilesTellNothing(t *testing.T) {
	t.Run("clear", func(t *testing.T) { testFilesTellNothing(t, OS) })
	t.Run("sealed", func(t *testing.T) { testFilesTellNothing(t, sealedOptions(t, testSealKey).FS) })
}

func testFilesTellNothing(t *testing.T, disk FS) {
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "store"), Options{FS: disk, SegmentBytes: 8 << 10, RunEntries: 10})
	l := createLog(t, s, filepath.Join(dir, "replay"))
	for n := range uint64(100) {
		commit(t, s, Entry{Log: l, Replay: hashOf(n), Body: make([]byte, 500)})
	}
	if err := s.Tend(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	for _, sub := range []string{"store", "replay"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) < 2 {
			t.Errorf("%s: only %d files", sub, len(entries))
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", e.Name(), info.Mode())
			}
			if e.Name() != lockName && !info.ModTime().Equal(stampTime) {
				t.Errorf("%s has the time %v", e.Name(), info.ModTime().Format(time.RFC3339))
			}
			if strings.HasSuffix(e.Name(), tmpExt) {
				t.Errorf("%s is left over", e.Name())
			}
		}
		info, err := os.Stat(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", sub, info.Mode())
		}
	}
}

func TestLockedOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	openTest(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	if _, err := Check(nil, dir); !errors.Is(err, ErrLocked) {
		t.Errorf("check: %v", err)
	}
}

// TestIndexModel compares the index with maps and slices.
func TestIndexModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		where := map[ID]string{}
		lists := map[string][]ID{}
		next := ID(1)
		pick := func() (ID, bool) {
			if len(where) == 0 {
				return 0, false
			}
			ids := make([]ID, 0, len(where))
			for id := range where {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			return rapid.SampledFrom(ids).Draw(t, "id"), true
		}
		unlist := func(id ID) {
			q := where[id]
			lists[q] = slices.DeleteFunc(lists[q], func(o ID) bool { return o == id })
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				x.add(next)
				slot, _ := x.find(next)
				q := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "q")
				x.assign(slot, q)
				x.link(slot)
				where[next] = q
				lists[q] = append(lists[q], next)
				next += ID(rapid.IntRange(1, 1000).Draw(t, "gap"))
			case 2:
				if id, ok := pick(); ok {
					q := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "q")
					slot, _ := x.find(id)
					x.assign(slot, q)
					x.link(slot)
					unlist(id)
					where[id] = q
					lists[q] = append(lists[q], id)
				}
			case 3:
				if id, ok := pick(); ok {
					slot, _ := x.find(id)
					x.remove(slot)
					unlist(id)
					delete(where, id)
				}
			}
		}
		if x.n != len(where) {
			t.Fatalf("%d packets, want %d", x.n, len(where))
		}
		for q, want := range lists {
			var got []ID
			if i, ok := x.names[q]; ok {
				for n := x.queues[i].head; n != 0; n = x.at(n - 1).next {
					got = append(got, x.at(n-1).id)
				}
				if x.queues[i].n != len(want) || x.queues[i].refs != len(want) {
					t.Fatalf("queue %q counts %d and %d, want %d", q, x.queues[i].n, x.queues[i].refs, len(want))
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("queue %q: %v, want %v", q, got, want)
			}
		}
		for id := range next {
			if _, ok := x.find(id); ok != (where[id] != "" || lists[""] != nil && slices.Contains(lists[""], id)) {
				t.Fatalf("packet %d: found %v", id, ok)
			}
		}
	})
}

func TestMemTable(t *testing.T) {
	p, err := newPRF(filterKey{1})
	if err != nil {
		t.Fatal(err)
	}
	m := newMemTable(func(h *replayHash) uint64 { return p.value(h).lo })
	zero := replayHash{}
	if m.has(&zero) {
		t.Error("empty table has the zero hash")
	}
	m.add(&zero)
	const n = 3000
	for i := range uint64(n) {
		h := hashOf(i)
		if m.has(&h) {
			t.Fatalf("hash %d before it was added", i)
		}
		m.add(&h)
		m.add(&h)
	}
	if !m.has(&zero) || m.len() != n+1 {
		t.Errorf("%d hashes, want %d", m.len(), n+1)
	}
	list := m.sorted()
	if len(list) != n+1 || list[0] != zero || !slices.IsSortedFunc(list, func(a, b replayHash) int { return strings.Compare(string(a[:]), string(b[:])) }) {
		t.Error("sorted list is wrong")
	}
}
