package mix_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"mixminion/internal/crypt"
	"mixminion/mmtp"
	"mixminion/packet"
)

// hopMode is how a fakeHop treats its visitors.
type hopMode int32

const (
	hopGood    hopMode = iota
	hopDown            // hangs up at once
	hopRejects         // answers REJECTED
)

// A fakeHop plays a next hop and remembers what arrives.
type fakeHop struct {
	packet.Node
	mode     atomic.Int32
	visits   atomic.Int32 // connections
	rejected atomic.Int32

	t    *testing.T
	open *packet.Unwrapper

	mu      sync.Mutex
	arrived map[crypt.Digest]int
	cover   bool // let dummies come
	fates   map[packet.Action]int
	junk    int
}

// newFakeHop starts a next hop; n tells hops with different keys apart.
func newFakeHop(t *testing.T, clk *testClock, n int) *fakeHop {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newFakeHopAt(t, clk, n, l)
}

// newFakeHopAt is newFakeHop with a listener of the caller's.
func newFakeHopAt(t *testing.T, clk *testClock, n int, l net.Listener) *fakeHop {
	t.Helper()
	identity, key := testKey(t, 2*n), testKey(t, 2*n+1)
	dec, err := crypt.StdProvider{}.Decrypter(key)
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHop{t: t, arrived: map[crypt.Digest]int{}, fates: map[packet.Action]int{}}
	if h.open, err = packet.NewUnwrapper(dec); err != nil {
		t.Fatal(err)
	}
	links, err := mmtp.NewLinkIdentity(identity, "next", clk.Now)
	if err != nil {
		t.Fatal(err)
	}
	server, err := mmtp.NewServer(mmtp.ServerConfig{Certificate: links.Certificate, Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	h.Node = packet.Node{PacketKey: &key.PublicKey, Hop: packet.Hop{
		Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port), KeyID: crypt.NewKeyID(&identity.PublicKey),
	}}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(ctx, &moodyListener{l, h}); err != nil {
			t.Errorf("next hop: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		served.Wait()
	})
	return h
}

func (h *fakeHop) set(m hopMode) { h.mode.Store(int32(m)) }

// moodyListener counts connections and hangs up while its hop is down.
type moodyListener struct {
	net.Listener
	hop *fakeHop
}

// Accept implements net.Listener.
func (l *moodyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.hop.visits.Add(1)
		if hopMode(l.hop.mode.Load()) != hopDown {
			return c, nil
		}
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
}

// Room implements mmtp.Handler.
func (h *fakeHop) Room() bool { return true }

// Handle implements mmtp.Handler.
func (h *fakeHop) Handle(kind mmtp.Kind, p *packet.Packet, ack func(bool)) {
	if hopMode(h.mode.Load()) == hopRejects && kind == mmtp.KindPacket {
		h.rejected.Add(1)
		ack(false)
		return
	}
	if kind == mmtp.KindPacket {
		res, err := h.open.Unwrap(p)
		h.mu.Lock()
		if err != nil || res.Action != packet.Deliver && !h.cover {
			h.t.Errorf("the next hop got a broken packet: %v", err)
		}
		h.arrived[crypt.Hash(p[2*packet.HeaderLen:])]++
		h.fates[res.Action]++
		h.mu.Unlock()
	} else {
		h.mu.Lock()
		h.junk++
		h.mu.Unlock()
	}
	ack(true)
}

// times is how often a packet arrived.
func (h *fakeHop) times(d crypt.Digest) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.arrived[d]
}

// total is how many packets arrived.
func (h *fakeHop) total() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.arrived {
		n += c
	}
	return n
}
