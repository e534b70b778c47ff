package zlib

import "encoding/binary"

// Block types, RFC 1951 section 3.2.3.
const (
	blockStored = iota
	blockFixed
	blockDynamic
)

const (
	maxCodeLength = 15
	maxStored     = 1<<16 - 1
)

// prefixCode is the code of one alphabet in a block. Its arrays are as long as
// the largest alphabet needs.
type prefixCode struct {
	freq   [maxSymbols]uint16
	length [maxSymbols]uint8
	codes  [maxSymbols]code
	used   int // symbols up to the last one with a code
}

// build sets lengths and codes for the first n symbols by their frequencies.
func (c *prefixCode) build(h *huffman, n, limit int) {
	c.used = h.lengths(c.length[:n], c.freq[:n], limit)
	makeCodes(c.codes[:n], c.length[:n])
}

// The fixed codes, RFC 1951 section 3.2.6. The code of literals has two
// symbols that never occur.
var (
	fixedLiteralLength, fixedDistanceLength = fixedLengths()

	fixedLiteralCodes  = fixedCodes(fixedLiteralLength[:])
	fixedDistanceCodes = fixedCodes(fixedDistanceLength[:])
)

func fixedLengths() (literal [literalSymbols + 2]uint8, distance [distanceSymbols]uint8) {
	for s := range literal {
		switch {
		case s < 144:
			literal[s] = 8
		case s < 256:
			literal[s] = 9
		case s < 280:
			literal[s] = 7
		default:
			literal[s] = 8
		}
	}
	for s := range distance {
		distance[s] = 5
	}
	return literal, distance
}

func fixedCodes(length []uint8) []code {
	codes := make([]code, len(length))
	makeCodes(codes, length)
	return codes
}

// blockWriter chooses the form of a block and writes it. It keeps nothing but
// its memory from one block to the next.
type blockWriter struct {
	huffman   huffman
	literals  prefixCode // and lengths
	distances prefixCode
	lengths   prefixCode // of the lengths of the codes above

	runs     []run // code lengths of literals, then of distances
	runStore [literalSymbols + distanceSymbols]run
}

// write appends a block to w. The symbols stand for the bytes in text; if
// available is false these are out of reach and the block can not be stored.
func (b *blockWriter) write(w *bitWriter, symbols []symbol, text []byte, available, last bool) {
	b.prepare(symbols)
	lengthsUsed := b.lengthsUsed()

	header := 5 + 5 + 4 + 3*lengthsUsed + cost(b.lengths.freq[:lengthSymbols], b.lengths.length[:], lengthExtraBits[:])
	dynamic := inBytes(header + b.dataCost(b.literals.length[:], b.distances.length[:]))
	fixed := inBytes(b.dataCost(fixedLiteralLength[:], fixedDistanceLength[:]))

	var final uint32
	if last {
		final = 1
	}
	// The order of these comparisons decides between equal sizes.
	switch {
	case available && len(text) <= maxStored && len(text)+4 <= min(dynamic, fixed):
		w.put(blockStored<<1|final, 3)
		writeStored(w, text)
	case fixed <= dynamic:
		w.put(blockFixed<<1|final, 3)
		writeSymbols(w, symbols, fixedLiteralCodes, fixedDistanceCodes)
	default:
		w.put(blockDynamic<<1|final, 3)
		b.writeLengths(w, lengthsUsed)
		writeSymbols(w, symbols, b.literals.codes[:], b.distances.codes[:])
	}
}

// inBytes is the size in bytes of a block of n bits and its type. It leaves out
// of account where in a byte the block starts.
func inBytes(n int) int {
	return (n + 3 + 7) / 8
}

// prepare makes the three codes of the dynamic form.
func (b *blockWriter) prepare(symbols []symbol) {
	literal, distance := &b.literals.freq, &b.distances.freq
	clear(literal[:])
	clear(distance[:])
	for _, s := range symbols {
		if s.isLiteral() {
			literal[s.literal()]++
		} else {
			literal[lengthCodings[s.length()-minMatch].symbol]++
			distance[distanceSymbol(s.distance())]++
		}
	}
	literal[endOfBlock] = 1
	b.literals.build(&b.huffman, literalSymbols, maxCodeLength)
	b.distances.build(&b.huffman, distanceSymbols, maxCodeLength)

	b.runs = appendRuns(b.runStore[:0], b.literals.length[:b.literals.used])
	b.runs = appendRuns(b.runs, b.distances.length[:b.distances.used])
	clear(b.lengths.freq[:])
	for _, r := range b.runs {
		b.lengths.freq[r.symbol]++
	}
	b.lengths.build(&b.huffman, lengthSymbols, maxLengthLength)
}

// lengthsUsed returns how many of the code lengths of the third code are
// written: all up to the last one that is not 0, and at least four.
func (b *blockWriter) lengthsUsed() int {
	n := lengthSymbols
	for n > 4 && b.lengths.length[lengthOrder[n-1]] == 0 {
		n--
	}
	return n
}

// dataCost returns the bits for the symbols of the block in a given code.
func (b *blockWriter) dataCost(literalLength, distanceLength []uint8) int {
	return cost(b.literals.freq[:literalSymbols], literalLength, literalExtraBits[:]) +
		cost(b.distances.freq[:distanceSymbols], distanceLength, distanceExtraBits[:])
}

func cost(freq []uint16, length, extra []uint8) int {
	sum := 0
	for s, f := range freq {
		sum += int(f) * int(length[s]+extra[s])
	}
	return sum
}

// writeStored writes the rest of a stored block, RFC 1951 section 3.2.4.
func writeStored(w *bitWriter, text []byte) {
	w.align()
	w.bytes = binary.LittleEndian.AppendUint16(w.bytes, uint16(len(text)))
	w.bytes = binary.LittleEndian.AppendUint16(w.bytes, ^uint16(len(text)))
	w.bytes = append(w.bytes, text...)
}

// writeLengths writes the codes of a dynamic block, RFC 1951 section 3.2.7.
func (b *blockWriter) writeLengths(w *bitWriter, lengthsUsed int) {
	w.put(uint32(b.literals.used-firstLength), 5)
	w.put(uint32(b.distances.used-1), 5)
	w.put(uint32(lengthsUsed-4), 4)
	for _, s := range lengthOrder[:lengthsUsed] {
		w.put(uint32(b.lengths.length[s]), 3)
	}
	for _, r := range b.runs {
		c := b.lengths.codes[r.symbol]
		w.put(c.bits(), c.length())
		w.put(uint32(r.extra), uint(lengthExtraBits[r.symbol]))
	}
}

// writeSymbols writes the data of a compressed block and its end.
func writeSymbols(w *bitWriter, symbols []symbol, literals, distances []code) {
	for _, s := range symbols {
		if s.isLiteral() {
			c := literals[s.literal()]
			w.put(c.bits(), c.length())
			continue
		}
		l := lengthCodings[s.length()-minMatch]
		c := literals[l.symbol]
		w.put(c.bits(), c.length())
		w.put(uint32(l.extra), uint(l.extraBits))

		d := distanceSymbol(s.distance())
		c = distances[d]
		w.put(c.bits(), c.length())
		n := distanceExtraBits[d]
		w.put(uint32(s.distance()-1)&(1<<n-1), uint(n))
	}
	c := literals[endOfBlock]
	w.put(c.bits(), c.length())
}
