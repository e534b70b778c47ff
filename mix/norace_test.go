//go:build !race

package mix_test

// underRace says that the race detector is on, with which long simulations are cut short: what they look for is no race.
const underRace = false

const defaultKills = 30
