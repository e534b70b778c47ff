package store_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"mixminion/internal/store"
	"mixminion/internal/store/crashfs"
)

func sealed(t *testing.T, fs store.FS) store.FS {
	t.Helper()
	s, err := store.Sealed(fs, sealKey)
	must(t, err)
	return s
}

// onceFS notices when a place of a file gets two different contents: a stream cipher would give both away.
type onceFS struct {
	*crashfs.FS
	t  *testing.T
	mu sync.Mutex
	// What was written to a place of a file, and whether anything was.
	data, seen map[string][]byte
	rewritten  int
}

type onceFile struct {
	store.File
	fs   *onceFS
	name string
}

func (o *onceFS) OpenFile(name string, flag int) (store.File, error) {
	f, err := o.FS.OpenFile(name, flag)
	if err != nil || path.Base(name) == "ballast" || path.Base(name) == "keys" {
		return f, err
	}
	if flag&os.O_TRUNC != 0 {
		o.mu.Lock()
		delete(o.data, name)
		delete(o.seen, name)
		o.mu.Unlock()
	}
	return &onceFile{f, o, name}, nil
}

func (f *onceFile) WriteAt(b []byte, off int64) (int, error) {
	o := f.fs
	o.mu.Lock()
	if end := int(off) + len(b); end > len(o.data[f.name]) {
		o.data[f.name] = append(o.data[f.name], make([]byte, end-len(o.data[f.name]))...)
		o.seen[f.name] = append(o.seen[f.name], make([]byte, end-len(o.seen[f.name]))...)
	}
	for i, c := range b {
		at := int(off) + i
		if o.seen[f.name][at] != 0 && o.data[f.name][at] != c {
			o.rewritten++
		}
		o.seen[f.name][at], o.data[f.name][at] = 1, c
	}
	o.mu.Unlock()
	return f.File.WriteAt(b, off)
}

// TestNoPlaceIsWrittenTwice works on disks that are full again and again.
func TestNoPlaceIsWrittenTwice(t *testing.T) {
	for seed := uint64(0); seed < 20; seed += stride {
		r := rand.New(rand.NewPCG(seed, 3))
		disk := crashfs.New()
		fs := &onceFS{FS: disk, t: t, data: map[string][]byte{}, seen: map[string][]byte{}}
		s, err := store.Open(storeDir, smallOptions(sealed(t, fs)))
		must(t, err)
		l, err := s.CreateLog(logDir, "0001")
		must(t, err)
		fulls := 0
		expect := func(err error) {
			t.Helper()
			if errors.Is(err, store.ErrFull) {
				fulls++
			} else {
				must(t, err)
			}
		}
		for n := range uint64(150) {
			if n%3 == 0 {
				disk.SetCapacity(disk.Used() + int64(r.IntN(3000)))
			}
			_, err := s.Commit([]store.Entry{{Log: l, Replay: testHash(n), Body: testBody(n)}})
			expect(err)
			if pool := s.Pool(); len(pool) > 0 {
				expect(s.Move([]store.Assignment{{ID: pool[r.IntN(len(pool))], Queue: "a"}}))
				expect(s.Done(pool[r.IntN(len(pool))]))
			}
			if n%7 == 0 {
				disk.SetCapacity(-1)
				must(t, s.Tend())
			}
		}
		disk.SetCapacity(-1)
		for _, id := range s.Pool() {
			_, err := s.Read(id, nil)
			must(t, err)
		}
		must(t, s.Close())
		if fulls < 5 {
			t.Errorf("seed %d: the disk was full %d times only", seed, fulls)
		}
		if fs.rewritten > 0 {
			t.Fatalf("seed %d: %d bytes were written a second time", seed, fs.rewritten)
		}
	}
}

// clearDisk is a disk with a store and a replay log in clear, as an older version or configuration leaves them; with
// packets 0 to 39, of which some are erased, and hashes 0 to 39.
func clearDisk(t *testing.T) *crashfs.FS {
	t.Helper()
	fs := crashfs.New()
	s := mustOpen(t, fs, smallOptions(fs))
	l, err := s.CreateLog(logDir, "0001")
	must(t, err)
	for n := range uint64(40) {
		mustCommit(t, s, store.Entry{Log: l, Replay: testHash(n), Body: testBody(n), Queue: "a"})
		if n == 20 {
			must(t, s.Tend())
		}
	}
	items := s.Queue("a", 0)
	must(t, s.Note([]store.ID{items[30].ID}, 7, 900))
	must(t, s.Done(items[0].ID, items[35].ID))
	must(t, s.Close())
	return fs
}

