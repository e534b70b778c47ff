package mmtp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/packet"
)

// meteredPipe is a pipe with one end, ours, that shares b.
func meteredPipe(t *testing.T, b *Bandwidth) (ours, theirs net.Conn) {
	raw, theirs := net.Pipe()
	ours = b.conn(t.Context(), raw)
	t.Cleanup(func() {
		_ = ours.Close()
		_ = theirs.Close()
	})
	return ours, theirs
}

// What goes in a second, in both directions together, is the average; after a pause the bucket holds the spike.
func TestBandwidth(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const average, spike = 10_000, 30_000
		var b Bandwidth
		b.Set(average, spike)
		ours, theirs := meteredPipe(t, &b)
		start := time.Now()
		var wg sync.WaitGroup
		for _, c := range []net.Conn{ours, theirs} {
			wg.Go(func() {
				if _, err := c.Write(make([]byte, 65_000)); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := io.ReadFull(c, make([]byte, 65_000)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// What was read last is paid before the next read.
		if took := time.Since(start); took < 9*time.Second || took > 10*time.Second {
			t.Errorf("130,000 bytes took %v", took)
		}
		time.Sleep(time.Hour)
		start = time.Now()
		wg.Go(func() { _, _ = io.CopyN(io.Discard, theirs, 40_000) })
		if _, err := ours.Write(make([]byte, 40_000)); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if took := time.Since(start); took < time.Second || took > 2*time.Second {
			t.Errorf("40,000 bytes after a pause took %v", took)
		}
	})
}

func TestBandwidthDefaultSpike(t *testing.T) {
	var b Bandwidth
	b.Set(100_000, 0)
	if n := b.limiter.Load().Burst(); n != 500_000 {
		t.Errorf("the spike is %d", n)
	}
	same := b.limiter.Load()
	if b.Set(100_000, 500_000); b.limiter.Load() != same {
		t.Error("setting the same limit fills the bucket")
	}
	if b.Set(0, 1); b.limiter.Load() != nil {
		t.Error("0 is a limit")
	}
}

// Each connection that is active gets the same, in and out.
func TestBandwidthIsShared(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var b Bandwidth
		b.Set(80_000, 80_000)
		var counts [4]int
		var wg sync.WaitGroup
		var conns []net.Conn
		for i := range counts {
			ours, theirs := meteredPipe(t, &b)
			conns = append(conns, ours)
			from, to := ours, theirs
			if i%2 == 0 {
				from, to = theirs, ours
			}
			wg.Go(func() {
				p := make([]byte, 1025*(i+1))
				for {
					if _, err := from.Write(p); err != nil {
						return
					}
				}
			})
			wg.Go(func() {
				p := make([]byte, 20_000)
				for {
					n, err := to.Read(p)
					counts[i] += n
					if err != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Minute)
		for _, c := range conns {
			_ = c.Close()
		}
		wg.Wait()
		total := 0
		for _, n := range counts {
			total += n
		}
		if total < 75_000*60 || total > 85_000*61 {
			t.Errorf("%d bytes in a minute", total)
		}
		// Whoever is written or read in small pieces has a turn for each.
		for i, n := range counts {
			if least := total / 20 * (i + 1) / 4; n < least || n > total/2 {
				t.Errorf("connection %d: %d of %d bytes", i, n, total)
			}
		}
	})
}

// Time spent waiting for the others is not the peer's; but a deadline of the past stops a connection, and so does closing it.
func TestBandwidthDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var b Bandwidth
		b.Set(4096, 4096)
		ours, theirs := meteredPipe(t, &b)
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		_ = ours.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if _, err := ours.Write(make([]byte, 10*4096)); err != nil {
			t.Errorf("a write that waited for its turns: %v", err)
		}
		_ = ours.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read without a peer: %v", err)
		}
		_ = ours.SetDeadline(time.Unix(1, 0))
		if _, err := ours.Write(make([]byte, 4096)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write after its deadline: %v", err)
		}
		_ = ours.SetDeadline(time.Time{})
		done := make(chan error)
		go func() {
			_, err := ours.Write(make([]byte, 100*4096))
			done <- err
		}()
		time.Sleep(time.Second)
		_ = ours.Close()
		synctest.Wait()
		select {
		case err := <-done:
			if err == nil {
				t.Error("a write to a closed connection")
			}
		default:
			t.Fatal("Close does not end a write")
		}
	})
}

// A limit that is lifted, or set, binds the connections that are there.
func TestBandwidthChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var b Bandwidth
		b.Set(4096, 4096)
		ours, theirs := meteredPipe(t, &b)
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		start := time.Now()
		go func() {
			time.Sleep(10 * time.Second)
			b.Set(0, 0)
		}()
		if _, err := ours.Write(make([]byte, 1000*4096)); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("the write took %v", took)
		}
		b.Set(4096, 4096)
		start = time.Now()
		if _, err := ours.Write(make([]byte, 5*4096)); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("under the new limit it took %v", took)
		}
	})
}

// Links over a narrow line carry packets and JUNK alike, and end in good order.
func TestLinksWithBandwidth(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		rec := &recorder{}
		shared := new(Bandwidth)
		shared.Set(MinBandwidth, 0)
		to, stop := n.serve(t, "a", ServerConfig{Handler: rec, Bandwidth: shared})
		took := map[bool]time.Duration{}
		for _, junk := range []bool{false, true} {
			c := n.client(ClientConfig{})
			time.Sleep(time.Hour)
			start := time.Now()
			err := c.Send(context.Background(), to, func(yield func(Item) bool) {
				for i := range 50 {
					p := fill(byte(i))
					if !yield(Item{Packet: p, Junk: junk, Done: func(err error) {
						if err != nil {
							t.Error(err)
						}
					}}) {
						return
					}
				}
			})
			if err != nil {
				t.Error(err)
			}
			took[junk] = time.Since(start)
			c.Close()
		}
		stop()
		if d := took[true] - took[false]; d < -time.Second || d > time.Second {
			t.Errorf("packets took %v, JUNK %v", took[false], took[true])
		}
		if least := 50 * packet.Size / MinBandwidth * time.Second / 2; took[false] < least {
			t.Errorf("it took only %v", took[false])
		}
	})
}
