package agent

import (
	"math"
	"time"
)

// certainty is the probability of the bound that users are told.
const certainty = 0.95

// estimate says when the last of n packets will have left, if nothing fails: the expected time from now, and the one
// that is not exceeded with the probability certainty. perEvent packets leave at each event. The time of the k-th event
// from now has a gamma distribution, whatever happened before.
func estimate(n, perEvent int, mean time.Duration) (expected, bound time.Duration) {
	if n <= 0 {
		return 0, 0
	}
	k := float64((n + perEvent - 1) / perEvent)
	low, high := k, 2*k+10 // the quantile of k is not below k, for a probability of this size
	for range 60 {
		if mid := (low + high) / 2; fewerEvents(k, mid) > 1-certainty {
			low = mid
		} else {
			high = mid
		}
	}
	return duration(k, mean), duration(high, mean)
}

// fewerEvents is the probability that a Poisson process of rate 1 has fewer than k events in the time x, x >= k >= 1.
func fewerEvents(k, x float64) float64 {
	last, _ := math.Lgamma(k)
	term := math.Exp((k-1)*math.Log(x) - x - last)
	sum := 0.0
	for j := k - 1; j >= 0 && term > sum*1e-12; j-- {
		sum += term
		term *= j / x
	}
	return sum
}

// duration is x times mean, or the longest there is.
func duration(x float64, mean time.Duration) time.Duration {
	if d := x * float64(mean); d < math.MaxInt64 {
		return time.Duration(d)
	}
	return math.MaxInt64
}
