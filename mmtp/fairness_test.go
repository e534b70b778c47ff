package mmtp

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/packet"
)

// gatedHandler takes a packet whenever something comes out of gate, and remembers the first byte of each.
type gatedHandler struct {
	gate chan struct{}
	mu   sync.Mutex
	got  []byte
}

func (h *gatedHandler) Room() bool { return true }

func (h *gatedHandler) Handle(_ Kind, p *packet.Packet, ack func(bool)) {
	<-h.gate
	h.mu.Lock()
	h.got = append(h.got, p[0])
	h.mu.Unlock()
	ack(true)
}

// TestSessionsTakeTurns: a network with many links that send as fast as they can gets as many turns as one with a single link.
func TestSessionsTakeTurns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := &gatedHandler{gate: make(chan struct{})}
		s, err := NewServer(ServerConfig{Certificate: testCertificate(t), Handler: h})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var peers []net.Conn
		connect := func(addr string, mark byte) {
			ours, theirs := net.Pipe()
			peers = append(peers, theirs)
			session := newSession(s, ours)
			session.guest.source, _ = sourceOf(from(addr))
			all.Go(func() { session.run(context.Background(), time.Now().Add(time.Minute)) })
			if err := agreeVersion(theirs); err != nil {
				t.Fatal(err)
			}
			all.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
			all.Go(func() {
				for {
					if _, err := theirs.Write(frame(fill(mark), false)); err != nil {
						return
					}
				}
			})
		}
		for i := range 20 {
			connect(fmt.Sprintf("192.0.2.%d:1", i), 'g')
		}
		connect("198.51.100.1:1", 'm')
		connect("[2001:db8::1]:1", 's')
		synctest.Wait()
		for range 301 {
			h.gate <- struct{}{}
			synctest.Wait()
		}
		counts := map[byte]int{}
		for _, mark := range h.got {
			counts[mark]++
		}
		for mark, n := range counts {
			if n < 98 || n > 102 {
				t.Errorf("%c: %d of 301 turns", mark, n)
			}
		}
		if len(counts) != 3 {
			t.Errorf("turns: %v", counts)
		}
		for _, p := range peers {
			_ = p.Close()
		}
		close(h.gate)
		all.Wait()
	})
}
