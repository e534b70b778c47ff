package fec

// The field GF(2^8) with the primitive polynomial 1+x^2+x^3+x^4+x^8 and the generator alpha = x.
const polynomial = 0x11d

const order = 255 // of alpha

// powers[i] is alpha^i, doubled in length so that a sum of two logarithms needs no reduction; logs is its inverse.
var powers, logs = makeTables()

func makeTables() (powers [2 * order]byte, logs [256]byte) {
	x := 1
	for i := range order {
		powers[i], powers[i+order] = byte(x), byte(x)
		logs[x] = byte(i)
		x <<= 1
		if x&0x100 != 0 {
			x ^= polynomial
		}
	}
	return powers, logs
}

func mul(a, b byte) byte {
	if a == 0 || b == 0 {
		return 0
	}
	return powers[int(logs[a])+int(logs[b])]
}

// inv returns the inverse of a, which is not zero.
func inv(a byte) byte { return powers[order-int(logs[a])] }

// table holds the products of one coefficient with every byte.
type table [256]byte

func newTable(c byte) *table {
	var t table
	for i := range t {
		t[i] = mul(c, byte(i))
	}
	return &t
}

// addProducts adds the sum of coefficients[i]*blocks[i] to dst, bytewise. All blocks are as long as dst.
func addProducts(dst []byte, coefficients []byte, blocks [][]byte) {
	// Two blocks at a time halve the traffic on dst.
	for len(blocks) >= 2 {
		t, u := newTable(coefficients[0]), newTable(coefficients[1])
		x, y := blocks[0][:len(dst)], blocks[1][:len(dst)]
		for i := range dst {
			dst[i] ^= t[x[i]] ^ u[y[i]]
		}
		coefficients, blocks = coefficients[2:], blocks[2:]
	}
	if len(blocks) == 1 {
		t, x := newTable(coefficients[0]), blocks[0][:len(dst)]
		for i := range dst {
			dst[i] ^= t[x[i]]
		}
	}
}
