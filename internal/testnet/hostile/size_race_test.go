//go:build linux && race

package hostile_test

// The race detector takes memory of its own, and time.
const (
	connections  = 100
	memoryFactor = 8
)