func openConverted(fs store.FS) (*store.Store, *store.ReplayLog, error) {
	s, err := store.Open(storeDir, smallOptions(fs))
	if err != nil {
		return nil, nil, err
	}
	l, err := s.OpenLog(logDir, "0001")
	if err == nil {
		err = s.DropOrphans()
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, l, nil
}

func checkConverted(t *testing.T, fs *crashfs.FS) {
	t.Helper()
	s, l, err := openConverted(sealed(t, fs))
	must(t, err)
	if use := s.Usage(); use.Clear != 0 {
		t.Errorf("%d bytes are in clear", use.Clear)
	}
	for n := range uint64(40) {
		if !l.Has(testHash(n)) {
			t.Fatalf("hash %d is lost", n)
		}
	}
	tried := 0
	items := s.Queue("a", 0)
	for _, item := range items {
		b, err := s.Read(item.ID, nil)
		must(t, err)
		found := false
		for n := range uint64(40) {
			found = found || bytes.Equal(b, testBody(n))
		}
		if !found {
			t.Fatal("another packet")
		}
		if item.Attempts == 7 {
			tried++
		}
	}
	if len(items) != 38 || tried != 1 {
		t.Fatalf("%d packets, %d of them tried; want 38 and 1", len(items), tried)
	}
	for _, dir := range []string{storeDir, logDir} {
		names, err := fs.ReadDir(dir)
		must(t, err)
		for _, name := range names {
			b := readAll(t, fs, dir+"/"+name)
			h := testHash(5)
			for n := range uint64(40) {
				if body := testBody(n); len(body) > 16 && bytes.Contains(b, body[8:16]) {
					t.Errorf("%s holds packet %d", name, n)
				}
			}
			if bytes.Contains(b, h[:]) || strings.HasSuffix(name, ".tmp") {
				t.Errorf("%s is there, or holds a hash", name)
			}
		}
	}
	must(t, s.Close())
	rep, err := store.Check(sealed(t, fs), storeDir)
	must(t, err)
	if len(rep.Damage) > 0 {
		t.Errorf("check: %v", rep.Damage)
	}
}

// TestEncryptOldStore opens a store in clear as an encrypted one, and lets the power go at each change of the disk on the way.
func TestEncryptOldStore(t *testing.T) {
	fs := clearDisk(t)
	before := fs.Changes()
	checkConverted(t, fs)
	total := fs.Changes() - before
	r := rand.New(rand.NewPCG(1, 1))
	for n := 0; n < total; n += 3 * stride {
		for _, loss := range []crashfs.Loss{crashfs.LoseNothing, crashfs.LoseAll, crashfs.LoseRandom} {
			fs := clearDisk(t)
			fs.CutPower(n)
			if s, _, err := openConverted(sealed(t, fs)); err == nil {
				_ = s.Close()
			}
			fs.Crash(loss, r)
			checkConverted(t, fs)
		}
	}
	t.Logf("%d changes", total)
}

// TestEncryptOldStoreOnFullDisk has no room for the copies at first.
func TestEncryptOldStoreOnFullDisk(t *testing.T) {
	fs := clearDisk(t)
	fs.SetCapacity(fs.Used() + 6000)
	s, err := store.Open(storeDir, smallOptions(sealed(t, fs)))
	must(t, err)
	_, err = s.OpenLog(logDir, "0001")
	must(t, err)
	fs.SetCapacity(fs.Used() + 10)
	must(t, s.DropOrphans())
	if s.Usage().Clear == 0 {
		t.Error("the store was encrypted without room for it")
	}
	fs.SetCapacity(-1)
	must(t, s.Tend())
	if n := s.Usage().Clear; n != 0 {
		t.Errorf("%d bytes are in clear", n)
	}
	must(t, s.Close())
	checkConverted(t, fs)
}

// TestKeysWaitForErasure loses power when packets are erased, but not yet durably: they come back and can be read.
func TestKeysWaitForErasure(t *testing.T) {
	fs := crashfs.New()
	s := mustOpen(t, sealed(t, fs), smallOptions(sealed(t, fs)))
	for n := range uint64(3) {
		mustCommit(t, s, store.Entry{Body: testBody(n)})
	}
	must(t, s.DoneSoon(s.Pool()...))
	must(t, s.Tend())
	fs.CutPower(0)
	_ = s.Close()
	fs.Crash(crashfs.LoseAll, rand.New(rand.NewPCG(1, 1)))
	s = mustOpen(t, sealed(t, fs), smallOptions(sealed(t, fs)))
	pool := s.Pool()
	if len(pool) != 3 {
		t.Fatalf("%d packets came back; the test does not do what it says", len(pool))
	}
	for _, id := range pool {
		_, err := s.Read(id, nil)
		must(t, err)
	}
	must(t, s.Close())
}
