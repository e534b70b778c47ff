package oldnode

import (
	"bytes"
	"context"
	"errors"
	"net"
)

var errTooNew = errors.New("this node knows no TLS 1.3")

// handshakeFailure is the alert with which an old server answers those who offer TLS 1.3 alone.
var handshakeFailure = []byte{21, 3, 1, 0, 2, 2, 40}

// offersTLS13 reports whether a ClientHello has the extension supported_versions (RFC 8446, 4.2.1) as crypto/tls writes
// it when it offers TLS 1.3 and nothing else.
func offersTLS13(hello []byte) bool { return bytes.Contains(hello, []byte{0, 43, 0, 3, 2, 3, 4}) }

type listener struct {
	net.Listener
	node *Node
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.node.links.Add(1)
	return &incoming{Conn: c, node: l.node}, nil
}

// maxHello bounds what is searched for an offer of TLS 1.3.
const maxHello = 4096

// incoming breaks off when the client offers TLS 1.3.
type incoming struct {
	net.Conn
	node *Node
	read []byte // up to maxHello bytes
}

func (c *incoming) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if len(c.read) >= maxHello {
		return n, err
	}
	c.read = append(c.read, b[:n]...)
	if !offersTLS13(c.read) {
		return n, err
	}
	c.node.refused.Add(1)
	_, _ = c.Conn.Write(handshakeFailure) // the client may be gone
	return 0, errTooNew
}

// dial opens connections over which no offer of TLS 1.3 gets out.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &outgoing{Conn: c}, nil
}

type outgoing struct {
	net.Conn
	begun bool
}

func (c *outgoing) Write(b []byte) (int, error) {
	if !c.begun && offersTLS13(b) {
		return 0, errTooNew
	}
	c.begun = true
	return c.Conn.Write(b)
}
