// Package crashfs simulates a disk and its faults, for tests of what package store promises.
//
// The disk remembers what a real one guarantees and nothing more: content is safe after Sync of the file, names
// are safe after SyncDir of the directory. At a simulated power loss each unsynced change is kept, dropped or, if
// it is a write, torn into sectors of which any part arrives, in any order.
//
// Source: the guarantees of POSIX fsync. Real file systems do better in places (ext4 keeps the order of names);
// a program that survives here survives there.
package crashfs

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"mixminion/internal/store"
)

// ErrOff is the error of every call after a power loss, until Crash.
var ErrOff = errors.New("crashfs: power is off")

// ErrIO is the injected error of the medium.
var ErrIO = errors.New("crashfs: input/output error")

const sector = 64

// FS is a simulated disk. Its zero value is not ready: use New.
type FS struct {
	mu    sync.Mutex
	root  *node
	epoch int // counts crashes: handles of older epochs are dead
	off   bool
	locks map[string]bool

	countdown int // changes until the power goes; negative: never
	changes   int

	capacity  int64 // bytes of all files; negative: unlimited
	syncFails int   // syncs until one fails; negative: never
	noSync    bool
}

type node struct {
	dir bool

	// A directory.
	names, safeNames map[string]*node
	nameOps          []nameOp

	// A file.
	data, safeData []byte
	dataOps        []dataOp
}

// nameOp sets one or two names (a rename removes the old one) at once.
type nameOp struct {
	set, unset string
	to         *node
}

type dataOp struct {
	truncate bool
	off      int64
	data     []byte
}

var _ store.FS = (*FS)(nil)

// New returns an empty disk with an existing root directory "/".
func New() *FS {
	return &FS{root: newDir(), locks: map[string]bool{}, countdown: -1, capacity: -1, syncFails: -1}
}

func newDir() *node {
	return &node{dir: true, names: map[string]*node{}, safeNames: map[string]*node{}}
}

// CutPower lets the power go after n more changes of the disk; the change after the last one fails, a write half
// done. A negative n means never.
func (f *FS) CutPower(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.countdown = n
}

// Changes returns the number of changes (writes, syncs, names) so far.
func (f *FS) Changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// SetCapacity sets the size of the disk; negative means unlimited.
func (f *FS) SetCapacity(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = n
}

// Used returns the bytes of all files.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.root.used()
}

// FailSync makes the n-th sync of a file from now fail (0: the next). What it should have made safe never is, even
// when a later sync says so.
func (f *FS) FailSync(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncFails = n
}

// IgnoreSyncs makes every sync do nothing and say that all is well.
func (f *FS) IgnoreSyncs() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noSync = true
}

// Loss says what a crash does with changes that were not synced.
type Loss int

// The kinds of Loss.
const (
	LoseNothing Loss = iota // the process was killed, the system lives
	LoseAll                 // nothing unsynced arrives
	LoseRandom              // any part arrives
)

// Crash ends the current epoch: all handles and locks are dead, and the disk holds what arrived.
func (f *FS) Crash(loss Loss, r *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch++
	f.off = false
	f.countdown, f.syncFails = -1, -1
	clear(f.locks)
	f.root.crash(loss, r, map[*node]bool{})
}

func (n *node) crash(loss Loss, r *rand.Rand, seen map[*node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	keep := func() bool { return loss == LoseNothing || loss == LoseRandom && r.IntN(2) == 0 }
	if n.dir {
		for _, op := range n.nameOps {
			if keep() {
				op.apply(n.safeNames)
			}
		}
		n.nameOps = nil
		n.names = map[string]*node{}
		// In a fixed order, so that a seed repeats a crash.
		for _, name := range sortedNames(n.safeNames) {
			child := n.safeNames[name]
			child.crash(loss, r, seen)
			n.names[name] = child
		}
		return
	}
	for _, op := range n.dataOps {
		switch {
		case loss == LoseNothing:
			n.safeData = op.apply(n.safeData)
		case loss == LoseAll:
		case r.IntN(3) == 0:
			n.safeData = op.apply(n.safeData)
		case r.IntN(2) == 0 && !op.truncate:
			for off := 0; off < len(op.data); off += sector {
				if r.IntN(2) == 0 {
					part := op.data[off:min(off+sector, len(op.data))]
					n.safeData = dataOp{off: op.off + int64(off), data: part}.apply(n.safeData)
				}
			}
		}
	}
	n.dataOps = nil
	n.data = slices.Clone(n.safeData)
}

func sortedNames(m map[string]*node) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (op nameOp) apply(names map[string]*node) {
	if op.unset != "" {
		delete(names, op.unset)
	}
	if op.set != "" {
		names[op.set] = op.to
	}
}

func (op dataOp) apply(b []byte) []byte {
	end := op.off + int64(len(op.data))
	if op.truncate {
		if op.off < int64(len(b)) {
			return b[:op.off:op.off]
		}
		end = op.off
	}
	if end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[op.off:], op.data)
	return b
}

