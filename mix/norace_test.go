//go:build !race

package mix_test

// underRace says that the race detector is on, with which long simulations are cut short: what they look for is no race.
const underRace = false

// defaultKills is three kills in each phase, of a store in clear and of one that is encrypted.
const defaultKills = 6 * int(phases)
