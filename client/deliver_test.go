package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/mmtp"
	"mixminion/packet"
)

// An entry is a first hop on loopback: it takes packets as long as accept says so.
type entry struct {
	hop    packet.Hop
	accept func(n int) bool // n counts from 0; nil takes all
	silent bool             // never answers
	full   bool             // has no room

	mu      sync.Mutex
	calls   int
	packets []*packet.Packet
	arrived chan struct{} // gets a value for each packet of a silent entry
}

func (e *entry) Room() bool { return !e.full }

func (e *entry) Handle(kind mmtp.Kind, p *packet.Packet, ack func(bool)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.silent {
		e.arrived <- struct{}{}
		return
	}
	ok := kind == mmtp.KindPacket && (e.accept == nil || e.accept(e.calls))
	e.calls++
	if ok {
		e.packets = append(e.packets, p)
	}
	ack(ok)
}

// listen runs an entry with the identity of a server until the test ends.
func listen(t testing.TB, s *mixServer, e *entry) *entry {
	t.Helper()
	e.arrived = make(chan struct{}, 100)
	e.hop = serve(t, s, e)
	return e
}

// serve runs a first hop on loopback until the test ends.
func serve(t testing.TB, s *mixServer, h mmtp.Handler) packet.Hop {
	t.Helper()
	cert, err := mmtp.NewLinkCertificate(s.identity, s.name, noon)
	if err != nil {
		t.Fatal(err)
	}
	server, err := mmtp.NewServer(mmtp.ServerConfig{
		Certificate: func() (*tls.Certificate, error) { return &cert, nil }, Handler: h, DrainTimeout: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return loopback(s, l.Addr())
}

func loopback(s *mixServer, addr net.Addr) packet.Hop {
	return packet.Hop{Host: "127.0.0.1", Port: uint16(addr.(*net.TCPAddr).Port), KeyID: crypt.NewKeyID(&s.identity.PublicKey)}
}

// down is a first hop where nobody listens.
func down(t testing.TB, s *mixServer) packet.Hop {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hop := loopback(s, l.Addr())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return hop
}

// packets makes n packets for each of the hops, mixed. What is in them does not matter to a first hop.
func packets(t testing.TB, n int, hops ...packet.Hop) *client.Prepared {
	t.Helper()
	p := new(client.Prepared)
	for range n {
		for _, hop := range hops {
			pk := client.PreparedPacket{First: hop, Packet: new(packet.Packet)}
			if _, err := rand.Read(pk.Packet[:]); err != nil {
				t.Fatal(err)
			}
			p.Packets = append(p.Packets, pk)
		}
	}
	return p
}

// to gives the packets that go to a hop first, in their order.
func to(p *client.Prepared, hop packet.Hop) []*packet.Packet {
	var list []*packet.Packet
	for _, pk := range p.Packets {
		if pk.First == hop {
			list = append(list, pk.Packet)
		}
	}
	return list
}

// checkGot compares what an entry has with what it should have.
func (e *entry) checkGot(t testing.TB, want []*packet.Packet) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.EqualFunc(e.packets, want, func(a, b *packet.Packet) bool { return *a == *b }) {
		t.Errorf("the server has %d packets, want %d, in their order", len(e.packets), len(want))
	}
}

// checkUnsent checks a SendError.
func checkUnsent(t testing.TB, err error, want []*packet.Packet, total int, causes ...error) {
	t.Helper()
	var failure *client.SendError
	if !errors.As(err, &failure) {
		t.Fatalf("error %v", err)
	}
	if failure.Total != total || len(failure.Causes) != len(causes) {
		t.Errorf("%d packets in all, want %d; causes: %v", failure.Total, total, failure.Causes)
	}
	for _, cause := range causes {
		if !errors.Is(err, cause) {
			t.Errorf("no cause of %v is %v", failure.Causes, cause)
		}
	}
	for _, cause := range failure.Causes {
		if cause == nil || !strings.Contains(err.Error(), cause.Error()) {
			t.Errorf("%v does not say %v", err, cause)
		}
	}
	// The order among servers is by chance.
	byAddress := func(list []*packet.Packet) []*packet.Packet {
		return slices.SortedFunc(slices.Values(list), func(a, b *packet.Packet) int { return bytes.Compare(a[:], b[:]) })
	}
	var got []*packet.Packet
	for _, pk := range failure.Unsent {
		got = append(got, pk.Packet)
	}
	if !slices.Equal(byAddress(got), byAddress(want)) {
		t.Errorf("%d packets unsent, want %d", len(got), len(want))
	}
}

func TestDeliver(t *testing.T) {
	s := mixServers()
	c, _ := newClient(t)
	var entries []*entry
	var hops []packet.Hop
	for i := range 3 {
		e := listen(t, s[i], new(entry))
		entries, hops = append(entries, e), append(hops, e.hop)
	}
	p, w := packets(t, 20, hops...), new(watcher)
	if err := c.Deliver(t.Context(), p, w); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		e.checkGot(t, to(p, e.hop))
	}
	w.check(t, "sent", w.sent, 60, 60)
	if w.wrapped != nil {
		t.Error("told of wrapping")
	}
	if err := c.Deliver(t.Context(), new(client.Prepared), nil); err != nil {
		t.Error("nothing to send:", err)
	}
}

