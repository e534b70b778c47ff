package zlib

// Alphabet of the code lengths, RFC 1951 section 3.2.7: 0 to 15 are lengths,
// the others repeat.
const (
	repeatPrevious  = 16 // 3 to 6 times, 2 bits
	repeatZero      = 17 // 3 to 10 times, 3 bits
	repeatZeroLong  = 18 // 11 to 138 times, 7 bits
	lengthSymbols   = 19
	maxLengthLength = 7
)

// lengthOrder is the order in which the lengths of this alphabet's own codes
// are written.
var lengthOrder = [lengthSymbols]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

var lengthExtraBits = [lengthSymbols]uint8{repeatPrevious: 2, repeatZero: 3, repeatZeroLong: 7}

// run is a symbol of that alphabet with the value of its extra bits.
type run struct {
	symbol, extra uint8
}

// appendRuns appends the run-length form of length to runs. Runs do not
// continue from an earlier call, although the format would allow it.
func appendRuns(runs []run, length []uint8) []run {
	for i := 0; i < len(length); {
		v, n := length[i], 1
		for i+n < len(length) && length[i+n] == v {
			n++
		}
		i += n
		if v == 0 {
			runs = appendZeros(runs, n)
		} else {
			runs = appendEqual(runs, v, n)
		}
	}
	return runs
}

func appendZeros(runs []run, n int) []run {
	for n > 0 {
		k := min(n, 138)
		n -= k
		switch {
		case k < 3:
			runs = appendLiterally(runs, 0, k)
		case k <= 10:
			runs = append(runs, run{repeatZero, uint8(k - 3)})
		default:
			runs = append(runs, run{repeatZeroLong, uint8(k - 11)})
		}
	}
	return runs
}

// appendEqual appends n times the length v. The first piece holds the length
// itself, so it has up to seven; it stays literal if it would repeat less than
// three times.
func appendEqual(runs []run, v uint8, n int) []run {
	k := min(n, 7)
	n -= k
	if k < 4 {
		return appendLiterally(runs, v, k)
	}
	runs = append(runs, run{v, 0}, run{repeatPrevious, uint8(k - 4)})
	for n > 0 {
		k = min(n, 6)
		n -= k
		if k < 3 {
			return appendLiterally(runs, v, k)
		}
		runs = append(runs, run{repeatPrevious, uint8(k - 3)})
	}
	return runs
}

func appendLiterally(runs []run, v uint8, n int) []run {
	for range n {
		runs = append(runs, run{v, 0})
	}
	return runs
}
