package store_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"mixminion/internal/store"
	"mixminion/internal/store/crashfs"
)

// graveFS keeps what deleted, replaced and emptied files held when their names went, as the free blocks of a disk do.
type graveFS struct {
	*crashfs.FS
	t        *testing.T
	unsynced map[string]bool
	graves   []grave
}

type grave struct {
	name string
	b    []byte
	// replaced is the file itself, if another took its name: it may still be written to.
	replaced store.File
}

type graveFile struct {
	store.File
	fs   *graveFS
	name string
}

func newGraveFS(t *testing.T) *graveFS {
	return &graveFS{FS: crashfs.New(), t: t, unsynced: map[string]bool{}}
}

func (g *graveFS) OpenFile(name string, flag int) (store.File, error) {
	if flag&os.O_TRUNC != 0 {
		g.bury(name, false)
	}
	f, err := g.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return &graveFile{f, g, name}, nil
}

func (g *graveFS) Remove(name string) error {
	if strings.HasSuffix(name, ".gone.tmp") && g.unsynced[name] {
		g.t.Errorf("%s was removed before its header was synced", name)
	}
	g.bury(name, false)
	return g.FS.Remove(name)
}

func (g *graveFS) Rename(oldName, newName string) error {
	g.bury(newName, true)
	return g.FS.Rename(oldName, newName)
}

func (g *graveFS) bury(name string, replaced bool) {
	f, err := g.FS.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return
	}
	if replaced {
		g.graves = append(g.graves, grave{name: name, replaced: f})
		return
	}
	must(g.t, f.Close())
	g.graves = append(g.graves, grave{name: name, b: readAll(g.t, g.FS, name)})
}

func (f *graveFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.unsynced[f.name] = true
	return f.File.WriteAt(b, off)
}

func (f *graveFile) Sync() error {
	delete(f.fs.unsynced, f.name)
	return f.File.Sync()
}

// dig says how many graves there are of each kind of file with something in it, and how many of them open with the key of the store.
func (g *graveFS) dig() (all, open map[string]int) {
	all, open = map[string]int{}, map[string]int{}
	for _, x := range g.graves {
		if x.replaced != nil {
			size, err := x.replaced.Size()
			must(g.t, err)
			x.b = make([]byte, size)
			if size > 0 {
				_, err = x.replaced.ReadAt(x.b, 0)
				must(g.t, err)
			}
		}
		if len(x.b) <= 128 {
			continue
		}
		kind := graveKind(x.name)
		all[kind]++
		if opens(g.t, x.b) {
			open[kind]++
		}
	}
	return all, open
}

func graveKind(name string) string {
	base, _, _ := strings.Cut(path.Base(name), ".gone")
	if strings.HasPrefix(base, "run") {
		return "run"
	}
	if ext := path.Ext(base); ext != "" {
		return ext
	}
	return base
}

// opens says whether the bytes of a file can be decrypted: then it is as long as its content and a header.
func opens(t *testing.T, b []byte) bool {
	t.Helper()
	disk := crashfs.New()
	writeAll(t, disk, "/grave", b)
	f, err := sealed(t, disk).OpenFile("/grave", os.O_RDONLY)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	must(t, f.Close())
	return size != int64(len(b))
}

// graveWork makes a store delete files of each kind, and stops at the first error.
func graveWork(fs store.FS) (err error) {
	s, err := store.Open(storeDir, smallOptions(fs))
	if err != nil {
		return err
	}
	l, err := s.CreateLog(logDir, "0001")
	for n := uint64(0); n < 100 && err == nil; n++ {
		if _, err = s.Commit([]store.Entry{{Log: l, Replay: testHash(n), Body: testBody(n)}}); err == nil && n%10 == 9 {
			err = s.Done(s.Pool()[1:]...)
		}
		if err == nil && n%10 == 9 {
			err = s.Tend()
		}
	}
	if err == nil {
		err = s.Sweep(context.Background())
	}
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}

