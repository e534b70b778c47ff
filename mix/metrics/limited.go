package metrics

import (
	"net"
	"net/netip"
	"sync"
)

// limited is a listener that takes connections of this machine only, and so many at one time.
type limited struct {
	net.Listener
	free chan struct{} // holds a token for each connection
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if err == nil && peer.Addr().Unmap().IsLoopback() {
			select {
			case l.free <- struct{}{}:
				return &counted{Conn: conn, release: sync.OnceFunc(func() { <-l.free })}, nil
			default:
			}
		}
		_ = conn.Close() // nothing was promised
	}
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.release()
	return c.Conn.Close()
}
