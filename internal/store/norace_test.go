//go:build !race

package store_test

// stride says how many cases the tests that try each one go on at a time: all are tried, but see race_test.go.
const stride = 1
