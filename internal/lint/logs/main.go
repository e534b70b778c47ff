// Logs checks that no line of a log is made of what must not be in one: addresses, bytes, hashes, keys, identifiers of
// packets, and texts that were made of such values. Package logging strikes out what is passed to a logger as it is;
// this finds what became a text before.
//
//	go run ./internal/lint/logs [directory]
//
// What a logger, or a function that hands its arguments on to one, is given may be: constants, numbers, truth values,
// times, errors, texts, and logging.Public, which a function may return. A text may not be made of a private value,
// whether in the same expression or by way of local variables; and unless it is logging.Public, no variable or field it
// is made of may be named like an address or a recipient. Errors of the rooms that packets go through may not be made
// of private values that cannot be recognized in a text.
package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	packages, err := load(context.Background(), dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "logs:", err)
		os.Exit(2)
	}
	problems := check(packages)
	for _, p := range problems {
		fmt.Println(p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}
