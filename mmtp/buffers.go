package mmtp

import (
	"context"
	"os"
	"sync"
	"time"

	"mixminion/packet"
)

var packets = sync.Pool{New: func() any { return new(packet.Packet) }}

func newPacket() *packet.Packet { return packets.Get().(*packet.Packet) }

// Recycle wipes p and gives its memory back for other packets. The caller must not use p afterwards. Handlers may call it for packets
// they were given; nothing breaks if they do not.
func Recycle(p *packet.Packet) {
	clear(p[:])
	packets.Put(p)
}

// reserveBuffer takes one of the places for a packet in memory. It waits for one until deadline.
func (s *Server) reserveBuffer(ctx context.Context, deadline time.Time) error {
	select {
	case s.buffers <- struct{}{}:
		return nil
	default:
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case s.buffers <- struct{}{}:
		return nil
	case <-t.C:
		return os.ErrDeadlineExceeded
	case <-ctx.Done():
		return errStopped
	}
}

func (s *Server) releaseBuffer() { <-s.buffers }
