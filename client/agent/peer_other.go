//go:build !linux && !darwin && !freebsd

package agent

import "net"

// samePeer says yes: the system tells nothing of the other end, so the socket's place in a private directory has to do.
func samePeer(net.Conn) bool { return true }
