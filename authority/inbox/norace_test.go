//go:build !race

package inbox_test

// floodUploads is how many servers TestFlood uploads; but see race_test.go.
const floodUploads = 10_000
