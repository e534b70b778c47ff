package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Report is what Check found. A store is sound when Damage is empty.
type Report struct {
	Segments int
	Frames   int
	Packets  int   // live
	Queues   int   // with packets, the pool excepted
	Hashes   int   // replay hashes in the journal
	Bytes    int64 // size of the segments
	Torn     int64 // bytes of a write that a crash interrupted; the next Open cuts them
	Damage   []Damage
}

// Check reads a closed store, bodies included, and changes nothing. A nil fs means OS. The error says that the check
// could not be made, ErrLocked for instance, or ErrSealed when the store is encrypted and the fs is not one that
// [Sealed] made; what is wrong with the store is in the report.
func Check(fs FS, dir string) (rep Report, err error) {
	if fs == nil {
		fs = OS
	}
	fail := func(err error) (Report, error) { return rep, fmt.Errorf("check store %s: %w", dir, err) }
	names, err := fs.ReadDir(dir)
	if err != nil {
		return fail(err)
	}
	if slices.Contains(names, lockName) {
		lock, err := fs.Lock(filepath.Join(dir, lockName))
		if err != nil {
			return fail(err)
		}
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	var numbers []uint32
	for _, name := range names {
		if n, ok := segNumber(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	c := checker{fs: fs, dir: dir, rep: &rep, s: &Store{fs: fs, dir: dir, packets: newIndex(), pending: map[logID][]pendingHashes{}}}
	if err := c.keys(names, numbers); err != nil {
		return fail(err)
	}
	defer func() {
		if c.s.page != nil {
			err = errors.Join(err, c.s.page.f.Close())
		}
	}()
	youngest := true
	for _, n := range slices.Backward(numbers) {
		// From young to old, to find where the tail is; applied from old to young below.
		end, frames, err := c.extent(n, youngest)
		if err != nil {
			return fail(err)
		}
		c.ends = append(c.ends, end)
		if frames > 0 {
			youngest = false
		}
	}
	slices.Reverse(c.ends)
	for i, n := range numbers {
		if err := c.segment(n, c.ends[i]); err != nil {
			return fail(err)
		}
	}
	if err := c.bodies(); err != nil {
		return fail(err)
	}
	rep.Segments = len(numbers)
	rep.Packets = c.s.packets.n
	for i := range c.s.packets.queues {
		if i != pool && c.s.packets.queues[i].refs > 0 {
			rep.Queues++
		}
	}
	for _, p := range c.s.pending {
		for _, h := range p {
			rep.Hashes += len(h.hashes) / hashLen
		}
	}
	rep.Damage = append(rep.Damage, c.s.damage...)
	return rep, nil
}

type checker struct {
	fs   FS
	dir  string
	rep  *Report
	s    *Store // index and accounts only
	ends []int64
	seq  uint64
}

// keys finds out whether the store is encrypted and opens its key page.
func (c *checker) keys(names []string, numbers []uint32) (err error) {
	have := slices.Contains(names, keyPageName)
	for _, n := range numbers {
		sealed, err := c.s.segmentSealed(n)
		if err != nil {
			return err
		}
		if _, ok := c.fs.(*sealedFS); sealed && !ok {
			return ErrSealed
		}
		if sealed && !have {
			c.s.noteDamageLocked(Damage{File: keyPageName, What: "the keys of the packets are missing"})
		}
	}
	fs, sealed := c.fs.(*sealedFS)
	if !have {
		return nil
	}
	if !sealed {
		return ErrSealed
	}
	c.s.page, err = openKeyPage(fs, c.dir, os.O_RDONLY)
	if err == nil && c.s.page.damaged {
		c.s.noteDamageLocked(Damage{File: keyPageName, Length: sealHeadLen, What: "header of the key page"})
	}
	return err
}

func (c *checker) open(number uint32) (File, int64, error) {
	f, err := c.fs.OpenFile(filepath.Join(c.dir, segName(number)), os.O_RDONLY)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// extent says how much of a segment counts and how many whole frames there are.
func (c *checker) extent(number uint32, tail bool) (end int64, frames int, err error) {
	f, size, err := c.open(number)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if !tail {
		return size, 1, nil
	}
	h, _, err := c.s.readSegHeader(f, size)
	if errors.Is(err, ErrCorrupt) {
		c.rep.Torn += size
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	end, frames, err = newScanner(f, size, h.mark).tail()
	c.rep.Torn += size - end
	return end, frames, err
}

// segment reads the frames of a segment and compares the sidecar.
func (c *checker) segment(number uint32, end int64) (err error) {
	f, size, err := c.open(number)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c.rep.Bytes += size
	name := segName(number)
	if end == 0 {
		return nil
	}
	h, header, err := c.s.readSegHeader(f, size)
	if errors.Is(err, ErrCorrupt) {
		c.s.noteDamageLocked(Damage{File: name, Length: size, What: "segment without a readable header"})
		return nil
	}
	if err != nil {
		return err
	}
	if header == nil {
		c.s.noteDamageLocked(Damage{File: name, Length: segHeaderLen, What: "header of a segment; its frames are intact"})
	} else if h.number != uint64(number) {
		c.s.noteDamageLocked(Damage{File: name, Length: segHeaderLen, What: "header of another segment"})
	}
	seg := &segment{number: number, mark: h.mark, size: end, logs: map[logID]uint64{}}
	c.s.segs = append(c.s.segs, seg)
	bad := func(off, length int64, what string) {
		c.s.noteDamageLocked(Damage{File: name, Offset: off, Length: length, What: what})
	}
	sc, bodies := newScanner(f, end, h.mark), newScanner(f, end, h.mark)
	err = sc.walk(func(off int64, h frameHead, head []byte) error {
		c.rep.Frames++
		r, err := parseRecord(h.kind, head[frameHeadLen:])
		if err != nil || r.bodiesLen() != int64(h.bodies) {
			bad(off, h.size(), "frame of unknown meaning")
			return nil
		}
		if h.seq <= c.seq {
			bad(off, h.size(), "sequence number goes back")
		}
		c.seq = h.seq
		ok, err := bodies.bodiesIntact(off, h)
		if err != nil {
			return err
		}
		if !ok {
			bad(off, h.size(), "bodies of a frame")
		}
		c.s.apply(seg, off, h, &r)
		return nil
	}, func(off, end int64) error {
		bad(off, end-off, "frames unreadable")
		return nil
	})
	if err != nil || header == nil {
		return err
	}
	return c.sidecar(seg, header, newScanner(f, end, h.mark))
}

func (c *checker) sidecar(seg *segment, header []byte, sc *scanner) error {
	path := idxPath(filepath.Join(c.dir, segName(seg.number)))
	have, err := readFile(c.fs, path, max(seg.size, 1<<20))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	want, werr := appendSidecar(nil, header, sc)
	if err != nil || werr == nil && !bytes.Equal(have, want) {
		c.s.noteDamageLocked(Damage{File: filepath.Base(path), Length: int64(len(have)), What: "sidecar; the segment itself will be read"})
	}
	return nil
}

// bodies checks every live packet by its own checksum.
func (c *checker) bodies() error {
	for _, seg := range c.s.segs {
		f, _, err := c.open(seg.number)
		if err != nil {
			return err
		}
		var buf []byte
		for slot := range c.s.packets.slots {
			r := c.s.packets.at(slot)
			if r.id == 0 || r.seg != seg.number {
				continue
			}
			n := int(r.length) + bodyTrailer
			if cap(buf) < n {
				buf = make([]byte, n)
			}
			buf = buf[:n]
			err := readFull(f, buf, int64(r.off))
			intact := false
			if key := c.s.packets.key(slot); err == nil && (c.s.page == nil || key <= c.s.page.slots) {
				intact, err = c.s.openBody(r.id, key, buf)
			}
			if err != nil || !intact {
				c.s.noteDamageLocked(Damage{File: segName(seg.number), Offset: int64(r.off), Length: int64(n), What: "packet"})
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// LogReport is what CheckLog found. A replay log is sound when Damage is empty.
type LogReport struct {
	Name   string
	Runs   int
	Hashes uint64
	Damage []Damage
}

// CheckLog reads the replay log in dir, which must not be open, and changes nothing. A nil fs means OS. ErrSealed: it is encrypted, and the
// fs is not one that [Sealed] made.
func CheckLog(fs FS, dir string) (rep LogReport, err error) {
	if fs == nil {
		fs = OS
	}
	b, err := readFile(fs, filepath.Join(dir, manifestName), maxManifest)
	if errors.Is(err, os.ErrNotExist) {
		err = ErrNoLog
	}
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return rep, fmt.Errorf("check replay log in %s: %w", dir, err)
	}
	m, perr := parseManifest(b)
	if errors.Is(perr, ErrSealed) {
		return rep, fmt.Errorf("check replay log in %s: %w", dir, perr)
	}
	if err != nil || perr != nil {
		rep.Damage = append(rep.Damage, Damage{File: filepath.Join(dir, manifestName), Length: int64(len(b)), What: "manifest"})
		return rep, nil
	}
	rep.Name = m.name
	p, err := newPRF(m.key)
	if err != nil {
		return rep, err
	}
	for _, number := range m.runs {
		path := filepath.Join(dir, runName(number))
		r, err := openRun(fs, path, number, m.log)
		if errors.Is(err, ErrCorrupt) || errors.Is(err, os.ErrNotExist) {
			rep.Damage = append(rep.Damage, Damage{File: path, What: "run of a replay log"})
			continue
		}
		if err != nil {
			return rep, fmt.Errorf("check replay log in %s: %w", dir, err)
		}
		rep.Runs++
		rep.Hashes += r.count
		if what := r.check(p); what != "" {
			rep.Damage = append(rep.Damage, Damage{File: path, Length: r.size, What: what})
		}
		if err := r.f.Close(); err != nil {
			return rep, fmt.Errorf("check replay log in %s: %w", dir, err)
		}
	}
	return rep, nil
}

// check reads a whole run and says what is wrong with it.
func (r *run) check(p prf) string {
	it := &runReader{r: r}
	var last replayHash
	for n := uint64(0); ; n++ {
		block := it.next
		if err := it.advance(); err != nil {
			return fmt.Sprintf("block %d", it.next)
		}
		switch {
		case !it.ok && n == r.count:
			return ""
		case !it.ok || n >= r.count:
			return "number of hashes"
		case n > 0 && bytes.Compare(last[:], it.value[:]) >= 0:
			return "hashes out of order"
		case it.next != block && r.first[block] != it.value:
			return "index"
		case !r.filter.mayHave(p.value(&it.value)):
			return "filter"
		}
		last = it.value
	}
}
