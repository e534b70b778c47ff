package uniform

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Exp draws an exponentially distributed number with the mean 1: the time from one event of a Poisson process to the next. It is cut off
// only where a fair generator never comes, beyond 88.
func Exp(rnd io.Reader) (float64, error) {
	// -ln of a uniform number in (0,1) with 64 bits behind the point. Each block of 64 zeros in front of them multiplies it by 2^-64.
	sum := 0.0
	for range 2 {
		var b [8]byte
		if _, err := io.ReadFull(rnd, b[:]); err != nil {
			return 0, fmt.Errorf("draw a random number: %w", err)
		}
		if v := binary.BigEndian.Uint64(b[:]); v != 0 {
			sum += 64*math.Ln2 - math.Log(float64(v))
			break
		}
		sum += 64 * math.Ln2
	}
	return max(0, sum), nil
}
