package mmtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// pipeNet is a network of pipes on which servers listen, for tests in synctest bubbles.
type pipeNet struct {
	mu    sync.Mutex
	ports map[string]*pipeListener
	dials int
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (n *pipeNet) listen(addr string) *pipeListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports == nil {
		n.ports = make(map[string]*pipeListener)
	}
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.ports[addr] = l
	return l
}

func (n *pipeNet) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	l := n.ports[addr]
	n.mu.Unlock()
	if network != "tcp" || l == nil {
		return nil, fmt.Errorf("dial %s %s: nobody listens", network, addr)
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *pipeNet) dialed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// serve runs a server on the network; the function returned stops it.
func (n *pipeNet) serve(t *testing.T, host string, cfg ServerConfig) (packet.Hop, func()) {
	t.Helper()
	to := packet.Hop{Host: host, Port: 48099, KeyID: crypt.NewKeyID(&testKeys()[0].PublicKey)}
	identity, err := NewLinkIdentity(testKeys()[0], "alice", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificate = identity.Certificate
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := n.listen(address(to))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	return to, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// fake runs, for each connection to host, a scripted server in place of ours: TLS and versions are done when script is called.
func (n *pipeNet) fake(t *testing.T, host string, script func(net.Conn)) (packet.Hop, func()) {
	t.Helper()
	cert, err := NewLinkCertificate(testKeys()[0], "alice", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	to := packet.Hop{Host: host, Port: 48099, KeyID: crypt.NewKeyID(&testKeys()[0].PublicKey)}
	l := n.listen(address(to))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}})
				defer func() { _ = conn.Close() }()
				if _, err := readLine(conn); err != nil {
					return
				}
				if _, err := io.WriteString(conn, versionLine); err != nil {
					return
				}
				script(conn)
			})
		}
	})
	return to, func() {
		_ = l.Close()
		wg.Wait()
	}
}

// readFrame is for scripts: it reads one packet and returns it, nil if the link ended.
func readFrame(conn net.Conn) *packet.Packet {
	f := make([]byte, frameLen)
	if _, err := io.ReadFull(conn, f); err != nil {
		return nil
	}
	return (*packet.Packet)(f[cmdLen:])
}

func (n *pipeNet) client(cfg ClientConfig) *Client {
	cfg.Dial = n.Dial
	return NewClient(cfg)
}

func sendOne(c *Client, to packet.Hop) error {
	return c.Send(context.Background(), to, slices.Values([]Item{{Packet: fill(1)}}))
}
