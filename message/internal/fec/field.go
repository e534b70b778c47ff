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

// lanes is how many sums are computed in one pass.
const lanes = 8

// A table gives for each byte its products with up to 8 coefficients, one in each byte of the word.
type table [256]uint64

// fill makes t the table of the coefficients that the rows have in that column.
func (t *table) fill(rows [][]byte, column int) {
	t[0] = 0
	for bit := 1; bit < len(t); bit <<= 1 {
		var word uint64
		for i, row := range rows {
			word |= uint64(mul(row[column], byte(bit))) << (8 * i)
		}
		// Multiplication distributes over addition, so the bits' words give all others.
		for x := range bit {
			t[bit+x] = t[x] ^ word
		}
	}
}

// combine computes for each of the rows of coefficients the sum of coefficient times block, bytewise, into dst. All blocks and dst have
// the same length.
func combine(dst, rows, blocks [][]byte) {
	tables := make([]table, len(blocks))
	for len(dst) > 0 {
		n := min(lanes, len(dst))
		for i := range tables {
			tables[i].fill(rows[:n], i)
		}
		combineLanes(dst[:n], tables, blocks)
		dst, rows = dst[n:], rows[n:]
	}
}

func combineLanes(dst [][]byte, tables []table, blocks [][]byte) {
	var sums [1024]uint64 // of a strip that stays in the cache
	for at := 0; at < len(dst[0]); at += len(sums) {
		strip := sums[:min(len(sums), len(dst[0])-at)]
		clear(strip)
		end := at + len(strip)
		i := 0
		for ; i+1 < len(blocks); i += 2 {
			t, u := &tables[i], &tables[i+1]
			x, y := blocks[i][at:end], blocks[i+1][at:end]
			for j := range strip {
				strip[j] ^= t[x[j]] ^ u[y[j]]
			}
		}
		for ; i < len(blocks); i++ {
			t, x := &tables[i], blocks[i][at:end]
			for j := range strip {
				strip[j] ^= t[x[j]]
			}
		}
		for lane, d := range dst {
			d = d[at:end]
			for j := range d {
				d[j] = byte(strip[j] >> (8 * lane))
			}
		}
	}
}
