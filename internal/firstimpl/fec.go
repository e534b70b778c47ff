package firstimpl

import (
	"fmt"
	"maps"
	"slices"
)

// mul multiplies in GF(2^8) modulo 1+x^2+x^3+x^4+x^8.
func mul(a, b byte) (out byte) {
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			out ^= a
		}
		carry := a & 0x80
		a <<= 1
		if carry != 0 {
			a ^= 0x1d
		}
	}
	return out
}

func power(a byte, n int) byte {
	out := byte(1)
	for range n {
		out = mul(out, a)
	}
	return out
}

func product(a, b [][]byte) [][]byte {
	out := make([][]byte, len(a))
	for i := range a {
		out[i] = make([]byte, len(b[0]))
		for j, f := range a[i] {
			var times [256]byte
			for v := range times {
				times[v] = mul(f, byte(v))
			}
			for c, v := range b[j] {
				out[i][c] ^= times[v]
			}
		}
	}
	return out
}

// inverse is by Gauss and Jordan.
func inverse(m [][]byte) [][]byte {
	n := len(m)
	w := make([][]byte, n)
	for i := range w {
		w[i] = append(append([]byte{}, m[i]...), make([]byte, n)...)
		w[i][n+i] = 1
	}
	for i := range w {
		pivot := i
		for w[pivot][i] == 0 {
			pivot++
		}
		w[i], w[pivot] = w[pivot], w[i]
		inv := power(w[i][i], 254)
		for c := range w[i] {
			w[i][c] = mul(w[i][c], inv)
		}
		for r := range w {
			if f := w[r][i]; r != i && f != 0 {
				for c := range w[r] {
					w[r][c] ^= mul(f, w[i][c])
				}
			}
		}
	}
	for i := range w {
		w[i] = w[i][n:]
	}
	return w
}

// fecMatrix is a systematic matrix: its first k rows are the identity.
func fecMatrix(k, n int) [][]byte {
	v := make([][]byte, n)
	for r := range v {
		v[r] = make([]byte, k)
		v[r][0] = 1
		for c := 0; r > 0 && c < k; c++ {
			v[r][c] = power(2, (r-1)*c)
		}
	}
	return product(v, inverse(v[:k]))
}

// fecDecode gets back the k blocks of a chunk from any k of its packets, by position.
func fecDecode(packets map[int][]byte, k, n int) ([]byte, error) {
	if len(packets) < k {
		return nil, fmt.Errorf("%w: %d packets of %d", ErrRefused, len(packets), k)
	}
	matrix := fecMatrix(k, n)
	rows, data := make([][]byte, 0, k), make([][]byte, 0, k)
	for _, i := range slices.Sorted(maps.Keys(packets)) {
		rows, data = append(rows, matrix[i]), append(data, packets[i])
	}
	return slices.Concat(product(inverse(rows), data)...), nil
}
