// Package uniform draws unbiased random numbers from a source of random bytes. Mixes and clients draw from crypto/rand.Reader; tests
// pass a seeded source.
package uniform

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Int returns a number from 0 to n-1, each with the same probability. n must be positive.
func Int(rnd io.Reader, n int) (int, error) {
	if n <= 0 {
		return 0, fmt.Errorf("draw a random number below %d", n)
	}
	v, err := below(rnd, uint64(n))
	return int(v), err
}

func below(rnd io.Reader, bound uint64) (uint64, error) {
	// Draws at or above the largest multiple of n would favour small results; they are drawn again.
	limit := math.MaxUint64 - math.MaxUint64%bound
	for {
		var b [8]byte
		if _, err := io.ReadFull(rnd, b[:]); err != nil {
			return 0, fmt.Errorf("draw a random number: %w", err)
		}
		if v := binary.BigEndian.Uint64(b[:]); v < limit {
			return v % bound, nil
		}
	}
}

// Float returns a number from 0 up to but not including 1.
func Float(rnd io.Reader) (float64, error) {
	v, err := below(rnd, 1<<53)
	return float64(v) / (1 << 53), err
}

// Shuffle permutes n elements by calls of swap; every order has the same probability.
func Shuffle(rnd io.Reader, n int, swap func(i, j int)) error {
	for i := n - 1; i > 0; i-- {
		j, err := Int(rnd, i+1)
		if err != nil {
			return err
		}
		swap(i, j)
	}
	return nil
}

// ShuffleSlice permutes s.
func ShuffleSlice[E any](rnd io.Reader, s []E) error {
	return Shuffle(rnd, len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}
