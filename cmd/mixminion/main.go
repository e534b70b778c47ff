// Command mixminion sends and reads anonymous mail.
package main

import (
	"os"

	"mixminion/internal/cli"
)

func main() { os.Exit(cli.Mixminion(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
