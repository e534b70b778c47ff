//go:build unix

package harden

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func noCoreFile() error {
	return wrap("set the size limit of core dumps to zero", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
