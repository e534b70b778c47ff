package mmtp

import (
	"errors"
	"net"
	"sync/atomic"
)

// maxGreeting is how many bytes a client may send until its TLS handshake is complete. Ours takes some 2 KiB; TLS itself would hold
// 64 KiB of a greeting that never ends.
const maxGreeting = 16 << 10

var errGreeting = errors.New("the TLS handshake is too long")

// greeted is a connection that reads no more than maxGreeting bytes until over is set.
type greeted struct {
	net.Conn
	read int // of Read; which crypto/tls calls from one goroutine at a time
	over atomic.Bool
}

// Read implements net.Conn.
func (g *greeted) Read(p []byte) (int, error) {
	if g.over.Load() {
		return g.Conn.Read(p)
	}
	left := maxGreeting - g.read
	if left <= 0 {
		return 0, errGreeting
	}
	n, err := g.Conn.Read(p[:min(len(p), left)])
	g.read += n
	return n, err
}
