// Package oracle compares internal/zlib with the C library itself, which
// modernc.org/z holds in a machine translation to Go. It is a module of its own,
// so that the translation and what it needs never become part of the project.
//
// Run it in this directory, as tests of the project's module do not reach it:
//
//	go test .
//	go test -fuzz FuzzAgainstC -fuzztime 10m .
//
// A difference found here belongs into the corpus of internal/zlib as well.
package oracle
