// Speccite checks that every section of a specification that a comment or a
// document cites, in the form "minion-spec 3.2.4", stands in the index of
// sections, docs/spec-index.md.
//
//	go run ./internal/lint/speccite [directory]
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
		fmt.Fprintln(os.Stderr, "speccite:", err)
		os.Exit(2)
	}
	for _, p := range problems {
		fmt.Println(p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}