// TestDeletedFilesDoNotOpen tries to open what the disk keeps of deleted and replaced files with the key of the store.
func TestDeletedFilesDoNotOpen(t *testing.T) {
	fs := newGraveFS(t)
	must(t, graveWork(sealed(t, fs)))
	for _, name := range []string{storeDir + "/left.tmp", logDir + "/run-7.gone.tmp", logDir + "/manifest.tmp"} {
		writeAll(t, sealed(t, fs), name, bytes.Repeat([]byte("left"), 50))
		if !opens(t, readAll(t, fs, name)) {
			t.Fatal("the test does not do what it says")
		}
	}
	s, err := store.Open(storeDir, smallOptions(sealed(t, fs)))
	must(t, err)
	l, err := s.OpenLog(logDir, "0001")
	must(t, err)
	for _, dir := range []string{storeDir, logDir} {
		names, err := fs.ReadDir(dir)
		must(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, ".tmp") {
				t.Errorf("%s is still there", name)
			}
		}
	}
	// Under both names, as a file system may leave a renamed one.
	for _, name := range []string{"/run-9", "/run-9.gone.tmp"} {
		writeAll(t, sealed(t, fs), logDir+name, bytes.Repeat([]byte("left"), 50))
	}
	must(t, s.DestroyLog(l))
	if _, err := fs.ReadDir(logDir); err == nil {
		t.Error("the directory of the log is still there")
	}
	must(t, s.RemoveLog(logDir))
	l, err = s.CreateLog(logDir, "0001")
	must(t, err)
	must(t, s.CloseLog(l))
	// As a crash in DestroyLog leaves it.
	writeAll(t, sealed(t, fs), logDir+"/run-1", bytes.Repeat([]byte("left"), 50))
	must(t, sealed(t, fs).Remove(logDir+"/manifest"))
	if _, err := s.OpenLog(logDir, "0001"); !errors.Is(err, store.ErrNoLog) {
		t.Errorf("a log without manifest: %v", err)
	}
	if names, err := fs.ReadDir(logDir); err != nil || len(names) > 0 {
		t.Errorf("left of a log: %v, %v", names, err)
	}
	must(t, s.Close())
	all, open := fs.dig()
	for _, kind := range []string{".seg", ".idx", "run", "manifest", ".tmp"} {
		if all[kind] == 0 {
			t.Errorf("no file of the kind %s was deleted: %v", kind, all)
		}
	}
	if len(open) > 0 {
		t.Errorf("of the deleted files %v these open: %v", all, open)
	}
}

// TestCrashesLeaveNothingThatOpens lets the power go on the way, and lets the next start finish the deleting.
func TestCrashesLeaveNothingThatOpens(t *testing.T) {
	whole := newGraveFS(t)
	must(t, graveWork(sealed(t, whole)))
	total := whole.Changes()
	r := rand.New(rand.NewPCG(2, 2))
	for n := 0; n < total; n += 7 * stride {
		fs := newGraveFS(t)
		fs.CutPower(n)
		if err := graveWork(sealed(t, fs)); err == nil {
			t.Fatalf("cut after %d of %d changes: no error", n, total)
		}
		// What was replaced is the matter of the test above: a crash ends its handles.
		fs.graves = slices.DeleteFunc(fs.graves, func(x grave) bool { return x.replaced != nil })
		fs.Crash([]crashfs.Loss{crashfs.LoseNothing, crashfs.LoseAll, crashfs.LoseRandom}[n%3], r)
		s, err := store.Open(storeDir, smallOptions(sealed(t, fs)))
		must(t, err)
		if damage := s.Damage(); len(damage) > 0 {
			t.Errorf("cut after %d of %d changes: %v", n, total, damage)
		}
		must(t, s.Close())
		if _, open := fs.dig(); len(open) > 0 {
			t.Errorf("cut after %d of %d changes: of the deleted files these open: %v", n, total, open)
		}
	}
	t.Logf("%d changes", total)
}
