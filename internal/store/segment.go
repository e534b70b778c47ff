package store

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// The header of a segment:
//
//	 0  8  "MXSEG\x00\x00\x01"
//	 8  8  number of the segment
//	16 16  identity of the store
//	32  8  mark of the frames
//	40  8  a lower bound of the next packet ID
//	48  8  sequence number of the first frame
//	56  4  zero
//	60  4  CRC-32C of bytes 0 to 60
const segHeaderLen = 64

const (
	segMagic = "MXSEG\x00\x00\x01"
	segExt   = ".seg"
	idxExt   = ".idx"
	tmpExt   = ".tmp"
)

type storeID [16]byte

type segHeader struct {
	number  uint64
	store   storeID
	mark    mark
	nextID  ID
	nextSeq uint64
}

func (h *segHeader) append(b []byte) []byte {
	start := len(b)
	b = append(b, segMagic...)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = append(b, h.store[:]...)
	b = append(b, h.mark[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.nextID))
	b = binary.LittleEndian.AppendUint64(b, h.nextSeq)
	b = append(b, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
}

func parseSegHeader(b []byte) (segHeader, error) {
	var h segHeader
	if len(b) < segHeaderLen || string(b[:8]) != segMagic ||
		checksum(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return h, fmt.Errorf("%w: header of a segment", ErrCorrupt)
	}
	h.number = binary.LittleEndian.Uint64(b[8:])
	copy(h.store[:], b[16:])
	copy(h.mark[:], b[32:])
	h.nextID = ID(binary.LittleEndian.Uint64(b[40:]))
	h.nextSeq = binary.LittleEndian.Uint64(b[48:])
	return h, nil
}

// segment is an open segment file. Fields without a note are guarded by Store.mu.
type segment struct {
	number uint32 // constant
	path   string // constant
	f      File   // constant
	mark   mark   // constant

	size    int64
	synced  int64 // bytes known durable
	sidecar int64 // size of the sidecar file, 0 if there is none
	live    int64 // bytes of live packets
	packets int   // live packets
	dead    int64 // bytes of erased packets
	sealed  bool
	clear   bool // in an encrypted store: written before it was encrypted
	burned  bool // bytes were written after its end and cut; they must not be followed by others
	indexed bool // the sidecar was written, or is not worth it

	// logs holds, for each replay log with hashes in the segment, the sequence number of the last such frame:
	// the segment may go when the log has flushed up to there.
	logs map[logID]uint64

	// pin is read-locked by whoever uses f without Store.mu, taken while Store.mu is held and the segment is
	// still listed; locked before f is closed.
	pin sync.RWMutex
}

func segName(number uint32) string { return fmt.Sprintf("%010d%s", number, segExt) }

// idxPath is the name of the sidecar of a segment.
func idxPath(segPath string) string { return strings.TrimSuffix(segPath, segExt) + idxExt }

// segNumber parses the name of a segment file.
func segNumber(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(filepath.Base(name), segExt)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || segName(uint32(n)) != filepath.Base(name) {
		return 0, false
	}
	return uint32(n), true
}
