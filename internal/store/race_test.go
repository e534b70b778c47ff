//go:build race

package store_test

import "flag"

// stride says how many cases the tests that try each one, in one goroutine, go on at a time: under the race detector, which finds nothing
// there and makes them ten times as slow, a part will do.
const stride = 5

func init() {
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
}
