package path

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// uniform draws one of the integers 0..n-1, each with the same probability. n must be positive.
func uniform(rnd io.Reader, n int) (int, error) {
	// The values from limit on are thrown away, because they would favour the small remainders.
	limit := math.MaxUint64 - math.MaxUint64%uint64(n)
	for {
		v, err := word(rnd)
		if err != nil {
			return 0, err
		}
		if v < limit {
			return int(v % uint64(n)), nil
		}
	}
}

// shuffle puts s into a uniformly random order.
func shuffle[T any](rnd io.Reader, s []T) error {
	for i := len(s) - 1; i > 0; i-- {
		j, err := uniform(rnd, i+1)
		if err != nil {
			return err
		}
		s[i], s[j] = s[j], s[i]
	}
	return nil
}

// pick draws one element of s, which must not be empty.
func pick[T any](rnd io.Reader, s []T) (T, error) {
	i, err := uniform(rnd, len(s))
	return s[i], err
}

// normal draws from the normal distribution with mean 0 and standard deviation 1, by the method of Box and Muller.
func normal(rnd io.Reader) (float64, error) {
	u, err := word(rnd)
	if err != nil {
		return 0, err
	}
	v, err := word(rnd)
	if err != nil {
		return 0, err
	}
	const unit = 1.0 / (1 << 53)
	radius := math.Sqrt(-2 * math.Log(float64(u>>11+1)*unit)) // of a number in (0, 1], never of 0
	return radius * math.Cos(2*math.Pi*float64(v>>11)*unit), nil
}

func word(rnd io.Reader) (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return 0, fmt.Errorf("random source: %w", err)
	}
	return binary.BigEndian.Uint64(b[:]), nil
}
