package mix_test

import (
	"context"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/internal/crypt"
	"mixminion/mix"
	"mixminion/mmtp"
	"mixminion/packet"
)

// senders is from how many links packets come in: a mix has many neighbours.
const senders = 8

// BenchmarkThroughput measures a mix from end to end: packets come in over MMTP, are unwrapped, committed to disk in ticks, mixed, and
// go out over MMTP to a next hop. Sender and next hop run in the same process on the same processors, so their share of TLS and
// copying counts against the mix. "%unwrap" compares with what the processors can unwrap when they do nothing else.
func BenchmarkThroughput(b *testing.B) {
	b.Run("form=clear", func(b *testing.B) { benchThroughput(b, false) })
	b.Run("form=sealed", func(b *testing.B) { benchThroughput(b, true) })
}

func benchThroughput(b *testing.B, sealed bool) {
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	cfg := testConfig(b.TempDir(), l)
	cfg.Interval = 20 * time.Millisecond
	if sealed {
		if cfg.Vault, err = testVault(b.TempDir()); err != nil {
			b.Fatal(err)
		}
	}
	m, err := mix.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	next, arrived, stopNext := benchHop(b)
	defer stopNext()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := m.Run(ctx, l); err != nil {
			b.Error(err)
		}
	})
	defer func() {
		cancel()
		running.Wait()
		if err := m.Close(); err != nil {
			b.Error(err)
		}
	}()

	self := m.Descriptors()[0].Node()
	packets := buildAll(b, b.N, self, next)
	b.SetBytes(packet.Size)
	b.ResetTimer()
	var sending sync.WaitGroup
	for part := range slices.Chunk(packets, (b.N+senders-1)/senders) {
		sending.Go(func() {
			client := mmtp.NewClient(mmtp.ClientConfig{})
			defer client.Close()
			err := client.Send(b.Context(), self.Hop, func(yield func(mmtp.Item) bool) {
				for _, p := range part {
					if !yield(mmtp.Item{Packet: p}) {
						return
					}
				}
			})
			if err != nil {
				b.Error(err)
			}
		})
	}
	for range b.N {
		<-arrived
	}
	b.StopTimer()
	sending.Wait()
	perSecond := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(perSecond, "packets/s")
	b.ReportMetric(100*perSecond/unwrapRate(b), "%unwrap")
}

// unwrapRate is how many packets all processors together unwrap in a second.
func unwrapRate(b *testing.B) float64 {
	key, err := crypt.GenerateKey(2048)
	if err != nil {
		b.Fatal(err)
	}
	dec, err := crypt.StdProvider{}.Decrypter(key)
	if err != nil {
		b.Fatal(err)
	}
	u, err := packet.NewUnwrapper(dec)
	if err != nil {
		b.Fatal(err)
	}
	node := packet.Node{Hop: packet.Hop{Host: "a.example", Port: 1}, PacketKey: &key.PublicKey}
	p := buildAll(b, 1, node, node)[0]
	const each = 500
	var wg sync.WaitGroup
	begun := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for range each {
				q := *p
				if _, err := u.Unwrap(&q); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return float64(each*runtime.GOMAXPROCS(0)) / time.Since(begun).Seconds()
}

func buildAll(b *testing.B, n int, self, next packet.Node) []*packet.Packet {
	out := make([]*packet.Packet, n)
	var wg sync.WaitGroup
	var counter atomic.Int64
	for w := range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			src := rand.NewChaCha8([32]byte{byte(w)})
			for i := counter.Add(1) - 1; i < int64(n); i = counter.Add(1) - 1 {
				p, err := packet.BuildForward(src, []packet.Node{self}, []packet.Node{next}, packet.Exit{Type: packet.TypeDrop}, new(packet.Payload))
				if err != nil {
					b.Error(err)
					return
				}
				out[i] = p
			}
		})
	}
	wg.Wait()
	return out
}

// countingHop takes everything, and says so of packets; padding comes, too.
type countingHop struct{ arrived chan<- struct{} }

func (countingHop) Room() bool { return true }
func (h countingHop) Handle(_ mmtp.Kind, p *packet.Packet, ack func(bool)) {
	if p != nil { // padding does not count
		mmtp.Recycle(p)
		h.arrived <- struct{}{}
	}
	ack(true)
}

// benchHop runs a next hop.
func benchHop(b *testing.B) (packet.Node, <-chan struct{}, func()) {
	identity, err := crypt.GenerateKey(2048)
	if err != nil {
		b.Fatal(err)
	}
	links, err := mmtp.NewLinkIdentity(identity, "next", time.Now)
	if err != nil {
		b.Fatal(err)
	}
	count := make(chan struct{}, b.N)
	server, err := mmtp.NewServer(mmtp.ServerConfig{Certificate: links.Certificate, Handler: countingHop{count}})
	if err != nil {
		b.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(ctx, l); err != nil {
			b.Error(err)
		}
	})
	node := packet.Node{Hop: packet.Hop{Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port), KeyID: crypt.NewKeyID(&identity.PublicKey)},
		PacketKey: &identity.PublicKey}
	return node, count, func() {
		cancel()
		wg.Wait()
	}
}
