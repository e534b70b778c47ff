package agent

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/internal/testnet/testdir"
	"mixminion/mmtp"
	"mixminion/packet"
)

// A tap counts what goes over each connection to a server.
type tap struct {
	net.Listener
	seen chan [2]int64 // bytes to the server, and writes by it, when a connection has ended
}

func (l *tap) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tapped{Conn: c, tap: l}, nil
}

type tapped struct {
	net.Conn
	tap        *tap
	in, writes atomic.Int64
	closed     atomic.Bool
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(int64(n))
	return n, err
}

func (c *tapped) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

func (c *tapped) Close() error {
	if !c.closed.Swap(true) {
		c.tap.seen <- [2]int64{c.in.Load(), c.writes.Load()}
	}
	return c.Conn.Close()
}

// mood is a server that takes all packets, or none.
type mood bool

func (mood) Room() bool                                                      { return true }
func (m mood) Handle(_ mmtp.Kind, _ *packet.Packet, ack func(accepted bool)) { ack(bool(m)) }

// tapServer runs a first server on loopback.
func tapServer(t testing.TB, m mood) (packet.Hop, *tap) {
	t.Helper()
	identity := testdir.Keys()[0]
	cert, err := mmtp.NewLinkCertificate(identity, "alder", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server, err := mmtp.NewServer(mmtp.ServerConfig{Certificate: func() (*tls.Certificate, error) { return &cert, nil }, Handler: m})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wire := &tap{l, make(chan [2]int64, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, wire) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return packet.Hop{Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port), KeyID: crypt.NewKeyID(&identity.PublicKey)}, wire
}

// On the wire a packet of the queue and a dummy are one connection each, with the same bytes to the server, whether it takes them or not.
func TestSameOnTheWire(t *testing.T) {
	for name, m := range map[string]mood{"taken": true, "rejected": false} {
		t.Run(name, func(t *testing.T) {
			hop, wire := tapServer(t, m)
			a, err := New(home(t, clock.Real{}), Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := a.Close(); err != nil {
					t.Error(err)
				}
			}()
			p := client.PreparedPacket{First: hop, Packet: new(packet.Packet)}
			if _, err := rand.Read(p.Packet[:]); err != nil {
				t.Fatal(err)
			}
			enqueue(t, a.client, &client.Prepared{Packets: []client.PreparedPacket{p, p}})
			dummies, err := a.dummies()
			if err != nil {
				t.Fatal(err)
			}
			dummies[0].First = hop
			var sent [][2]int64
			dummies = append(dummies, dummies[0])
			for _, d := range slices.Concat(dummies[:1], a.pick(t.Context(), dummies), dummies[:1]) {
				a.attempt(t.Context(), d)
				sent = append(sent, <-wire.seen)
			}
			if len(sent) != 4 || len(slices.Compact(sent)) != 1 || sent[0][0] < packet.Size || sent[0][0] > packet.Size+8192 {
				t.Errorf("bytes to the server and its writes: %v", sent)
			}
			select {
			case extra := <-wire.seen:
				t.Errorf("one more connection: %v", extra)
			default:
			}
			want := 2
			if m {
				want = 0
			}
			checkQueued(t, a, want)
			if len(a.claimed) != 0 {
				t.Errorf("still claimed: %v", a.claimed)
			}
		})
	}
}
