package mmtp

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"mixminion/packet"
)

const (
	// bandwidthStep is how many bytes one connection reads or writes in its turn, so that all that are active get the same.
	bandwidthStep = 4096
	// unhurried is how many bytes a connection may owe. Answers and ends of connections, on which others wait, are
	// shorter: they are written at once and paid before the next read.
	unhurried = 1024
	// spikeFactor is how many seconds' worth may pass at once, unless it is said.
	spikeFactor = 5
)

// A Bandwidth limits what all connections that share it read and write together, by a token bucket. While there is not enough for all, the
// active connections take turns of the same size; what they carry plays no part. A nil *Bandwidth limits nothing.
type Bandwidth struct {
	limiter atomic.Pointer[rate.Limiter] // nil: no limit
	turns   turns[*meteredConn]
}

// Set puts a limit into use: bytes in a second on average, and how many may pass at once after a pause, 0 meaning five seconds' worth. With
// an average of 0 there is no limit.
func (b *Bandwidth) Set(average, spike int64) {
	if average <= 0 {
		b.limiter.Store(nil)
		return
	}
	if spike <= 0 {
		spike = spikeFactor * average
	}
	size := int(min(max(spike, bandwidthStep), 1<<30))
	if l := b.limiter.Load(); l != nil {
		if int64(l.Limit()) == average && l.Burst() == size {
			return
		}
	}
	b.limiter.Store(rate.NewLimiter(rate.Limit(average), size))
}

// conn returns c as one of the connections that share b. Waiting for a turn to read ends with ctx, and all waiting when it is closed.
func (b *Bandwidth) conn(ctx context.Context, c net.Conn) net.Conn {
	if b == nil {
		return c
	}
	m := &meteredConn{Conn: c, b: b}
	m.open, m.close = context.WithCancel(context.WithoutCancel(ctx))
	m.reading, m.stopReading = context.WithCancel(ctx)
	return m
}

// meteredConn is a connection that takes part in a Bandwidth. Time that it waits for its turn does not count against
// its deadlines: it is not the peer's.
type meteredConn struct {
	net.Conn
	b *Bandwidth

	open, reading      context.Context
	close, stopReading context.CancelFunc

	debt atomic.Int64 // bytes that are to be paid before the next read

	mu                          sync.Mutex
	readDeadline, writeDeadline time.Time
}

// Read implements net.Conn.
func (m *meteredConn) Read(p []byte) (int, error) {
	l := m.b.limiter.Load()
	if l == nil {
		m.debt.Store(0)
		return m.Conn.Read(p)
	}
	if m.debt.Load() >= unhurried {
		n := int(m.debt.Swap(0))
		if err := m.pay(m.reading, l, n, &m.readDeadline, m.Conn.SetReadDeadline); err != nil {
			return 0, err
		}
	}
	n, err := m.Conn.Read(p[:min(len(p), bandwidthStep)])
	m.debt.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (m *meteredConn) Write(p []byte) (written int, err error) {
	if len(p) <= unhurried {
		n, err := m.Conn.Write(p)
		m.debt.Add(int64(n))
		return n, err
	}
	for {
		l := m.b.limiter.Load()
		if l == nil {
			n, err := m.Conn.Write(p[written:])
			return written + n, err
		}
		step := p[written:min(len(p), written+bandwidthStep)]
		if err := m.pay(m.open, l, len(step), &m.writeDeadline, m.Conn.SetWriteDeadline); err != nil {
			return written, err
		}
		n, err := m.Conn.Write(step)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// pay waits until n bytes may pass, and moves a deadline by as much.
func (m *meteredConn) pay(ctx context.Context, l *rate.Limiter, n int, deadline *time.Time, set func(time.Time) error) error {
	begun := time.Now()
	if err := m.b.turns.enter(ctx, m); err != nil {
		return net.ErrClosed
	}
	defer m.b.turns.leave()
	for n > 0 {
		part := min(n, l.Burst())
		if l.WaitN(ctx, part) != nil {
			return net.ErrClosed
		}
		n -= part
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !deadline.After(begun) { // there is none, or it is over, to stop us
		return nil
	}
	*deadline = deadline.Add(time.Since(begun))
	return set(*deadline)
}

// SetDeadline implements net.Conn.
func (m *meteredConn) SetDeadline(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readDeadline, m.writeDeadline = t, t
	return m.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (m *meteredConn) SetReadDeadline(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readDeadline = t
	return m.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (m *meteredConn) SetWriteDeadline(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writeDeadline = t
	return m.Conn.SetWriteDeadline(t)
}

// Close implements net.Conn.
func (m *meteredConn) Close() error {
	m.stopReading()
	m.close()
	return m.Conn.Close()
}

// MinBandwidth is the least average, in bytes in a second, with which a few links can carry packets before their peers lose patience.
const MinBandwidth = 2 * packet.Size
