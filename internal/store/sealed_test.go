package store

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

var testSealKey = [32]byte{7}

func sealedOptions(t testing.TB, key [32]byte) Options {
	t.Helper()
	fs, err := Sealed(nil, key)
	if err != nil {
		t.Fatal(err)
	}
	return Options{FS: fs, Manual: true, SegmentBytes: 1 << 16, RunEntries: 16}
}

func openSealed(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(filepath.Join(dir, "store"), sealedOptions(t, testSealKey))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rawFiles reads all files below a directory as they are on the disk.
func rawFiles(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// secretBody is a body of which every window of some bytes is known.
func secretBody(n uint64) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("packet %d, in clear. ", n)), 60)
}

// tellNothing fails if a file holds a part of a known packet, a hash, or a name.
func tellNothing(t *testing.T, dir string, packets uint64) {
	t.Helper()
	for path, b := range rawFiles(t, dir) {
		for n := range packets {
			h := hashOf(n)
			if bytes.Contains(b, []byte(fmt.Sprintf("packet %d,", n))) || bytes.Contains(b, h[:8]) {
				t.Errorf("%s holds packet %d or its hash", path, n)
			}
		}
		for _, text := range []string{"in clear", "relay1.example", "key_0001"} {
			if bytes.Contains(b, []byte(text)) {
				t.Errorf("%s holds %q", path, text)
			}
		}
	}
}

// TestSealedFilesTellNothing reads the files of an encrypted store after each kind of work.
func TestSealedFilesTellNothing(t *testing.T) {
	dir := t.TempDir()
	s := openSealed(t, dir)
	l, err := s.CreateLog(filepath.Join(dir, "replay"), "key_0001")
	if err != nil {
		t.Fatal(err)
	}
	const packets = 100
	for n := range uint64(packets) {
		commit(t, s, Entry{Log: l, Replay: hashOf(n), Body: secretBody(n), Queued: 300})
		if n%10 == 0 {
			tellNothing(t, dir, n+1)
		}
	}
	pool := s.Pool()
	move := make([]Assignment, 0, 50)
	for _, id := range pool[:50] {
		move = append(move, Assignment{ID: id, Queue: "relay1.example 48099", Queued: 600})
	}
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		tellNothing(t, dir, packets)
	}
	do("move", s.Move(move))
	do("note", s.Note(pool[:50], 3, 900))
	do("done", s.Done(pool[:20]...))
	do("tend", s.Tend())
	do("sweep", s.Sweep(context.Background()))
	do("close", s.Close())
	s = openSealed(t, dir)
	if l, err = s.OpenLog(filepath.Join(dir, "replay"), "key_0001"); err != nil {
		t.Fatal(err)
	}
	do("start", s.DropOrphans())
	if q := s.Queue("relay1.example 48099", 0); len(q) != 30 || q[0].Attempts != 3 || s.PoolSize() != 50 {
		t.Errorf("after a restart: %d packets in the queue, %d in the pool", len(q), s.PoolSize())
	}
	for _, id := range s.Pool() {
		b, err := s.Read(id, nil)
		if err != nil || !bytes.Contains(b, []byte("in clear")) {
			t.Errorf("read: %v", err)
		}
	}
	if got := commit(t, s, Entry{Log: l, Replay: hashOf(5), Body: secretBody(5)}); got[0] {
		t.Error("a replay was accepted")
	}
	do("close", s.Close())
	rep, err := Check(sealedOptions(t, testSealKey).FS, filepath.Join(dir, "store"))
	if err != nil || len(rep.Damage) > 0 || rep.Packets != 80 {
		t.Errorf("check: %+v, %v", rep, err)
	}
	logs, err := CheckLog(sealedOptions(t, testSealKey).FS, filepath.Join(dir, "replay"))
	if err != nil || len(logs.Damage) > 0 || logs.Hashes != packets {
		t.Errorf("check of the replay log: %+v, %v", logs, err)
	}
}

