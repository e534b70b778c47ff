// Command mixminiond runs a mix.
package main

import (
	"os"

	"mixminion/internal/cli"
)

func main() { os.Exit(cli.Mixminiond(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
