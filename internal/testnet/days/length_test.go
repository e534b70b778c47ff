//go:build !race

package days_test

// How long the world lives. The race detector makes everything ten times slower, so there it lives shorter: see length_race_test.go.
const (
	days       = 21
	simMixes   = 27
	realMixes  = 3
	outageFrom = 9 // the first evening on which a majority is down
	outageDays = 3
	wantKinds  = 11 // of faults that must have had an effect
)
