package mmtp

import (
	"context"
	"os"
	"slices"
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

// places are the places for packets in memory.
type places struct {
	mu      sync.Mutex
	most    int
	taken   int
	waiting []chan struct{} // closing one gives it a place; oldest first
}

// take takes a place. It waits for one until deadline, or until ctx ends.
func (p *places) take(ctx context.Context, deadline time.Time) error {
	p.mu.Lock()
	if p.taken < p.most {
		p.taken++
		p.mu.Unlock()
		return nil
	}
	w := make(chan struct{})
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	err := errStopped
	select {
	case <-w:
		return nil
	case <-t.C:
		err = os.ErrDeadlineExceeded
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else { // it came at the same moment
		p.taken--
		p.fill()
	}
	return err
}

func (p *places) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.fill()
}

// set changes how many places there are. If more are taken, they stay so until they are given back.
func (p *places) set(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = max(1, most)
	p.fill()
}

// fill gives free places to those who wait. The caller holds mu.
func (p *places) fill() {
	for p.taken < p.most && len(p.waiting) > 0 {
		p.taken++
		close(p.waiting[0])
		p.waiting = slices.Delete(p.waiting, 0, 1)
	}
}

// inUse is how many places are taken.
func (p *places) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}
