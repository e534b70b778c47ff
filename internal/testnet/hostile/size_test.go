//go:build linux && !race

package hostile_test

const (
	connections  = 1000
	memoryFactor = 1
)
