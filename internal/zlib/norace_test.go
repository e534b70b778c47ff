//go:build !race

package zlib

// underRace says that the race detector is on. It makes this package thirty times as slow and has little to find in it,
// which starts no goroutine.
const underRace = false
