package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"mixminion/internal/store"
	"mixminion/internal/store/crashfs"
)

const corruptPackets = 6

// corruptBody has 80 bytes, or 800 with which a sidecar is worth its while.
func corruptBody(n uint64, long bool) []byte {
	b := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, n), 10)
	if long {
		return bytes.Repeat(b, 10)
	}
	return b
}

// corruptWorld makes a store with one packet a frame, moved and noted, one of them erased. clean: closed properly, so
// that its segment is sealed.
func corruptWorld(t *testing.T, clean, long bool) (*crashfs.FS, store.Options) {
	t.Helper()
	fs := crashfs.New()
	opts := smallOptions(fs)
	opts.SegmentBytes = 32 << 10
	s := mustOpen(t, fs, opts)
	l, err := s.CreateLog(logDir, "0001")
	must(t, err)
	for n := range uint64(corruptPackets) {
		mustCommit(t, s, store.Entry{Log: l, Replay: testHash(n), Body: corruptBody(n, long), Queue: "q"})
		must(t, s.Note([]store.ID{s.Queue("q", 0)[0].ID}, 1, 300))
	}
	must(t, s.Move([]store.Assignment{{ID: s.Queue("q", 1)[0].ID, Queue: "hop"}}))
	must(t, s.Done(s.Queue("q", 1)[0].ID))
	mustCommit(t, s)
	if clean {
		must(t, s.Close())
	} else {
		fs.CutPower(0)
		_ = s.Close()
		fs.Crash(crashfs.LoseAll, nil)
	}
	return fs, opts
}

// survivors opens the store and counts the packets that can be read and those that are damaged.
func survivors(t *testing.T, fs *crashfs.FS, opts store.Options) (intact, rotten int, damage []store.Damage) {
	t.Helper()
	s := mustOpen(t, fs, opts)
	for _, q := range []string{"", "q", "hop"} {
		for _, item := range s.Queue(q, 0) {
			b, err := s.Read(item.ID, nil)
			switch {
			case errors.Is(err, store.ErrCorrupt):
				rotten++
				must(t, s.Done(item.ID))
			case err != nil:
				t.Fatal(err)
			default:
				if n := binary.LittleEndian.Uint64(b); n >= corruptPackets || !bytes.Equal(b, corruptBody(n, len(b) > 80)) {
					t.Error("a packet changed and nobody noticed")
				}
				intact++
			}
		}
	}
	damage = s.Damage()
	must(t, s.Close())
	return intact, rotten, damage
}

func segmentFiles(t *testing.T, fs store.FS, ext string) []string {
	t.Helper()
	names, err := fs.ReadDir(storeDir)
	must(t, err)
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ext) })
	slices.Sort(names)
	return names
}

// TestFlippedBits flips every bit of a segment, one at a time: at most one packet is lost for it, and either the
// store reports the damage, or reading the packet does, or (in the last frame of the journal) the frame counts as
// torn.
func TestFlippedBits(t *testing.T) {
	for form := range 4 {
		clean, long := form&1 != 0, form&2 != 0
		fs, opts := corruptWorld(t, clean, long)
		sound := takeFiles(t, fs)
		if sidecars := len(segmentFiles(t, fs, ".idx")); (sidecars > 0) != (clean && long) {
			t.Fatalf("%d sidecars", sidecars)
		}
		size := len(readAll(t, fs, storeDir+"/"+segmentFiles(t, fs, ".seg")[0]))
		step := stride
		if long {
			step = 7 * stride
		}
		for i := 0; i < size; i += step {
			fs := sound.disk(t)
			opts.FS = fs
			name := storeDir + "/" + segmentFiles(t, fs, ".seg")[0]
			b := readAll(t, fs, name)
			b[i] ^= 1 << (i % 8)
			writeAll(t, fs, name, b)
			rep, err := store.Check(fs, storeDir)
			must(t, err)
			if len(rep.Damage) == 0 && rep.Torn == 0 {
				t.Fatalf("clean %v, byte %d of %d: the checker found nothing", clean, i, size)
			}
			intact, rotten, damage := survivors(t, fs, opts)
			// Losing the frame that erased a packet brings it back.
			if intact+rotten < corruptPackets-2 || intact < corruptPackets-2 || intact+rotten > corruptPackets {
				t.Fatalf("clean %v, byte %d of %d: %d intact, %d rotten, %v", clean, i, size, intact, rotten, damage)
			}
			if intact < corruptPackets-1 && rotten == 0 && len(damage) == 0 {
				t.Fatalf("clean %v, byte %d of %d: a packet is lost without a word", clean, i, size)
			}
		}
	}
}

