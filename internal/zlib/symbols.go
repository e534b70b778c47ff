package zlib

import "math/bits"

// Alphabets of RFC 1951 section 3.2.5.
const (
	endOfBlock      = 256
	firstLength     = 257
	literalSymbols  = 286
	distanceSymbols = 30
)

// lengthCoding says how a match length is written.
type lengthCoding struct {
	symbol    uint16
	extraBits uint8
	extra     uint8
}

// lengthCodings is indexed by length-minMatch.
var lengthCodings = makeLengthCodings()

func makeLengthCodings() (t [maxMatch - minMatch + 1]lengthCoding) {
	for i := range t {
		if i < 8 {
			t[i] = lengthCoding{symbol: uint16(firstLength + i)}
			continue
		}
		n := bits.Len(uint(i)) - 3 // four symbols per number of extra bits
		t[i] = lengthCoding{
			symbol:    uint16(firstLength + 4*n + i>>n),
			extraBits: uint8(n),
			extra:     uint8(i & (1<<n - 1)),
		}
	}
	t[maxMatch-minMatch] = lengthCoding{symbol: literalSymbols - 1}
	return t
}

// literalExtraBits is the number of extra bits after each symbol of the
// alphabet of literals and lengths.
var literalExtraBits = makeLiteralExtraBits()

func makeLiteralExtraBits() (t [literalSymbols]uint8) {
	for _, c := range lengthCodings {
		t[c.symbol] = c.extraBits
	}
	return t
}

// distanceExtraBits is the same for the alphabet of distances.
var distanceExtraBits = makeDistanceExtraBits()

func makeDistanceExtraBits() (t [distanceSymbols]uint8) {
	for s := 4; s < len(t); s++ {
		t[s] = uint8(s/2 - 1)
	}
	return t
}

// distanceSymbol returns the symbol for a distance. The extra bits that follow
// it are the low bits of distance-1.
func distanceSymbol(distance int) int {
	d := uint(distance - 1)
	if d < 4 {
		return int(d)
	}
	n := bits.Len(d) - 2 // two symbols per number of extra bits
	return 2*n + int(d>>n)
}