// stolen is what somebody has who has taken the disk and the key of the store: the bytes of a packet in a segment, and the key page.
type stolen struct {
	body []byte // encrypted
	id   ID
}

func steal(t *testing.T, s *Store, id ID) stolen {
	t.Helper()
	slot, ok := s.packets.find(id)
	if !ok {
		t.Fatal("no such packet")
	}
	r := s.packets.at(slot)
	b := make([]byte, int(r.length)+bodyTrailer)
	if err := readFull(s.segment(r.seg).f, b, int64(r.off)); err != nil {
		t.Fatal(err)
	}
	return stolen{b, id}
}

// opens tries all 32 bytes in a row of the key page, as they are and unwrapped, and says how many of them open the packet.
func (x stolen) opens(t *testing.T, dir string) int {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(dir, "store", keyPageName))
	if err != nil {
		t.Fatal(err)
	}
	wrap := sealedOptions(t, testSealKey).FS.(*sealedFS).keys.packets
	plain := make([]byte, len(page)/aes.BlockSize*aes.BlockSize)
	for off := 0; off < len(plain); off += aes.BlockSize {
		wrap.Decrypt(plain[off:], page[off:])
	}
	found := 0
	for _, b := range [][]byte{page, plain} {
		for off := 0; off+slotLen <= len(b); off++ {
			block, err := aes.NewCipher(b[off : off+slotLen])
			if err != nil {
				t.Fatal(err)
			}
			var iv [aes.BlockSize]byte
			body := make([]byte, len(x.body))
			cipher.NewCTR(block, iv[:]).XORKeyStream(body, x.body)
			n := len(body) - bodyTrailer
			if bodySum(x.id, body[:n]) == binary.LittleEndian.Uint32(body[n:]) && bytes.Contains(body, []byte("in clear")) {
				found++
			}
		}
	}
	return found
}

// TestErasedKeyIsGone takes the encrypted bytes of packets before they are erased, and tries to open them afterwards
// with everything that the key page holds.
func TestErasedKeyIsGone(t *testing.T) {
	dir := t.TempDir()
	s := openSealed(t, dir)
	var loot []stolen
	fill := func() []ID {
		loot = nil
		for n := range uint64(10) {
			commit(t, s, Entry{Body: secretBody(n)})
		}
		ids := s.Pool()
		for _, id := range ids {
			loot = append(loot, steal(t, s, id))
		}
		return ids
	}
	want := func(when string, from, to, keys int) {
		t.Helper()
		for i, x := range loot[from:to] {
			if got := x.opens(t, dir); got != keys {
				t.Errorf("%s: %d keys open packet %d, want %d", when, got, from+i, keys)
			}
		}
	}
	ids := fill()
	want("at first", 0, 10, 1)
	if err := s.Done(ids[:3]...); err != nil {
		t.Fatal(err)
	}
	want("after Done", 0, 3, 0)
	want("beside those of Done", 3, 10, 1)
	if err := s.DoneSoon(ids[3:5]...); err != nil {
		t.Fatal(err)
	}
	want("before the erasure is durable", 3, 5, 1)
	commit(t, s)
	if err := s.Tend(); err != nil {
		t.Fatal(err)
	}
	want("after DoneSoon and a tick", 3, 5, 0)
	if err := s.DoneSoon(ids[5]); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	want("after Sweep", 5, 6, 0)
	if err := s.DoneSoon(ids[6]); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	want("after Close", 6, 7, 0)
	want("to the end", 7, 10, 1)

	// As after kill -9, with the erasure durable and the key still there.
	s = openSealed(t, dir)
	if err := s.DoneSoon(s.Pool()...); err != nil {
		t.Fatal(err)
	}
	commit(t, s)
	want("before the end", 7, 10, 1)
	s.stopped.Do(func() { close(s.stop) })
	if err := s.closeFiles(); err != nil {
		t.Fatal(err)
	}
	s = openSealed(t, dir)
	want("after the next start", 7, 10, 0)

	// The shredder of its own.
	mustClose(t, s)
	opts := sealedOptions(t, testSealKey)
	opts.Manual = false
	s, err := Open(filepath.Join(dir, "store"), opts)
	if err != nil {
		t.Fatal(err)
	}
	ids = fill()
	if err := s.DoneSoon(ids...); err != nil {
		t.Fatal(err)
	}
	commit(t, s)
	mustClose(t, s)
	want("at the end", 0, 10, 0)
}

