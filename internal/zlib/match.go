package zlib

import (
	"encoding/binary"
	"math/bits"
)

// Limits of the format, RFC 1951 section 3.2.5.
const (
	minMatch   = 3
	maxMatch   = 258
	windowSize = 1 << 15
	windowMask = windowSize - 1
)

// Tuning of level 9. None of these is free: each shows in the output.
const (
	// maxChain is the number of earlier positions that are tried.
	maxChain = 4096
	// goodLength is the length of a match in hand from which on only a quarter
	// of maxChain is tried for a better one.
	goodLength = 32
	// tooFar is the distance from which on three bytes are cheaper as literals.
	tooFar = 4096
)

// The library works in a buffer of two windows and moves the upper half down
// when less than minLookahead bytes remain ahead. Neither the buffer nor the
// move exists here, but they decide which old positions can still be used.
const (
	minLookahead = maxMatch + minMatch + 1
	maxDistance  = windowSize - minLookahead
	bufferSize   = 2 * windowSize
	slideAt      = windowSize + maxDistance
)

const (
	hashBits = 15
	hashSize = 1 << hashBits
)

// finder knows the earlier positions in the window, by the hash of the three
// bytes there. Positions count from the start of the buffer and fit 16 bits.
// Position 0 means "none"; hence the first byte in the buffer is never matched.
type finder struct {
	head [hashSize]uint16   // newest position with this hash
	prev [windowSize]uint16 // for a position modulo windowSize, the next older with the same hash
}

// insert makes pos known and returns the newest position before it that has
// the same hash, or 0. At least three bytes must follow pos.
func (f *finder) insert(buf []byte, pos int) int {
	s := buf[pos : pos+minMatch : pos+minMatch]
	h := (uint32(s[0])<<10 ^ uint32(s[1])<<5 ^ uint32(s[2])) & (hashSize - 1)
	older := f.head[h]
	f.prev[pos&windowMask] = older
	f.head[h] = uint16(pos)
	return int(older)
}

// slide moves the origin of positions by windowSize and drops those before it.
func (f *finder) slide() {
	for _, t := range [...][]uint16{f.head[:], f.prev[:]} {
		for i, p := range t {
			t[i] = max(p, windowSize) - windowSize
		}
	}
}

// longest looks for the longest match of the bytes at pos, of more than best
// and at most limit bytes, along the chain that starts at cand. Of several of
// the same length the nearest wins. It returns length 0 if there is none.
//
// 2 <= best < limit, and limit bytes must follow pos.
func (f *finder) longest(buf []byte, pos, cand, best, limit int) (length, start int) {
	tries := maxChain
	if best >= goodLength {
		tries /= 4
	}
	// The chain may be followed to positions above this one only, which is
	// nearer by one than what the head of a chain may have.
	oldest := max(pos-maxDistance, 0)

	// Most candidates fail in the byte that would make them longer than the
	// best so far, so the four (at first three) bytes up to it come first.
	var want, mask uint32
	tail := buf
	if best < minMatch {
		want = uint32(buf[pos]) | uint32(buf[pos+1])<<8 | uint32(buf[pos+2])<<16
		mask = 1<<24 - 1
	} else {
		tail = buf[best-3:]
		want, mask = load32(tail, pos), 1<<32-1
	}
	for {
		cand, tries = f.next(tail, cand, oldest, tries, want, mask)
		if tries == 0 {
			break
		}
		if n := commonPrefix(buf[cand:], buf[pos:pos+limit]); n > best {
			length, start, best = n, cand, n
			if n == limit {
				break
			}
			tail = buf[best-3:]
			want, mask = load32(tail, pos), 1<<32-1
		}
		cand = int(f.prev[cand&windowMask])
		tries--
		if tries == 0 || cand <= oldest {
			break
		}
	}
	return length, start
}

// next follows the chain from cand on to the first position where tail has the
// bytes want under mask. It returns that position and the tries left, which
// are 0 if there is none. This is where the time goes: not inlined, all it needs
// fits in registers, which saves a third of the whole.
//
//go:noinline
func (f *finder) next(tail []byte, cand, oldest, tries int, want, mask uint32) (int, int) {
	for {
		if load32(tail, cand)&mask == want {
			return cand, tries
		}
		cand = int(f.prev[cand&windowMask])
		tries--
		if tries == 0 || cand <= oldest {
			return 0, 0
		}
	}
}

func load32(b []byte, i int) uint32 {
	return binary.LittleEndian.Uint32(b[i:])
}

// commonPrefix returns how many of the first bytes of a and b agree; a must be
// at least as long as b.
func commonPrefix(a, b []byte) int {
	n := 0
	for a = a[:len(b)]; len(b)-n >= 8; n += 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
