package zlib

// blockSymbols is the number of literals and matches after which a block ends.
const blockSymbols = 1<<14 - 1

// symbol is a literal (its value) or a match: distance<<8 | length-minMatch.
// Distances start at 1, so the two can not be confused.
type symbol uint32

func matchSymbol(length, distance int) symbol {
	return symbol(distance<<8 | (length - minMatch))
}

func (s symbol) isLiteral() bool { return s < 1<<8 }
func (s symbol) literal() int    { return int(s) }
func (s symbol) length() int     { return int(s&0xff) + minMatch }
func (s symbol) distance() int   { return int(s >> 8) }

// encoder is the state of one compression.
type encoder struct {
	finder
	symbols [blockSymbols]symbol // of the current block
	count   int                  // how many of them are set
	block   blockWriter
	out     bitWriter
}

func newEncoder(inputSize int) *encoder {
	e := new(encoder)
	// Enough for any message of a few packets, even if it can not be compressed.
	e.out.bytes = make([]byte, 0, min(inputSize, 1<<16)+64)
	return e
}

// deflate writes src as a sequence of DEFLATE blocks (RFC 1951), with the last
// one marked and padded to whole bytes.
//
// A match is taken only after the next position has been tried as well: if that
// one has a longer match, the first byte becomes a literal (RFC 1951 section 4).
func (e *encoder) deflate(src []byte) {
	var (
		buf        = src // from the start of the buffer to the end of the input
		pos        = 0   // in buf
		blockStart = 0   // in buf; negative once it has left the buffer
		pending    = false
		length     = minMatch - 1 // of the match at pos, or minMatch-1 if none
		start      = 0            // where that match is
	)
	flush := func(last bool) {
		var stored []byte
		if blockStart >= 0 {
			stored = buf[blockStart:pos]
		}
		e.block.write(&e.out, e.symbols[:e.count], stored, blockStart >= 0, last)
		e.count = 0
		blockStart = pos
	}
	for pos < len(buf) {
		if pos >= slideAt && min(len(buf), bufferSize)-pos < minLookahead {
			e.slide()
			buf = buf[windowSize:]
			pos -= windowSize
			start -= windowSize
			blockStart -= windowSize
		}

		left := len(buf) - pos
		cand := 0
		if left >= minMatch {
			cand = e.insert(buf, pos)
		}
		heldLength, heldStart := length, start
		length = minMatch - 1
		// A match in hand that reaches the end of the input can not be bettered.
		if limit := min(left, maxMatch); cand != 0 && heldLength < limit && pos-cand <= maxDistance {
			n, at := e.longest(buf, pos, cand, heldLength, limit)
			if n > minMatch || n == minMatch && pos-at <= tooFar {
				length, start = n, at
			}
		}

		if heldLength >= minMatch && length <= heldLength {
			e.emit(matchSymbol(heldLength, pos-1-heldStart))
			end := pos - 1 + heldLength
			for pos++; pos < end; pos++ {
				if pos+minMatch <= len(buf) {
					e.insert(buf, pos)
				}
			}
			pending = false
			length = minMatch - 1
			if e.count == blockSymbols {
				flush(false)
			}
			continue
		}
		if pending {
			e.emit(symbol(buf[pos-1]))
			if e.count == blockSymbols {
				flush(false)
			}
		}
		pending = true
		pos++
	}
	if pending {
		e.emit(symbol(buf[pos-1]))
	}
	flush(true)
	e.out.align()
}

func (e *encoder) emit(s symbol) {
	e.symbols[e.count] = s
	e.count++
}