// TestWrongKey opens stores with what does not fit; nothing may change.
func TestWrongKey(t *testing.T) {
	dir := t.TempDir()
	s := openSealed(t, dir)
	log := filepath.Join(dir, "replay")
	l, err := s.CreateLog(log, "key_0001")
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(20) {
		commit(t, s, Entry{Log: l, Replay: hashOf(n), Body: secretBody(n)})
	}
	mustClose(t, s)
	if err := os.WriteFile(filepath.Join(dir, "store", "left.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := rawFiles(t, dir)
	other := sealedOptions(t, [32]byte{8})
	for name, c := range map[string]struct {
		opts Options
		want error
	}{
		"another key": {other, ErrKey}, "no key": {Options{Manual: true}, ErrSealed},
	} {
		if _, err := Open(filepath.Join(dir, "store"), c.opts); !errors.Is(err, c.want) {
			t.Errorf("%s: open: %v", name, err)
		}
		if _, err := Check(c.opts.FS, filepath.Join(dir, "store")); !errors.Is(err, c.want) {
			t.Errorf("%s: check: %v", name, err)
		}
		if _, err := CheckLog(c.opts.FS, log); !errors.Is(err, c.want) {
			t.Errorf("%s: check of the log: %v", name, err)
		}
		elsewhere, err := Open(filepath.Join(t.TempDir(), "store"), c.opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := elsewhere.OpenLog(log, "key_0001"); !errors.Is(err, c.want) {
			t.Errorf("%s: open the log: %v", name, err)
		}
		mustClose(t, elsewhere)
	}
	after := rawFiles(t, dir)
	for path, b := range before {
		if !bytes.Equal(after[path], b) {
			t.Errorf("%s was changed", path)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files, before %d", len(after), len(before))
	}

	// Without its key page an encrypted store does not open, and is left alone.
	if err := os.Remove(filepath.Join(dir, "store", keyPageName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "store"), sealedOptions(t, testSealKey)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("without the key page: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "store"), Options{Manual: true}); !errors.Is(err, ErrSealed) {
		t.Errorf("without key and key page: %v", err)
	}
}

// TestDamagedKeyPage changes bytes of the key page.
func TestDamagedKeyPage(t *testing.T) {
	dir := t.TempDir()
	s := openSealed(t, dir)
	for n := range uint64(10) {
		commit(t, s, Entry{Body: secretBody(n)})
	}
	mustClose(t, s)
	path := filepath.Join(dir, "store", keyPageName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	readable := func(page []byte) (n int) {
		t.Helper()
		if err := os.WriteFile(path, page, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openSealed(t, dir)
		for _, id := range s.Pool() {
			_, err := s.Read(id, nil)
			if err == nil {
				n++
			} else if !errors.Is(err, ErrCorrupt) {
				t.Errorf("read: %v", err)
			}
		}
		mustClose(t, s)
		return n
	}
	slot := bytes.Clone(good)
	slot[sealHeadLen+3*slotLen] ^= 1
	half := bytes.Clone(good)
	half[0] ^= 1
	head := bytes.Clone(half)
	head[sealHalfLen+20] ^= 1
	for name, c := range map[string]struct {
		page []byte
		want int
	}{
		"intact": {good, 10}, "one slot": {slot, 9}, "half of the header": {half, 10}, "the whole header": {head, 10},
		"cut": {good[:sealHeadLen+5*slotLen+1], 5}, "empty": {nil, 0},
	} {
		if got := readable(c.page); got != c.want {
			t.Errorf("%s: %d packets can be read, want %d", name, got, c.want)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedErasure lets the record rot that erased a packet, of which the key was used again.
func TestDamagedErasure(t *testing.T) {
	dir := t.TempDir()
	s := openSealed(t, dir)
	commit(t, s, Entry{Body: secretBody(1)})
	old := s.Pool()[0]
	seg := s.active()
	off := seg.size
	if err := s.Done(old); err != nil {
		t.Fatal(err)
	}
	commit(t, s, Entry{Body: secretBody(2)})
	commit(t, s)
	slot, _ := s.packets.find(s.Pool()[0])
	if s.packets.key(slot) != 1 {
		t.Fatal("the key was not used again")
	}
	mustClose(t, s)
	f, err := os.OpenFile(seg.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("rot"), off+sealHeadLen+20); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), os.Remove(idxPath(seg.path))); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	s = openSealed(t, dir)
	if len(s.Damage()) != 2 {
		t.Errorf("damage: %v", s.Damage())
	}
	for range 2 {
		bad := 0
		for _, id := range s.Pool() {
			b, err := s.Read(id, nil)
			switch {
			case err == nil && !bytes.Equal(b, secretBody(2)):
				t.Error("another packet")
			case errors.Is(err, ErrCorrupt):
				bad++
				if err := s.Done(id); err != nil {
					t.Error(err)
				}
			case err != nil:
				t.Error(err)
			}
		}
		if n := s.PoolSize(); n != 1 {
			t.Errorf("%d packets in the pool, %d were bad", n, bad)
		}
	}
	mustClose(t, s)
}

// fullFS says that the disk is full when segments are written, after it has written the first half.
type fullFS struct {
	FS
	full bool
}

type fullFile struct {
	File
	fs *fullFS
}

func (f *fullFS) OpenFile(name string, flag int) (File, error) {
	file, err := f.FS.OpenFile(name, flag)
	if err != nil || filepath.Ext(name) != segExt {
		return file, err
	}
	return &fullFile{file, f}, nil
}

func (f *fullFile) WriteAt(b []byte, off int64) (int, error) {
	if !f.fs.full || len(b) <= sealHeadLen {
		return f.File.WriteAt(b, off)
	}
	n, err := f.File.WriteAt(b[:len(b)/2], off)
	return n, errors.Join(ErrFull, err)
}

// TestKeysOfFailedCopies encrypts an old store while the disk is full, and accounts for all keys: of a copy that was
// begun something may be left on the medium, so its key must go, too.
func TestKeysOfFailedCopies(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(filepath.Join(dir, "store"), Options{Manual: true, SegmentBytes: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(20) {
		commit(t, s, Entry{Body: secretBody(n)})
	}
	mustClose(t, s)
	disk := &fullFS{FS: OS}
	opts := sealedOptions(t, testSealKey)
	if opts.FS, err = Sealed(disk, testSealKey); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(filepath.Join(dir, "store"), opts); err != nil {
		t.Fatal(err)
	}
	disk.full = true
	for range 3 {
		if _, err := s.reclaimOldest(); !errors.Is(err, ErrFull) {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	disk.full = false
	if err := s.DropOrphans(); err != nil || s.Usage().Clear != 0 {
		t.Fatalf("encrypt: %v, %d bytes in clear", err, s.Usage().Clear)
	}
	if err := s.Tend(); err != nil {
		t.Fatal(err)
	}
	known := map[uint32]bool{}
	for _, slot := range s.page.free {
		known[slot] = true
	}
	for _, id := range s.Pool() {
		slot, _ := s.packets.find(id)
		known[s.packets.key(slot)] = true
		if b, err := s.Read(id, nil); err != nil || !bytes.Contains(b, []byte("in clear")) {
			t.Errorf("read: %v", err)
		}
	}
	for slot := uint32(1); slot <= s.page.slots; slot++ {
		if !known[slot] {
			t.Errorf("the key in slot %d belongs to no packet and was not destroyed", slot)
		}
	}
	mustClose(t, s)
}
