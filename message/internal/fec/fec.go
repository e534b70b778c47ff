// Package fec is the systematic k-of-n erasure code of Luigi Rizzo's papers, which E2E-spec 2.1.2 prescribes: of the n packets made
// from k blocks, any k give the blocks back.
//
// The specification names the algorithm by its software. The code is this: the n x k Vandermonde matrix over GF(2^8) with the points
// 0, 1, alpha, alpha^2, ... is multiplied by the inverse of its upper k rows, so that the first k packets are the blocks themselves.
// Other libraries use other points and are not compatible.
package fec

import (
	"errors"
	"fmt"
)

// Errors of this package.
var (
	ErrParameters = errors.New("impossible erasure code")
	ErrPackets    = errors.New("packets do not fit the erasure code")
)

// maxN is the number of different points: zero and the powers of alpha.
const maxN = order + 1

// A Code makes n packets from k blocks. It may be used concurrently.
type Code struct {
	k, n int
	rows [][]byte // n rows of k coefficients; the first k are the identity
}

// New returns the k-of-n code, 1 <= k <= n <= 256. It returns ErrParameters for other numbers.
func New(k, n int) (*Code, error) {
	if k < 1 || n < k || n > maxN {
		return nil, fmt.Errorf("%w: %d of %d", ErrParameters, k, n)
	}
	points := make([][]byte, n)
	for r := range points {
		points[r] = make([]byte, k)
		points[r][0] = 1
		if r > 0 {
			for c := range points[r] {
				points[r][c] = powers[(r-1)*c%order]
			}
		}
	}
	top, err := invert(points[:k])
	if err != nil {
		return nil, err
	}
	rows := make([][]byte, n)
	for r := range rows {
		rows[r] = make([]byte, k)
		for i, factor := range points[r] {
			for c := range k {
				rows[r][c] ^= mul(factor, top[i][c])
			}
		}
	}
	return &Code{k: k, n: n, rows: rows}, nil
}

// Encode writes the n packets made from k blocks. All packets and blocks have the same length.
func (c *Code) Encode(packets, blocks [][]byte) error {
	if len(packets) != c.n || len(blocks) != c.k || !sameLength(blocks, len(blocks[0])) || !sameLength(packets, len(blocks[0])) {
		return ErrPackets
	}
	for i, b := range blocks {
		copy(packets[i], b)
	}
	combine(packets[c.k:], c.rows[c.k:], blocks)
	return nil
}

// Decode writes the k blocks, one after the other, into dst. packets holds k packets of equal length and indices their numbers, all
// different. dst is k times as long as a packet and does not overlap them.
func (c *Code) Decode(dst []byte, indices []int, packets [][]byte) error {
	if len(indices) != c.k || len(packets) != c.k || len(dst)%c.k != 0 || !sameLength(packets, len(dst)/c.k) {
		return ErrPackets
	}
	size := len(dst) / c.k
	block := func(i int) []byte { return dst[i*size : (i+1)*size] }
	have := make([]bool, c.n)
	matrix := make([][]byte, c.k)
	for i, index := range indices {
		if index < 0 || index >= c.n || have[index] {
			return ErrPackets
		}
		have[index] = true
		matrix[i] = c.rows[index]
		if index < c.k {
			copy(block(index), packets[i])
		}
	}
	var missing, rows [][]byte
	inverse, err := invert(matrix)
	if err != nil {
		return err
	}
	for i := range c.k {
		if !have[i] {
			missing, rows = append(missing, block(i)), append(rows, inverse[i])
		}
	}
	combine(missing, rows, packets)
	return nil
}

func sameLength(blocks [][]byte, size int) bool {
	for _, b := range blocks {
		if len(b) != size {
			return false
		}
	}
	return true
}

// invert returns the inverse of a square matrix by Gauss-Jordan elimination. The matrices of this package always have one; the error is
// there so that a mistake cannot go unnoticed.
func invert(matrix [][]byte) ([][]byte, error) {
	k := len(matrix)
	work := make([][]byte, k) // the matrix, with the identity to its right
	for r := range work {
		work[r] = make([]byte, 2*k)
		copy(work[r], matrix[r])
		work[r][k+r] = 1
	}
	for col := range k {
		pivot := col
		for pivot < k && work[pivot][col] == 0 {
			pivot++
		}
		if pivot == k {
			return nil, fmt.Errorf("%w: singular matrix", ErrParameters)
		}
		work[col], work[pivot] = work[pivot], work[col]
		scale := inv(work[col][col])
		for i, v := range work[col] {
			work[col][i] = mul(scale, v)
		}
		for r := range work {
			if factor := work[r][col]; r != col && factor != 0 {
				for i, v := range work[col] {
					work[r][i] ^= mul(factor, v)
				}
			}
		}
	}
	for r := range work {
		work[r] = work[r][k:]
	}
	return work, nil
}
