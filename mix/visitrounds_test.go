//go:build !race

package mix

// visitRounds is how often TestPickVisits lets a mix choose; but see visitrounds_race_test.go.
const visitRounds = 2000
