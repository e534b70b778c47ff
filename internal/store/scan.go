package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Damage is a part of a file that recovery could not read: rot of the medium, not the trace of a crash.
type Damage struct {
	File   string // name in the directory of the store, or path of a replay log's file
	Offset int64
	Length int64
	What   string
}

func (d Damage) String() string {
	return fmt.Sprintf("%s: %s: %d bytes at offset %d", d.File, d.What, d.Length, d.Offset)
}

// window reads a file through a buffer, so that many short frames cost few system calls.
type window struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	off  int64
}

const windowLen = 64 << 10

// bytes returns n bytes at off; they are valid until the next call.
func (w *window) bytes(off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off+int64(n) > w.size {
		return nil, fmt.Errorf("%w: cut short", ErrCorrupt)
	}
	if off >= w.off && off+int64(n) <= w.off+int64(len(w.buf)) {
		return w.buf[off-w.off:][:n], nil
	}
	want := int(min(int64(max(n, windowLen)), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf = w.buf[:want]
	got, err := w.r.ReadAt(w.buf, off)
	w.off, w.buf = off, w.buf[:got]
	if got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: cut short", ErrCorrupt)
		}
		return nil, err
	}
	return w.buf[:n], nil
}

// scanner walks over the frames of a segment.
type scanner struct {
	window
	mark mark
}

func newScanner(r io.ReaderAt, size int64, m mark) *scanner {
	return &scanner{window: window{r: r, size: size}, mark: m}
}

// frame reads the frame at off. Head and table (one slice) are valid until the next call.
func (s *scanner) frame(off int64) (frameHead, []byte, error) {
	b, err := s.bytes(off, frameHeadLen)
	if err != nil {
		return frameHead{}, nil, err
	}
	h, err := parseFrameHead(b, s.mark)
	if err != nil {
		return h, nil, err
	}
	if off+h.size() > s.size || int64(h.durable) > off {
		return h, nil, fmt.Errorf("%w: frame cut short, or from another place", ErrCorrupt)
	}
	b, err = s.bytes(off, frameHeadLen+int(h.table))
	if err != nil {
		return h, nil, err
	}
	return h, b, checkFrameHead(b[:frameHeadLen], b[frameHeadLen:])
}

// bodiesIntact reads and checks the bodies of a frame.
func (s *scanner) bodiesIntact(off int64, h frameHead) (bool, error) {
	crc := uint32(0)
	at, left := off+frameHeadLen+int64(h.table), int64(h.bodies)
	for left > 0 {
		n := min(left, windowLen)
		b, err := s.bytes(at, int(n))
		if errors.Is(err, ErrCorrupt) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		crc = crc32.Update(crc, castagnoli, b)
		at, left = at+n, left-n
	}
	return crc == h.bodySum, nil
}

// resync returns the offset of the first intact frame head at or after off, or the size of the segment.
func (s *scanner) resync(off int64) (int64, error) {
	for off+frameHeadLen <= s.size {
		n := int(min(windowLen, s.size-off))
		b, err := s.bytes(off, n)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return 0, err
		}
		i := bytes.Index(b, s.mark[:])
		if i < 0 {
			if n < windowLen {
				break
			}
			off += int64(n) - int64(len(s.mark)) + 1
			continue
		}
		off += int64(i)
		_, _, err = s.frame(off)
		if err == nil {
			return off, nil
		}
		if !errors.Is(err, ErrCorrupt) {
			return 0, err
		}
		off++
	}
	return s.size, nil
}

// walk calls frame for each intact frame head and bad for each stretch between them that is none.
// An error that is no ErrCorrupt (the medium cannot be read) ends it.
func (s *scanner) walk(frame func(off int64, h frameHead, head []byte) error, bad func(off, end int64) error) error {
	for off := int64(segHeaderLen); off < s.size; {
		h, head, err := s.frame(off)
		switch {
		case err == nil:
			if err := frame(off, h, head); err != nil {
				return err
			}
			off += h.size()
		case errors.Is(err, ErrCorrupt):
			next, err := s.resync(off + 1)
			if err != nil {
				return err
			}
			if err := bad(off, next); err != nil {
				return err
			}
			off = next
		default:
			return err
		}
	}
	return nil
}

// tail finds where the youngest segment ends. Everything up to the highest durable offset that an intact frame
// mentions was acknowledged and is kept, damaged or not; after it, the first frame that is not whole is where the
// last write was torn, and what follows was never acknowledged. frames is the number of whole frames before end.
func (s *scanner) tail() (end int64, frames int, err error) {
	durable := int64(segHeaderLen)
	err = s.walk(func(_ int64, h frameHead, _ []byte) error {
		durable = max(durable, int64(h.durable))
		return nil
	}, func(int64, int64) error { return nil })
	if err != nil {
		return 0, 0, err
	}
	durable = min(durable, s.size)
	errCut := errors.New("cut")
	end = segHeaderLen
	err = s.walk(func(off int64, h frameHead, _ []byte) error {
		if off+h.size() > durable {
			ok, err := s.bodiesIntact(off, h)
			if err != nil {
				return err
			}
			if !ok {
				return errCut
			}
		}
		end, frames = off+h.size(), frames+1
		return nil
	}, func(_, next int64) error {
		if next > durable {
			return errCut
		}
		end = next
		return nil
	})
	if err != nil && !errors.Is(err, errCut) {
		return 0, 0, err
	}
	return max(end, durable), frames, nil
}
