package mmtp

import (
	"context"
	"net"
	"os"
	"slices"
	"testing"

	"mixminion/packet"
)

// TestBothFamilies: one server listens on IPv4 and IPv6 at once, and a client reaches it over either.
func TestBothFamilies(t *testing.T) {
	four := listen(t)
	six, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("this machine has no IPv6 loopback: %v", err)
	}
	s, err := NewServer(ServerConfig{Certificate: testCertificate(t), Handler: &recorder{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, four, six) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for _, l := range []net.Listener{four, six} {
		c := NewClient(ClientConfig{Now: fixedClock})
		got := context.Canceled
		items := slices.Values([]Item{{Packet: new(packet.Packet), Done: func(err error) { got = err }}})
		if err := c.Send(t.Context(), hopTo(t, l.Addr()), items); err != nil || got != nil {
			t.Errorf("%v: %v, %v", l.Addr(), err, got)
		}
		c.Close()
	}
}