func TestDamagedSidecar(t *testing.T) {
	fs, opts := corruptWorld(t, true, true)
	sound := takeFiles(t, fs)
	size := len(readAll(t, fs, storeDir+"/"+segmentFiles(t, fs, ".idx")[0]))
	for i := 0; i < size; i += 7 {
		for _, cut := range []bool{false, true} {
			fs := sound.disk(t)
			opts.FS = fs
			name := storeDir + "/" + segmentFiles(t, fs, ".idx")[0]
			b := readAll(t, fs, name)
			if cut {
				b = b[:i]
			} else {
				b[i] ^= 4
			}
			writeAll(t, fs, name, b)
			intact, rotten, damage := survivors(t, fs, opts)
			if intact != corruptPackets-1 || rotten != 0 || len(damage) == 0 {
				t.Fatalf("byte %d: %d intact, %d rotten, %v", i, intact, rotten, damage)
			}
		}
	}
}

func TestMissingSegment(t *testing.T) {
	fs := crashfs.New()
	opts := smallOptions(fs)
	s := mustOpen(t, fs, opts)
	for n := range uint64(60) {
		mustCommit(t, s, store.Entry{Body: testBody(n)})
	}
	must(t, s.Close())
	segs := segmentFiles(t, fs, ".seg")
	must(t, fs.Remove(storeDir+"/"+segs[2]))
	s = mustOpen(t, fs, opts)
	if n := s.PoolSize(); n < 30 || n >= 60 {
		t.Errorf("%d packets", n)
	}
	must(t, s.Close())
	checkSound(t, fs)
}

// TestForeignSegment refuses a segment of another store: replayed hashes must not be judged by foreign numbers.
func TestForeignSegment(t *testing.T) {
	fs, opts := corruptWorld(t, true, true)
	other, _ := corruptWorld(t, true, true)
	b := readAll(t, other, storeDir+"/"+segmentFiles(t, other, ".seg")[0])
	writeAll(t, fs, storeDir+"/0000000009.seg", b)
	if _, err := store.Open(storeDir, opts); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("open: %v", err)
	}
}

// logWorld makes a replay log with some runs.
func logWorld(t *testing.T) (*crashfs.FS, store.Options, []string) {
	t.Helper()
	fs := crashfs.New()
	opts := smallOptions(fs)
	opts.RunEntries = 300
	s := mustOpen(t, fs, opts)
	l, err := s.CreateLog(logDir, "0001")
	must(t, err)
	for n := range uint64(900) {
		mustCommit(t, s, store.Entry{Log: l, Replay: testHash(n)})
		must(t, s.Tend())
	}
	must(t, s.Close())
	checkSound(t, fs)
	names, err := fs.ReadDir(logDir)
	must(t, err)
	slices.Sort(names)
	if len(names) < 2 {
		t.Fatalf("no runs: %v", names)
	}
	return fs, opts, names
}

func TestDamagedReplayLog(t *testing.T) {
	fs, opts, names := logWorld(t)
	sound := takeFiles(t, fs)
	for _, name := range names {
		size := len(readAll(t, fs, logDir+"/"+name))
		for i := 0; i < size; i += stride * (1 + size/60) {
			fs := sound.disk(t)
			opts.FS = fs
			b := readAll(t, fs, logDir+"/"+name)
			b[i] ^= 0x10
			writeAll(t, fs, logDir+"/"+name, b)
			rep, err := store.CheckLog(fs, logDir)
			must(t, err)
			if len(rep.Damage) == 0 {
				t.Fatalf("%s, byte %d: the checker found nothing", name, i)
			}
			s := mustOpen(t, fs, opts)
			l, err := s.OpenLog(logDir, "0001")
			if err != nil {
				if !errors.Is(err, store.ErrCorrupt) {
					t.Fatal(err)
				}
				must(t, s.Close())
				continue
			}
			// A block is damaged: what may be in it counts as seen, never as new.
			for n := range uint64(900) {
				if !l.Has(testHash(n)) {
					t.Fatalf("%s, byte %d: hash %d is forgotten", name, i, n)
				}
			}
			if len(s.Damage()) == 0 {
				t.Fatalf("%s, byte %d: no damage reported", name, i)
			}
			for n := uint64(900); n < 1800; n += 3 {
				_, err := s.Commit([]store.Entry{{Log: l, Replay: testHash(n)}, {Log: l, Replay: testHash(n + 1)}, {Log: l, Replay: testHash(n + 2)}})
				must(t, err)
				must(t, s.Tend())
			}
			must(t, s.Close())
		}
	}
}

func TestMissingRun(t *testing.T) {
	fs, opts, names := logWorld(t)
	must(t, fs.Remove(logDir+"/"+names[len(names)-1]))
	s := mustOpen(t, fs, opts)
	if _, err := s.OpenLog(logDir, "0001"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("open log: %v", err)
	}
	must(t, s.Close())
	rep, err := store.CheckLog(fs, logDir)
	must(t, err)
	if len(rep.Damage) != 1 {
		t.Errorf("check log: %v", rep.Damage)
	}
}
