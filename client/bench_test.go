package client_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/internal/crypt"
	"mixminion/path"
)

// BenchmarkPrepare1MB turns a message of 1 MB that does not compress into packets. above-rsa-% says how much longer that takes than the
// bare public-key operations, one for each hop of each packet, which are measured in turn on all processors (rsa-ms/op).
// above-rsa-wrapping-% says the same of the wrapping alone, from the first packet to the last: without compression, fragments and
// the search for paths.
func BenchmarkPrepare1MB(b *testing.B) {
	c, _ := newClient(b, descriptors(b))
	m := client.Message{To: parseAddress(b, "bob@example.com"), Body: randomText(b, 1<<20)}
	ctx := context.Background()
	var packets int
	var bare, wrapping time.Duration
	b.SetBytes(int64(len(m.Body)))
	for b.Loop() {
		w := new(timer)
		p, err := c.Prepare(ctx, m, w)
		if err != nil {
			b.Fatal(err)
		}
		packets = len(p.Packets)
		wrapping += w.between()
		b.StopTimer()
		bare += bareOperations(b, packets*path.DefaultHops)
		b.StartTimer()
	}
	b.ReportMetric(float64(packets), "packets")
	b.ReportMetric(100*(float64(b.Elapsed())/float64(bare)-1), "above-rsa-%")
	// The timer starts when the first packet is done.
	share := float64(packets-1) / float64(packets)
	b.ReportMetric(100*(float64(wrapping)/(float64(bare)*share)-1), "above-rsa-wrapping-%")
	b.ReportMetric(float64(bare.Microseconds())/1000/float64(b.N), "rsa-ms/op")
}

// bareOperations takes the time of n public-key operations on all processors.
func bareOperations(b *testing.B, n int) time.Duration {
	key := &mixServers()[0].packetKey.PublicKey
	secret := make([]byte, crypt.PKMaxDataLen)
	var next atomic.Int64
	var workers sync.WaitGroup
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for next.Add(1) <= int64(n) {
				if _, err := crypt.EncryptPK(key, secret); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	return time.Since(start)
}

// A timer notes when the first and the last packet were wrapped.
type timer struct {
	mu          sync.Mutex
	first, last time.Time
}

func (t *timer) Sent(int, int) {}
func (t *timer) Wrapped(int, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = time.Now()
	if t.first.IsZero() {
		t.first = t.last
	}
}

func (t *timer) between() time.Duration { return t.last.Sub(t.first) }

// BenchmarkDecode reads an mbox file of a hundred mails, each with a message of 20 KB that is not encrypted.
func BenchmarkDecode(b *testing.B) {
	c, _, _ := newHome(b)
	var box strings.Builder
	for range 100 {
		box.WriteString("From nobody@mix.example Mon Nov  2 10:00:00 2026\nSubject: x\n\n" + plain(strings.Repeat("A line of some text in a message.\n", 600)) + "\n")
	}
	b.SetBytes(int64(box.Len()))
	for b.Loop() {
		n := 0
		for _, err := range c.Decode(b.Context(), strings.NewReader(box.String()), client.DecodeOptions{}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 100 {
			b.Fatalf("%d messages", n)
		}
	}
}
