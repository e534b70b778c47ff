//go:build darwin || freebsd

package localsock

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// SameUser reports whether the process at the other end belongs to our user, or to root, from whom nothing can be kept.
func SameUser(conn net.Conn) bool {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Xucred
	var perr error
	if err := raw.Control(func(fd uintptr) { peer, perr = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED) }); err != nil || perr != nil {
		return false
	}
	return peer.Uid == 0 || int(peer.Uid) == os.Geteuid()
}
