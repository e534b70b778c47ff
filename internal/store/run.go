package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sort"
	"sync"
)

// A run is an immutable sorted set of hashes of one log:
//
//	blocks of 4096 bytes: u32 CRC-32C of the rest | u16 n | u16 zero | n * 20 bytes, ascending | zeros
//	index: for each block its first hash, 20 bytes
//	filter: blocks of 64 bytes
//	footer, 56 bytes:
//	  0  8  "MXRUN\x00\x00\x01"
//	  8 16  identity of the log
//	 24  8  number of hashes
//	 32  4  number of blocks
//	 36  4  number of filter blocks
//	 40  4  CRC-32C of index and filter
//	 44  8  zero
//	 52  4  CRC-32C of bytes 0 to 52 of the footer
//
// Index and filter are kept in memory: 1.1 bytes a hash.
const (
	runMagic     = "MXRUN\x00\x00\x01"
	runBlockLen  = 4096
	runBlockHead = 8
	runPerBlock  = (runBlockLen - runBlockHead) / hashLen
	runFooterLen = 56
	runPrefix    = "run-"
	maxRunBlocks = 1 << 26
)

type run struct {
	number uint64
	path   string
	f      File
	size   int64
	count  uint64
	first  []replayHash
	filter filter
	rotten bool // a block does not match its checksum; guarded by ReplayLog.runMu
}

func runName(number uint64) string { return fmt.Sprintf("%s%010d", runPrefix, number) }

// runWriter writes a run from hashes that come in ascending order; equal ones are written once.
type runWriter struct {
	f     File
	prf   prf
	log   logID
	off   int64 // of buf in the file
	buf   []byte
	block int // hashes in the last block of buf, 0 if there is none
	last  replayHash
	run   run
}

const runWriteLen = 64 * runBlockLen

func newRunWriter(fs FS, path string, number uint64, log logID, p prf, atMost uint64) (*runWriter, error) {
	f, err := fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	return &runWriter{f: f, prf: p, log: log, buf: make([]byte, 0, runWriteLen+runBlockLen),
		run: run{number: number, path: path, f: f, filter: newFilter(atMost)}}, nil
}

func (w *runWriter) add(h *replayHash) error {
	if w.run.count > 0 && w.last == *h {
		return nil
	}
	if w.block == 0 {
		w.buf = append(w.buf, make([]byte, runBlockLen)...)
		w.run.first = append(w.run.first, *h)
	}
	b := w.buf[len(w.buf)-runBlockLen:]
	copy(b[runBlockHead+w.block*hashLen:], h[:])
	w.block++
	w.run.count++
	w.last = *h
	w.run.filter.add(w.prf.value(h))
	if w.block == runPerBlock {
		w.closeBlock()
		if len(w.buf) >= runWriteLen {
			return w.write()
		}
	}
	return nil
}

func (w *runWriter) closeBlock() {
	if w.block == 0 {
		return
	}
	b := w.buf[len(w.buf)-runBlockLen:]
	binary.LittleEndian.PutUint16(b[4:], uint16(w.block))
	binary.LittleEndian.PutUint32(b, checksum(b[4:]))
	w.block = 0
}

