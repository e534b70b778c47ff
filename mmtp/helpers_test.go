package mmtp

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"iter"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		key, err := crypt.GenerateKey(2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

// testNow is what the injected clocks of the tests show at first.
var testNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func fixedClock() time.Time { return testNow }

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: testNow} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// arrival is one call of a recorder's Handle.
type arrival struct {
	kind Kind
	p    *packet.Packet
	ack  func(bool)
}

// recorder is a Handler that passes on what it is given, or acknowledges at once if arrivals is nil.
type recorder struct {
	arrivals chan arrival
	full     func() bool
}

func newRecorder() *recorder { return &recorder{arrivals: make(chan arrival, 1000)} }

func (r *recorder) Room() bool { return r.full == nil || !r.full() }

func (r *recorder) Handle(kind Kind, p *packet.Packet, ack func(bool)) {
	if r.arrivals == nil {
		if p != nil {
			Recycle(p)
		}
		ack(true)
		return
	}
	r.arrivals <- arrival{kind, p, ack}
}

func testCertificate(t testing.TB) func() (*tls.Certificate, error) {
	t.Helper()
	cert, err := NewLinkCertificate(testKeys()[0], "alice", testNow)
	if err != nil {
		t.Fatal(err)
	}
	return func() (*tls.Certificate, error) { return &cert, nil }
}

// startServer runs a server on loopback until the test ends.
func startServer(t testing.TB, cfg ServerConfig) packet.Hop {
	t.Helper()
	return startServerOn(t, cfg, func(l net.Listener) net.Listener { return l })
}

func startServerOn(t testing.TB, cfg ServerConfig, wrap func(net.Listener) net.Listener) packet.Hop {
	t.Helper()
	if cfg.Certificate == nil {
		cfg.Certificate = testCertificate(t)
	}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, wrap(l)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return hopTo(t, l.Addr())
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func hopTo(t testing.TB, addr net.Addr) packet.Hop {
	t.Helper()
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return packet.Hop{Host: host, Port: uint16(n), KeyID: crypt.NewKeyID(&testKeys()[0].PublicKey)}
}

func newTestClient(t testing.TB, cfg ClientConfig) *Client {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = fixedClock
	}
	c := NewClient(cfg)
	t.Cleanup(c.Close)
	return c
}

func randomPacket(t testing.TB) *packet.Packet {
	t.Helper()
	p := new(packet.Packet)
	if _, err := rand.Read(p[:]); err != nil {
		t.Fatal(err)
	}
	return p
}

// outcomes collects what Done was told.
type outcomes struct{ errs []error }

func (o *outcomes) item(p *packet.Packet, junk bool) Item {
	return Item{Packet: p, Junk: junk, Done: func(err error) { o.errs = append(o.errs, err) }}
}

func (o *outcomes) items(ps ...*packet.Packet) iter.Seq[Item] {
	var items []Item
	for _, p := range ps {
		items = append(items, o.item(p, false))
	}
	return slices.Values(items)
}

func (o *outcomes) allNil() bool {
	return !slices.ContainsFunc(o.errs, func(err error) bool { return err != nil })
}

// frame is what a client sends for a packet.
func frame(p *packet.Packet, junk bool) []byte {
	return appendFrame(nil, p, junk, digestsOf(p, junk).sent)
}

func fill(b byte) *packet.Packet {
	return (*packet.Packet)(bytes.Repeat([]byte{b}, packet.Size))
}

// startServerFrom is startServer for peers who all seem to come from one address.
func startServerFrom(t testing.TB, addr string, cfg ServerConfig) packet.Hop {
	t.Helper()
	return startServerOn(t, cfg, func(l net.Listener) net.Listener { return &disguise{l, from(addr)} })
}

// disguise is a listener whose connections have another remote address.
type disguise struct {
	net.Listener
	addr net.Addr
}

type disguised struct {
	net.Conn
	addr net.Addr
}

func (d *disguise) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &disguised{c, d.addr}, nil
}

func (d *disguised) RemoteAddr() net.Addr { return d.addr }
