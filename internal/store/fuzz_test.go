package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"reflect"
	"testing"
)

// memFile is a file in memory, for parsers.
type memFile struct{ b []byte }

func (m *memFile) ReadAt(b []byte, off int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(b, off)
}
func (m *memFile) WriteAt(b []byte, off int64) (int, error) {
	if end := off + int64(len(b)); end > int64(len(m.b)) {
		m.b = append(m.b, make([]byte, end-int64(len(m.b)))...)
	}
	return copy(m.b[off:], b), nil
}
func (m *memFile) Close() error           { return nil }
func (m *memFile) Truncate(n int64) error { m.b = m.b[:n]; return nil }
func (m *memFile) Size() (int64, error)   { return int64(len(m.b)), nil }
func (m *memFile) Sync() error            { return nil }

var testRecords = []record{
	{kind: kindPut},
	{kind: kindPut, queues: []string{"", "hop"}, puts: []putEntry{{1, 300, 0, 0, 3, 0}, {2, 300, 600, 1, 0, 2}},
		groups: []hashGroup{{logID{1}, bytes.Repeat([]byte{7}, 40)}, {logID{2}, bytes.Repeat([]byte{9}, 20)}}},
	{kind: kindMove, queues: []string{"a"}, moves: []moveEntry{{1, 300, 0}, {2, 600, 0}}},
	{kind: kindNote, notes: []noteEntry{{1, 300, 4}}},
	{kind: kindDone, dones: []ID{1, 2, 3}},
	{kind: kindSealed, queues: []string{""}, puts: []putEntry{{3, 300, 0, 0, 5, 0}, {4, 300, 0, 0, 0, 0}}, keys: []uint32{9, 1},
		groups: []hashGroup{{logID{1}, bytes.Repeat([]byte{7}, 20)}}},
}

