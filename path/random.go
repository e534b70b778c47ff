package path

import (
	"io"
	"math"

	"mixminion/internal/uniform"
)

// pick draws one element of s, which must not be empty.
func pick[T any](rnd io.Reader, s []T) (T, error) {
	i, err := uniform.Int(rnd, len(s))
	if err != nil {
		var none T
		return none, err
	}
	return s[i], nil
}

// normal draws from the normal distribution with mean 0 and standard deviation 1, by the method of Box and Muller.
func normal(rnd io.Reader) (float64, error) {
	u, err := uniform.Float(rnd)
	if err != nil {
		return 0, err
	}
	v, err := uniform.Float(rnd)
	if err != nil {
		return 0, err
	}
	radius := math.Sqrt(-2 * math.Log(1-u)) // of a number in (0, 1], never of 0
	return radius * math.Cos(2*math.Pi*v), nil
}
