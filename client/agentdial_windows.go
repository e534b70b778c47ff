package client

import (
	"errors"

	"golang.org/x/sys/windows"
)

// missingSocket reports whether an error of connecting says that nobody listens.
func missingSocket(err error) bool {
	// Versions without Unix sockets know no such family of addresses.
	return errors.Is(err, windows.WSAECONNREFUSED) || errors.Is(err, windows.WSAEINVAL) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}