// More servers than are talked to at once.
func TestDeliverToMany(t *testing.T) {
	s := mixServers()
	c, _ := newClient(t)
	var entries []*entry
	var hops []packet.Hop
	for range 12 {
		e := listen(t, s[0], new(entry))
		entries, hops = append(entries, e), append(hops, e.hop)
	}
	hops = append(hops, down(t, s[1]))
	p := packets(t, 1, hops...)
	checkUnsent(t, c.Deliver(t.Context(), p, nil), to(p, hops[12]), 13, syscall.ECONNREFUSED)
	for _, e := range entries {
		e.checkGot(t, to(p, e.hop))
	}
}

func TestDeliverFails(t *testing.T) {
	s := mixServers()
	for name, c := range map[string]struct {
		bad   *entry // nil: nobody listens
		as    int    // whose identity the descriptor says
		taken int    // how many packets the server takes
		cause error
	}{
		"down":          {nil, 1, 0, syscall.ECONNREFUSED},
		"wrong key":     {&entry{}, 2, 0, mmtp.ErrKeyID},
		"rejected":      {&entry{accept: func(int) bool { return false }}, 1, 0, mmtp.ErrRejected},
		"no room":       {&entry{full: true}, 1, 0, mmtp.ErrRejected},
		"rejected late": {&entry{accept: func(n int) bool { return n < 3 }}, 1, 3, mmtp.ErrRejected},
	} {
		t.Run(name, func(t *testing.T) {
			const each = 5
			user, _ := newClient(t)
			good := listen(t, s[0], new(entry))
			var hop packet.Hop
			if c.bad == nil {
				hop = down(t, s[1])
			} else {
				hop = listen(t, s[1], c.bad).hop
				hop.KeyID = crypt.NewKeyID(&s[c.as].identity.PublicKey)
			}
			p, w := packets(t, each, good.hop, hop), new(watcher)
			err := user.Deliver(t.Context(), p, w)
			checkUnsent(t, err, to(p, hop)[c.taken:], 2*each, c.cause)
			good.checkGot(t, to(p, good.hop))
			if c.bad != nil {
				c.bad.checkGot(t, to(p, hop)[:c.taken])
			}
			w.check(t, "sent", w.sent, each+c.taken, 2*each)
		})
	}
}

// Every other packet is refused.
func TestDeliverPartly(t *testing.T) {
	c, _ := newClient(t)
	e := listen(t, mixServers()[0], &entry{accept: func(n int) bool { return n%2 == 0 }})
	p := packets(t, 10, e.hop)
	var taken, refused []*packet.Packet
	for i, pk := range p.Packets {
		if i%2 == 0 {
			taken = append(taken, pk.Packet)
		} else {
			refused = append(refused, pk.Packet)
		}
	}
	err := c.Deliver(t.Context(), p, nil)
	checkUnsent(t, err, refused, 10, mmtp.ErrRejected)
	e.checkGot(t, taken)
	if !strings.HasPrefix(err.Error(), "5 of 10 packets could not be handed to the network: ") || !strings.Contains(err.Error(), e.hop.String()) {
		t.Error(err)
	}
	// What was not sent can be tried again.
	var failure *client.SendError
	if !errors.As(err, &failure) {
		t.Fatal(err)
	}
	e.mu.Lock()
	e.accept, e.packets = nil, nil
	e.mu.Unlock()
	if err := c.Deliver(t.Context(), &client.Prepared{Packets: failure.Unsent}, nil); err != nil {
		t.Fatal(err)
	}
	e.checkGot(t, refused)
}

func TestDeliverCancelled(t *testing.T) {
	c, _ := newClient(t)
	e := listen(t, mixServers()[0], &entry{silent: true})
	p := packets(t, 3, e.hop)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- c.Deliver(ctx, p, nil) }()
	<-e.arrived
	cancel()
	checkUnsent(t, <-stopped, to(p, e.hop), 3, context.Canceled)

	good := listen(t, mixServers()[1], new(entry))
	p = packets(t, 3, good.hop)
	checkUnsent(t, c.Deliver(ctx, p, nil), to(p, good.hop), 3, context.Canceled)
}

func TestDeliverAtOnce(t *testing.T) {
	c, _ := newClient(t)
	e := listen(t, mixServers()[0], new(entry))
	var wg sync.WaitGroup
	for range 4 {
		p := packets(t, 5, e.hop)
		wg.Go(func() {
			if err := c.Deliver(t.Context(), p, new(watcher)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(e.packets) != 20 {
		t.Errorf("%d packets", len(e.packets))
	}
}

// From the message to the first hops.
func TestPrepareAndDeliver(t *testing.T) {
	s := mixServers()
	first := listen(t, s[0], new(entry))
	text := s[0].descriptor(t, func(f *directory.Fields) { f.Incoming.Hostname, f.Incoming.Port = first.hop.Host, first.hop.Port })
	c, _ := newClient(t, text, s[1].descriptor(t))
	m := client.Message{To: parseAddress(t, "bob@example.com"), Body: randomText(t, 30_000), Path: parseSpec(t, "alder:birch")}
	w := new(watcher)
	p, err := c.Prepare(t.Context(), m, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Deliver(t.Context(), p, w); err != nil {
		t.Fatal(err)
	}
	first.checkGot(t, to(p, first.hop))
	w.check(t, "wrapped", w.wrapped, 3, 3)
	w.check(t, "sent", w.sent, 3, 3)
}
