package agent

import (
	"fmt"
	"io"
	"time"

	"mixminion/internal/uniform"
)

// maxMean keeps the longest gap that can be drawn, some hundred means, within a time.Duration.
const maxMean = 365 * 24 * time.Hour

// gap draws the time from one event of a Poisson process to the next: exponentially distributed, with the mean given.
func gap(rnd io.Reader, mean time.Duration) (time.Duration, error) {
	x, err := uniform.Exp(rnd)
	if err != nil {
		return 0, fmt.Errorf("draw a random time: %w", err)
	}
	return time.Duration(x * float64(mean)), nil
}