func (n *node) used() int64 {
	total := int64(len(n.data))
	for _, c := range n.names {
		total += c.used()
	}
	return total
}

// change counts a change of the disk. False: the power goes now.
func (f *FS) change() bool {
	if f.countdown == 0 {
		f.off = true
		return false
	}
	if f.countdown > 0 {
		f.countdown--
	}
	f.changes++
	return true
}

func (f *FS) find(path string) (*node, error) {
	if f.off {
		return nil, ErrOff
	}
	path = filepath.Clean(path)
	if path == string(filepath.Separator) {
		return f.root, nil
	}
	parent, err := f.find(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	n, ok := parent.names[filepath.Base(path)]
	if !ok {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return n, nil
}

func (f *FS) do(dir *node, op nameOp) error {
	if !f.change() {
		return ErrOff
	}
	op.apply(dir.names)
	dir.nameOps = append(dir.nameOps, op)
	return nil
}

// OpenFile implements store.FS.
func (f *FS) OpenFile(name string, flag int) (store.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, err := f.find(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	n, ok := dir.names[filepath.Base(name)]
	switch {
	case !ok && flag&os.O_CREATE == 0:
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	case ok && flag&os.O_EXCL != 0:
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrExist}
	case ok && n.dir:
		return nil, &os.PathError{Op: "open", Path: name, Err: errors.New("is a directory")}
	case !ok:
		n = &node{}
		if err := f.do(dir, nameOp{set: filepath.Base(name), to: n}); err != nil {
			return nil, err
		}
	}
	h := &file{f: f, n: n, epoch: f.epoch, readOnly: flag&os.O_RDWR == 0}
	if flag&os.O_TRUNC != 0 && len(n.data) > 0 {
		if err := h.change(dataOp{truncate: true}); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Mkdir implements store.FS.
func (f *FS) Mkdir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, err := f.find(filepath.Dir(name))
	if err != nil {
		return err
	}
	if n, ok := dir.names[filepath.Base(name)]; ok {
		if !n.dir {
			return &os.PathError{Op: "mkdir", Path: name, Err: os.ErrExist}
		}
		return nil
	}
	return f.do(dir, nameOp{set: filepath.Base(name), to: newDir()})
}

// ReadDir implements store.FS.
func (f *FS) ReadDir(name string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(name)
	if err != nil {
		return nil, err
	}
	return sortedNames(n.names), nil
}

// Rename implements store.FS, within one directory.
func (f *FS) Rename(oldName, newName string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(oldName)
	if err != nil {
		return err
	}
	dir, err := f.find(filepath.Dir(newName))
	if err != nil {
		return err
	}
	if filepath.Dir(oldName) != filepath.Dir(newName) {
		return fmt.Errorf("crashfs: rename between directories: %w", errors.ErrUnsupported)
	}
	return f.do(dir, nameOp{set: filepath.Base(newName), unset: filepath.Base(oldName), to: n})
}

// Remove implements store.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(name)
	if err != nil {
		return err
	}
	if len(n.names) > 0 {
		return &os.PathError{Op: "remove", Path: name, Err: errors.New("directory not empty")}
	}
	dir, err := f.find(filepath.Dir(name))
	if err != nil {
		return err
	}
	return f.do(dir, nameOp{unset: filepath.Base(name)})
}

// SyncDir implements store.FS.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(name)
	if err != nil {
		return err
	}
	if !f.change() {
		return ErrOff
	}
	if f.noSync {
		return nil
	}
	for _, op := range n.nameOps {
		op.apply(n.safeNames)
	}
	n.nameOps = nil
	return nil
}

// Stamp implements store.FS; the simulated disk has no times.
func (f *FS) Stamp(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.find(name)
	return err
}

// Free implements store.FS.
func (f *FS) Free(string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off {
		return 0, ErrOff
	}
	if f.capacity < 0 {
		return 1 << 50, nil
	}
	return max(0, f.capacity-f.root.used()), nil
}

// Lock implements store.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	h, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks[name] {
		return nil, store.ErrLocked
	}
	f.locks[name] = true
	return &lock{f, name, f.epoch, h}, nil
}

type lock struct {
	f     *FS
	name  string
	epoch int
	h     store.File
}

// Close releases the lock.
func (l *lock) Close() error {
	l.f.mu.Lock()
	if l.epoch == l.f.epoch {
		delete(l.f.locks, l.name)
	}
	l.f.mu.Unlock()
	return l.h.Close()
}
