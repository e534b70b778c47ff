package zlib

import "encoding/binary"

// bitWriter packs bits into bytes, least significant first (RFC 1951 section
// 3.1.1). Its zero value is ready for use.
type bitWriter struct {
	bytes []byte
	acc   uint64 // bits not yet in bytes; the next one to go out is the lowest
	n     uint   // how many; less than 48 between calls
}

// put appends the low n bits of v, lowest first. Bits of v above n must be
// zero; n is at most 16.
func (w *bitWriter) put(v uint32, n uint) {
	w.acc |= uint64(v) << (w.n & 63)
	w.n += n
	if w.n >= 48 {
		var six [8]byte
		binary.LittleEndian.PutUint64(six[:], w.acc)
		w.bytes = append(w.bytes, six[:6]...)
		w.acc >>= 48
		w.n -= 48
	}
}

// align fills the current byte with zero bits and empties the accumulator.
func (w *bitWriter) align() {
	for w.n > 0 {
		w.bytes = append(w.bytes, byte(w.acc))
		w.acc >>= 8
		w.n -= min(w.n, 8)
	}
}
