package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// A sidecar repeats heads and tables of a sealed segment, so that start-up need not read bodies:
//
//	 0  8  "MXIDX\x00\x00\x01"
//	 8 64  header of the segment
//	72  8  size of the segment
//	80  8  n, number of entries
//	88     n * (u32 offset, head and table of the frame at this offset)
//	    4  CRC-32C of everything before
//
// Frames that say nothing (pads) are left out, except the last frame, which tells the sequence number. A sidecar is a
// copy: when it is missing or damaged, the segment itself is read.
const sidecarHeadLen = 88

const idxMagic = "MXIDX\x00\x00\x01"

// appendSidecar builds the sidecar of a segment whose header is given.
func appendSidecar(b []byte, header []byte, s *scanner) ([]byte, error) {
	b = append(b, idxMagic...)
	b = append(b, header...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.size))
	b = binary.LittleEndian.AppendUint64(b, 0)
	limit := s.size / 4
	n := uint64(0)
	err := s.walk(func(off int64, h frameHead, head []byte) error {
		if h.kind == kindPut && h.table == emptyPutLen && off+h.size() < s.size {
			return nil
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(off))
		b = append(b, head...)
		n++
		if int64(len(b)) > limit {
			return errNoSidecar
		}
		return nil
	}, func(int64, int64) error {
		// The scan at start-up reports the damage; a sidecar would hide it.
		return errNoSidecar
	})
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint64(b[80:], n)
	return binary.LittleEndian.AppendUint32(b, checksum(b)), nil
}

// errNoSidecar means that a segment is better read itself: it is damaged, or has hardly any bodies.
var errNoSidecar = errors.New("store: no sidecar for this segment")

// emptyPutLen is the length of the table of a put without packets and hashes.
const emptyPutLen = 4 + 4 + 2

// parseSidecar checks a sidecar against the header and size of its segment and calls frame for each entry.
func parseSidecar(b, header []byte, size int64, m mark, frame func(off int64, h frameHead, head []byte) error) error {
	bad := fmt.Errorf("%w: sidecar", ErrCorrupt)
	le := binary.LittleEndian
	if len(b) < sidecarHeadLen+4 || string(b[:8]) != idxMagic ||
		checksum(b[:len(b)-4]) != le.Uint32(b[len(b)-4:]) ||
		string(b[8:72]) != string(header) || le.Uint64(b[72:]) != uint64(size) {
		return bad
	}
	n := le.Uint64(b[80:])
	b = b[sidecarHeadLen : len(b)-4]
	for range n {
		if len(b) < 4+frameHeadLen {
			return bad
		}
		off := int64(le.Uint32(b))
		h, err := parseFrameHead(b[4:], m)
		if err != nil || int64(h.table) > int64(len(b)-4-frameHeadLen) || off+h.size() > size {
			return bad
		}
		head := b[4 : 4+frameHeadLen+int(h.table)]
		if err := checkFrameHead(head[:frameHeadLen], head[frameHeadLen:]); err != nil {
			return bad
		}
		if err := frame(off, h, head); err != nil {
			return err
		}
		b = b[len(head)+4:]
	}
	if len(b) != 0 {
		return bad
	}
	return nil
}

// readFile reads a whole file of at most limit bytes.
func readFile(fs FS, name string, limit int64) (b []byte, err error) {
	f, err := fs.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %s is too long", ErrCorrupt, name)
	}
	b = make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && size > 0 {
		return nil, err
	}
	return b, nil
}

// writeNew writes and syncs a file that must be complete under its name: as name.tmp, then renamed. The caller
// syncs the directory.
func writeNew(fs FS, name string, b []byte) error {
	tmp := name + tmpExt
	f, err := fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Stamp(tmp)
	}
	if err == nil {
		err = fs.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(fs.Remove(tmp)))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