func (w *runWriter) write() error {
	_, err := w.f.WriteAt(w.buf, w.off)
	w.off += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// finish completes the file and syncs it; the run is then part of the log when a manifest says so.
func (w *runWriter) finish() (*run, error) {
	w.closeBlock()
	sum := uint32(0)
	for i := range w.run.first {
		w.buf = append(w.buf, w.run.first[i][:]...)
	}
	sum = checksum(w.buf[len(w.buf)-len(w.run.first)*hashLen:], w.run.filter)
	if err := w.write(); err != nil {
		return nil, err
	}
	if _, err := w.f.WriteAt(w.run.filter, w.off); err != nil {
		return nil, err
	}
	w.off += int64(len(w.run.filter))
	foot := append(make([]byte, 0, runFooterLen), runMagic...)
	foot = append(foot, w.log[:]...)
	foot = binary.LittleEndian.AppendUint64(foot, w.run.count)
	foot = binary.LittleEndian.AppendUint32(foot, uint32(len(w.run.first)))
	foot = binary.LittleEndian.AppendUint32(foot, uint32(len(w.run.filter)/filterBlock))
	foot = binary.LittleEndian.AppendUint32(foot, sum)
	foot = append(foot, 0, 0, 0, 0, 0, 0, 0, 0)
	foot = binary.LittleEndian.AppendUint32(foot, checksum(foot))
	if _, err := w.f.WriteAt(foot, w.off); err != nil {
		return nil, err
	}
	w.run.size = w.off + runFooterLen
	if err := w.f.Sync(); err != nil {
		return nil, fmt.Errorf("%w: sync %s: %w", ErrFailed, w.run.path, err)
	}
	r := w.run
	return &r, nil
}

// openRun reads footer, index and filter of a run.
func openRun(fs FS, path string, number uint64, log logID) (*run, error) {
	f, err := fs.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r := &run{number: number, path: path, f: f, size: size}
	if err := r.load(log); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return r, nil
}

func (r *run) load(log logID) error {
	le := binary.LittleEndian
	bad := fmt.Errorf("%w: run of a replay log", ErrCorrupt)
	if r.size < runFooterLen {
		return bad
	}
	var foot [runFooterLen]byte
	if err := readFull(r.f, foot[:], r.size-runFooterLen); err != nil {
		return err
	}
	if string(foot[:8]) != runMagic || checksum(foot[:52]) != le.Uint32(foot[52:]) || logID(foot[8:24]) != log {
		return bad
	}
	r.count = le.Uint64(foot[24:])
	blocks, lines := int64(le.Uint32(foot[32:])), int64(le.Uint32(foot[36:]))
	if blocks > maxRunBlocks || lines > maxFilterBlocks || (lines == 0) != (blocks == 0) ||
		r.size != blocks*(runBlockLen+hashLen)+lines*filterBlock+runFooterLen {
		return bad
	}
	tail := make([]byte, blocks*hashLen+lines*filterBlock)
	if err := readFull(r.f, tail, blocks*runBlockLen); err != nil {
		return err
	}
	if checksum(tail) != le.Uint32(foot[40:]) {
		return bad
	}
	r.first = make([]replayHash, blocks)
	for i := range r.first {
		copy(r.first[i][:], tail[i*hashLen:])
	}
	// A copy, so that the index part of tail is not kept twice.
	r.filter = append(make(filter, 0, lines*filterBlock), tail[blocks*hashLen:]...)
	return nil
}

func readFull(f File, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w: cut short", ErrCorrupt)
	}
	return err
}

// block returns the hashes of block i in buf.
func (r *run) block(i int, buf *[runBlockLen]byte) ([]byte, error) {
	if err := readFull(r.f, buf[:], int64(i)*runBlockLen); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint16(buf[4:]))
	if checksum(buf[4:]) != binary.LittleEndian.Uint32(buf[:]) || n == 0 || n > runPerBlock {
		return nil, fmt.Errorf("%w: block %d of %s", ErrCorrupt, i, r.path)
	}
	return buf[runBlockHead : runBlockHead+n*hashLen], nil
}

var blockBuffers = sync.Pool{New: func() any { return new([runBlockLen]byte) }}

// has looks a hash up. An error means that the block in which it would be cannot be read.
func (r *run) has(h *replayHash, v prfValue) (bool, error) {
	if !r.filter.mayHave(v) {
		return false, nil
	}
	// The last block whose first hash is not above h.
	i := sort.Search(len(r.first), func(i int) bool { return bytes.Compare(r.first[i][:], h[:]) > 0 }) - 1
	if i < 0 {
		return false, nil
	}
	buf := blockBuffers.Get().(*[runBlockLen]byte)
	defer blockBuffers.Put(buf)
	b, err := r.block(i, buf)
	if err != nil {
		return false, err
	}
	n := len(b) / hashLen
	j := sort.Search(n, func(j int) bool { return bytes.Compare(b[j*hashLen:][:hashLen], h[:]) >= 0 })
	return j < n && bytes.Equal(b[j*hashLen:][:hashLen], h[:]), nil
}

// runReader iterates over a run.
type runReader struct {
	r     *run
	next  int // block
	buf   [runBlockLen]byte
	rest  []byte
	value replayHash
	ok    bool
}

// advance moves to the next hash; ok is false at the end.
func (it *runReader) advance() error {
	if len(it.rest) == 0 {
		if it.next == len(it.r.first) {
			it.ok = false
			return nil
		}
		b, err := it.r.block(it.next, &it.buf)
		if err != nil {
			return err
		}
		it.next++
		it.rest = b
	}
	copy(it.value[:], it.rest)
	it.rest = it.rest[hashLen:]
	it.ok = true
	return nil
}
