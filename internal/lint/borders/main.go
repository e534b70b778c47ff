// Borders checks that the rooms of the source tree import only what they may:
// arrows point down, and the pure rooms know no network, file, log or clock.
// The rules are in rules.go. Test files are free.
//
//	go run ./internal/lint/borders [directory]
package main

import (
	"fmt"
	"os"
)

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	problems, err := check(os.DirFS(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, "borders:", err)
		os.Exit(2)
	}
	for _, p := range problems {
		fmt.Println(p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}
