//go:build race

package mix_test

// underRace says that the race detector is on, with which long simulations are cut short: what they look for is no race.
const underRace = true

// defaultKills is a kill in each phase, of a store in clear and of one that is encrypted.
const defaultKills = 2 * int(phases)
