//go:build race

package days_test

const (
	days       = 7
	simMixes   = 9
	realMixes  = 3
	outageFrom = 3
	outageDays = 1
	wantKinds  = 3
)