func TestRecordRoundTrip(t *testing.T) {
	for _, want := range testRecords {
		b := appendRecord(nil, &want)
		got, err := parseRecord(want.kind, b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		for n := range b {
			if _, err := parseRecord(want.kind, b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("kind %d cut to %d bytes: %v", want.kind, n, err)
			}
		}
		if _, err := parseRecord(want.kind, append(b, 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("kind %d with a byte too many: %v", want.kind, err)
		}
	}
	if _, err := parseRecord(99, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("unknown kind: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range testRecords {
		f.Add(byte(r.kind), appendRecord(nil, &r))
	}
	f.Fuzz(func(t *testing.T, k byte, b []byte) {
		r, err := parseRecord(kind(k), b)
		if err != nil {
			return
		}
		again := appendRecord(nil, &r)
		// The two reserved bytes of notes are not kept.
		if kind(k) != kindNote && !bytes.Equal(again, b) {
			t.Errorf("parsed and built again: %x, was %x", again, b)
		}
	})
}

// testSegment builds a segment with all kinds of frames and returns it with its header.
func testSegment() (b, header []byte, m mark) {
	m = mark{1, 2, 3, 4, 5, 6, 7, 8}
	h := segHeader{number: 1, store: storeID{9}, mark: m, nextID: 1, nextSeq: 1}
	b = h.append(nil)
	header = b[:segHeaderLen:segHeaderLen]
	for i, r := range testRecords {
		frame := appendRecord(newFrame(nil), &r)
		table := len(frame) - frameHeadLen
		frame = append(frame, make([]byte, r.bodiesLen())...)
		sealFrame(frame, frameHead{mark: m, seq: uint64(i + 1), durable: uint32(len(b)), table: uint32(table), kind: r.kind})
		b = append(b, frame...)
	}
	return b, header, m
}

// FuzzSegment walks over any bytes as a segment, and cuts its tail. The frames of the input get their checksums, so
// that the fuzzer need not find them.
func FuzzSegment(f *testing.F) {
	b, _, m := testSegment()
	f.Add(b, false)
	f.Add(b, true)
	f.Add(b[:len(b)-5], false)
	f.Add(append(bytes.Clone(b), m[:]...), false)
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		if repair {
			repairFrames(b, m)
		}
		sc := newScanner(&memFile{b}, int64(len(b)), m)
		at := int64(segHeaderLen)
		err := sc.walk(func(off int64, h frameHead, head []byte) error {
			if off != at || h.size() < frameHeadLen || off+h.size() > int64(len(b)) {
				t.Errorf("frame at %d, want %d", off, at)
			}
			at = off + h.size()
			_, _ = parseRecord(h.kind, head[frameHeadLen:])
			return nil
		}, func(off, end int64) error {
			if off != at || end <= off {
				t.Errorf("gap at %d, want %d", off, at)
			}
			at = end
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(b) >= segHeaderLen && at != int64(len(b)) {
			t.Errorf("walked to %d of %d", at, len(b))
		}
		end, frames, err := newScanner(&memFile{b}, int64(len(b)), m).tail()
		if err != nil {
			t.Fatal(err)
		}
		if frames > 0 && (end < segHeaderLen || end > int64(len(b))) {
			t.Errorf("%d frames up to %d of %d", frames, end, len(b))
		}
		// What was kept stays: a second look changes nothing. (With damage in it, the cut may take along the frame that
		// proves that the damage is none of a torn write.)
		intact := int64(segHeaderLen)
		_ = sc.walk(func(off int64, h frameHead, _ []byte) error {
			ok, err := newScanner(&memFile{b}, int64(len(b)), m).bodiesIntact(off, h)
			if off == intact && ok && err == nil {
				intact += h.size()
			}
			return nil
		}, func(int64, int64) error { return nil })
		if frames > 0 && intact >= end {
			end2, frames2, err := newScanner(&memFile{b[:end]}, end, m).tail()
			if err != nil || end2 != end || frames2 != frames {
				t.Errorf("second look: %d frames up to %d (%v), first: %d up to %d", frames2, end2, err, frames, end)
			}
		}
	})
}

// repairFrames makes checksums right where heads look possible.
func repairFrames(b []byte, m mark) {
	le := binary.LittleEndian
	for off := segHeaderLen; off+frameHeadLen <= len(b); {
		copy(b[off:], m[:])
		table, bodies := int(le.Uint32(b[off+20:])), int(le.Uint32(b[off+24:]))
		end := off + frameHeadLen + table + bodies
		if end > len(b) || end < off {
			return
		}
		body := b[off+frameHeadLen+table : end]
		le.PutUint32(b[off+28:], checksum(body))
		le.PutUint32(b[off+36:], checksum(b[off:off+36], b[off+frameHeadLen:off+frameHeadLen+table]))
		off = end
	}
}

func FuzzSidecar(f *testing.F) {
	seg, header, m := testSegment()
	// A long body, as a sidecar is only made when it is much shorter than the segment.
	frame := appendRecord(newFrame(nil), &record{kind: kindPut, queues: []string{""}, puts: []putEntry{{id: 5, length: 5000}}})
	table := len(frame) - frameHeadLen
	frame = append(frame, make([]byte, 5004)...)
	sealFrame(frame, frameHead{mark: m, seq: 9, table: uint32(table), kind: kindPut})
	seg = append(seg, frame...)
	idx, err := appendSidecar(nil, header, newScanner(&memFile{seg}, int64(len(seg)), m))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(idx)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > sidecarHeadLen+4 {
			copy(b, idx[:sidecarHeadLen-8])
			binary.LittleEndian.PutUint32(b[len(b)-4:], checksum(b[:len(b)-4]))
		}
		err := parseSidecar(b, header, int64(len(seg)), m, func(off int64, h frameHead, head []byte) error {
			if off+h.size() > int64(len(seg)) || len(head) != frameHeadLen+int(h.table) {
				t.Error("frame out of bounds")
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	m := manifest{log: logID{1}, key: filterKey{2}, store: storeID{3}, flushed: 4, nextRun: 9, name: "0001", runs: []uint64{5, 8}}
	f.Add(m.marshal())
	m.name, m.runs = "", nil
	f.Add(m.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 12 {
			copy(b, logMagic)
			binary.LittleEndian.PutUint32(b[len(b)-4:], checksum(b[:len(b)-4]))
		}
		m, err := parseManifest(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(m.marshal(), b) {
			t.Errorf("parsed and built again: %x, was %x", m.marshal(), b)
		}
	})
}

// testRun builds a run of n hashes.
func testRun(tb testing.TB, n uint64) ([]byte, prf) {
	tb.Helper()
	p, err := newPRF(filterKey{7})
	if err != nil {
		tb.Fatal(err)
	}
	t := newMemTable(func(h *replayHash) uint64 { return p.value(h).lo })
	for i := range n {
		h := hashOf(i)
		t.add(&h)
	}
	file := &memFile{}
	w := &runWriter{f: file, prf: p, log: logID{1}, buf: make([]byte, 0, runWriteLen+runBlockLen), run: run{f: file, filter: newFilter(n)}}
	for _, h := range t.sorted() {
		if err := w.add(&h); err != nil {
			tb.Fatal(err)
		}
	}
	if _, err := w.finish(); err != nil {
		tb.Fatal(err)
	}
	return file.b, p
}

func FuzzRun(f *testing.F) {
	for _, n := range []uint64{1, 300} {
		b, _ := testRun(f, n)
		f.Add(b, uint16(0))
		f.Add(b, uint16(5000))
	}
	f.Add([]byte{}, uint16(0))
	p, err := newPRF(filterKey{7})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, probe uint16) {
		repairRun(b)
		r := &run{f: &memFile{b}, size: int64(len(b))}
		if err := r.load(logID{1}); err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			return
		}
		h := hashOf(uint64(probe))
		hit, err := r.has(&h, p.value(&h))
		if err == nil && hit && !bytes.Contains(b, h[:]) {
			t.Error("hash found that is not there")
		}
		_ = r.check(p)
	})
}

// repairRun makes the checksums of footer, index and first block right.
func repairRun(b []byte) {
	le := binary.LittleEndian
	if len(b) < runFooterLen {
		return
	}
	foot := b[len(b)-runFooterLen:]
	copy(foot, runMagic)
	id := logID{1}
	copy(foot[8:], id[:])
	blocks, lines := uint64(le.Uint32(foot[32:])), uint64(le.Uint32(foot[36:]))
	if tail := blocks*hashLen + lines*filterBlock; tail <= uint64(len(b)-runFooterLen) {
		le.PutUint32(foot[40:], checksum(b[uint64(len(b)-runFooterLen)-tail:len(b)-runFooterLen]))
	}
	le.PutUint32(foot[52:], checksum(foot[:52]))
	if len(b) >= runBlockLen {
		le.PutUint32(b, checksum(b[4:runBlockLen]))
	}
}

func TestRunRoundTrip(t *testing.T) {
	const n = 5000
	b, p := testRun(t, n)
	r := &run{f: &memFile{b}, size: int64(len(b))}
	if err := r.load(logID{1}); err != nil {
		t.Fatal(err)
	}
	if r.count != n {
		t.Errorf("%d hashes, want %d", r.count, n)
	}
	if what := r.check(p); what != "" {
		t.Error(what)
	}
	maybe := 0
	for i := uint64(0); i < 2*n; i++ {
		h := hashOf(i)
		v := p.value(&h)
		hit, err := r.has(&h, v)
		if err != nil || hit != (i < n) {
			t.Fatalf("hash %d: %v, %v", i, hit, err)
		}
		if i >= n && r.filter.mayHave(v) {
			maybe++
		}
	}
	if maybe > n/10 {
		t.Errorf("the filter lets %d of %d foreign hashes through", maybe, n)
	}
	if err := r.load(logID{2}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("run of another log: %v", err)
	}
}

// FuzzSealedFile opens any bytes as an encrypted file and as a key page.
func FuzzSealedFile(f *testing.F) {
	fs, err := Sealed(nil, testSealKey)
	if err != nil {
		f.Fatal(err)
	}
	keys := &fs.(*sealedFS).keys
	f.Add(append(keys.newHead(sealMagic), "content"...))
	f.Add(append(keys.newHead(pageMagic), make([]byte, 100)...))
	f.Add(keys.newHead(sealMagic)[:sealHalfLen])
	f.Add([]byte("MXSEG\x00\x00\x01 in clear"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := fs.(*sealedFS).open(&memFile{b}, false)
		if err != nil {
			if !errors.Is(err, ErrKey) {
				t.Errorf("open: %v", err)
			}
			return
		}
		if size, err := file.Size(); err != nil || isSealed(file) && size != int64(len(b))-sealHeadLen {
			t.Errorf("size %d of %d bytes, %v", size, len(b), err)
		}
		page := &keyPage{f: &memFile{b}, wrap: keys.packets}
		if err := page.load(keys, os.O_RDONLY); err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("load: %v", err)
		}
		if end := slotOffset(page.slots + 1); end > int64(max(len(b), sealHeadLen)) {
			t.Errorf("%d slots in %d bytes", page.slots, len(b))
		}
	})
}
