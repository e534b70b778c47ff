package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A segment is a header and frames. A frame is a head, a table and a region of bodies:
//
//	 0  8  mark: the random bytes of the segment, so that no packet can imitate a frame
//	 8  8  sequence number, one more than that of the frame before
//	16  4  number of bytes of the segment that were known durable when the frame was written
//	20  4  length T of the table
//	24  4  length B of the bodies
//	28  4  CRC-32C of the bodies
//	32  1  kind
//	33  3  zero
//	36  4  CRC-32C of bytes 0 to 36 and of the table
//	40  T  table
//	40+T B bodies
//
// All integers of this package's files are little-endian.
const frameHeadLen = 40

// maxFrame bounds table plus bodies of one frame.
const maxFrame = 1 << 30

type kind byte

const (
	kindPut  kind = 1 // packets with their whole state, and replay hashes; an empty one is the pad of an idle tick
	kindMove kind = 2 // packets change their queue
	kindNote kind = 3 // retry state of packets
	kindDone kind = 4 // packets are erased
	// kindSealed is a put of packets that are encrypted, each with its key of the key page.
	kindSealed kind = 5
)

type mark [8]byte

type frameHead struct {
	mark    mark
	seq     uint64
	durable uint32
	table   uint32
	bodies  uint32
	bodySum uint32
	kind    kind
}

// size is the length of the whole frame.
func (h *frameHead) size() int64 { return frameHeadLen + int64(h.table) + int64(h.bodies) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(parts ...[]byte) uint32 {
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

// newFrame returns buf emptied, with room for a head that sealFrame fills later.
func newFrame(buf []byte) []byte {
	return append(buf[:0], make([]byte, frameHeadLen)...)
}

// sealFrame fills the head of a frame of which table and bodies are complete.
func sealFrame(frame []byte, h frameHead) {
	body := frame[frameHeadLen+int(h.table):]
	h.bodies = uint32(len(body))
	h.bodySum = checksum(body)
	b := frame[:frameHeadLen]
	copy(b, h.mark[:])
	binary.LittleEndian.PutUint64(b[8:], h.seq)
	binary.LittleEndian.PutUint32(b[16:], h.durable)
	binary.LittleEndian.PutUint32(b[20:], h.table)
	binary.LittleEndian.PutUint32(b[24:], h.bodies)
	binary.LittleEndian.PutUint32(b[28:], h.bodySum)
	b[32], b[33], b[34], b[35] = byte(h.kind), 0, 0, 0
	binary.LittleEndian.PutUint32(b[36:], checksum(b[:36], frame[frameHeadLen:frameHeadLen+int(h.table)]))
}

// parseFrameHead reads a head without checking its sum, for which the table is needed: see checkFrameHead.
func parseFrameHead(b []byte, m mark) (frameHead, error) {
	var h frameHead
	if len(b) < frameHeadLen {
		return h, fmt.Errorf("%w: frame head cut short", ErrCorrupt)
	}
	copy(h.mark[:], b)
	if h.mark != m {
		return h, fmt.Errorf("%w: no frame mark", ErrCorrupt)
	}
	h.seq = binary.LittleEndian.Uint64(b[8:])
	h.durable = binary.LittleEndian.Uint32(b[16:])
	h.table = binary.LittleEndian.Uint32(b[20:])
	h.bodies = binary.LittleEndian.Uint32(b[24:])
	h.bodySum = binary.LittleEndian.Uint32(b[28:])
	h.kind = kind(b[32])
	if int64(h.table)+int64(h.bodies) > maxFrame {
		return h, fmt.Errorf("%w: frame too long", ErrCorrupt)
	}
	return h, nil
}

func checkFrameHead(head, table []byte) error {
	if checksum(head[:36], table) != binary.LittleEndian.Uint32(head[36:]) {
		return fmt.Errorf("%w: frame checksum", ErrCorrupt)
	}
	return nil
}
