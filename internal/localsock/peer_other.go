//go:build !linux && !darwin && !freebsd

package localsock

import "net"

// SameUser says yes: the system tells nothing of the other end, so the socket's place in a private directory has to do.
func SameUser(net.Conn) bool { return true }
