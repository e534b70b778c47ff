//go:build race

package inbox_test

import "flag"

// floodUploads is how many servers TestFlood uploads. Under the race detector there are fewer, and fewer samples of the
// properties: it makes them ten times as slow and finds nothing in one goroutine.
const floodUploads = 2_000

func init() {
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
}
