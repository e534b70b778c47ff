package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"
)

// maxMean keeps the longest gap that can be drawn, some hundred means, within a time.Duration.
const maxMean = 365 * 24 * time.Hour

// gap draws the time from one event of a Poisson process to the next: exponentially distributed, with the mean given. The distribution is
// finer than a nanosecond, and is cut off only where a fair generator never comes, beyond 88 means.
func gap(rnd io.Reader, mean time.Duration) (time.Duration, error) {
	// -ln of a uniform number in (0,1) with 64 bits behind the point. Each block of 64 zeros in front of them multiplies it by 2^-64.
	sum := 0.0
	for range 2 {
		var b [8]byte
		if _, err := io.ReadFull(rnd, b[:]); err != nil {
			return 0, fmt.Errorf("draw a random time: %w", err)
		}
		if v := binary.BigEndian.Uint64(b[:]); v != 0 {
			sum += 64*math.Ln2 - math.Log(float64(v))
			break
		}
		sum += 64 * math.Ln2
	}
	return time.Duration(max(0, sum) * float64(mean)), nil
}
