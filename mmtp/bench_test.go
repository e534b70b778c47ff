package mmtp

import (
	"context"
	"testing"

	"mixminion/packet"
)

// BenchmarkSend is one link over loopback to a handler that acknowledges at once: what the transport itself costs, both ends.
func BenchmarkSend(b *testing.B) {
	to := startServer(b, ServerConfig{Handler: &recorder{}})
	client := newTestClient(b, ClientConfig{})
	p := randomPacket(b)
	b.SetBytes(packet.Size)
	b.ReportAllocs()
	err := client.Send(context.Background(), to, func(yield func(Item) bool) {
		for b.Loop() {
			if !yield(Item{Packet: p}) {
				return
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

// BenchmarkLink is a whole link: connection, handshake, chain check, version exchange, close.
func BenchmarkLink(b *testing.B) {
	to := startServer(b, ServerConfig{Handler: &recorder{}})
	client := newTestClient(b, ClientConfig{})
	for b.Loop() {
		if _, err := client.Probe(context.Background(), to); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCertificate is what a server pays once a day, and a client on each link.
func BenchmarkCertificate(b *testing.B) {
	cert, err := testCertificate(b)()
	if err != nil {
		b.Fatal(err)
	}
	chain := parseChain(b, cert.Certificate)
	b.Run("make", func(b *testing.B) {
		for b.Loop() {
			if _, err := NewLinkCertificate(testKeys()[0], "alice", testNow); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if _, err := checkChain(chain, testNow); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDigests is the hashing that each end does for one packet.
func BenchmarkDigests(b *testing.B) {
	p := randomPacket(b)
	b.SetBytes(packet.Size)
	b.ReportAllocs()
	for b.Loop() {
		digestsOf(p, false)
	}
}
