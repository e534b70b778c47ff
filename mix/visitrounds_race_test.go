//go:build race

package mix

// visitRounds is how often TestPickVisits lets a mix choose; the race detector makes it slow and finds nothing in one goroutine.
const visitRounds = 200
