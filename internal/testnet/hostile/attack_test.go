//go:build linux

package hostile_test

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mixminion/packet"
)

// An attacker does its worst over one connection. It returns when the mix has closed it or there is nothing left to do; ctx closes it, too.
type attacker struct {
	name string
	do   func(ctx context.Context, c net.Conn) error
}

var attackers = []attacker{
	{"never speaks", func(ctx context.Context, c net.Conn) error { return hold(ctx, c) }},
	{"drips a ClientHello", func(ctx context.Context, c net.Conn) error {
		return drip(ctx, c, append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, make([]byte, 500)...))
	}},
	{"begins a ClientHello of 64 KB", func(ctx context.Context, c net.Conn) error {
		return greeting(ctx, c, 1, 60<<10)
	}},
	{"begins with a certificate of 16 MB", func(ctx context.Context, c net.Conn) error {
		return greeting(ctx, c, 11, 1<<24-1)
	}},
	{"speaks another protocol", func(ctx context.Context, c net.Conn) error {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: mix\r\n\r\n"); err != nil {
			return err
		}
		return hold(ctx, c)
	}},
	{"wants to renegotiate by TLS 1.2", func(ctx context.Context, c net.Conn) error {
		old := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Renegotiation: tls.RenegotiateFreelyAsClient})
		if err := old.HandshakeContext(ctx); err != nil {
			return err
		}
		return fmt.Errorf("%w: the mix speaks TLS 1.2", errWrong)
	}},
	{"shakes hands and says nothing", secure(func(ctx context.Context, c net.Conn) error { return hold(ctx, c) })},
	{"never ends its version line", secure(func(ctx context.Context, c net.Conn) error {
		for {
			if _, err := c.Write([]byte("MMTP 0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3")); err != nil {
				return err
			}
		}
	})},
	{"sends half a packet", greeted(func(ctx context.Context, c net.Conn) error {
		if _, err := c.Write(append([]byte("SEND\r\n"), make([]byte, packet.Size-1)...)); err != nil {
			return err
		}
		return hold(ctx, c)
	})},
	{"drips a packet", greeted(func(ctx context.Context, c net.Conn) error {
		return drip(ctx, c, frame("SEND", true))
	})},
	{"floods with JUNK", greeted(func(ctx context.Context, c net.Conn) error { return flood(c, "JUNK", true, true) })},
	{"floods with JUNK and reads no answer", greeted(func(ctx context.Context, c net.Conn) error { return flood(c, "JUNK", true, false) })},
	{"floods with wrong digests", greeted(func(ctx context.Context, c net.Conn) error { return flood(c, "SEND", false, true) })},
	{"floods with packets for nobody, and reads no answer", greeted(func(ctx context.Context, c net.Conn) error {
		return flood(c, "SEND", true, false)
	})},
	{"drips the reading of answers", greeted(func(ctx context.Context, c net.Conn) error {
		go func() {
			one := make([]byte, 1)
			for wait(ctx, time.Second) {
				if _, err := c.Read(one); err != nil {
					return
				}
			}
		}()
		return flood(c, "JUNK", true, false)
	})},
	{"resets", func(ctx context.Context, c net.Conn) error {
		_ = c.(*net.TCPConn).SetLinger(0)
		return nil
	}},
}

var errWrong = errors.New("the mix did what it must not do")

// attack is what many attackers do at the same time. Who is thrown out comes again.
type attack struct {
	addr   string
	cancel context.CancelFunc
	all    sync.WaitGroup

	open, peak, made atomic.Int64
	mu               sync.Mutex
	wrong            []error
}

func startAttack(addr string, n int) *attack {
	ctx, cancel := context.WithCancel(context.Background())
	a := &attack{addr: addr, cancel: cancel}
	for i := range n {
		a.all.Go(func() {
			// Half of them come from a few crowded networks, the others from many.
			source := net.IPv4(127, 66, byte(i/2/60), byte(1+i%200))
			if i%2 == 0 {
				source = net.IPv4(127, byte(70+i%100), byte(i/100%250), 1)
			}
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: source}}
			kind := attackers[i/2%len(attackers)]
			// They do not all come at the same moment, and who is thrown out waits a moment.
			for wait(ctx, time.Duration(i%100)*20*time.Millisecond) {
				c, err := dialer.DialContext(ctx, "tcp", addr)
				if err != nil {
					continue
				}
				a.run(ctx, kind, c)
			}
		})
	}
	return a
}

func (a *attack) run(ctx context.Context, kind attacker, c net.Conn) {
	a.made.Add(1)
	now := a.open.Add(1)
	for most := a.peak.Load(); now > most && !a.peak.CompareAndSwap(most, now); most = a.peak.Load() {
	}
	unwatch := context.AfterFunc(ctx, func() { _ = c.Close() })
	err := kind.do(ctx, c)
	unwatch()
	_ = c.Close()
	a.open.Add(-1)
	if ctx.Err() == nil && err != nil && errors.Is(err, errWrong) {
		a.mu.Lock()
		a.wrong = append(a.wrong, fmt.Errorf("who %s: %w", kind.name, err))
		a.mu.Unlock()
	}
}

func (a *attack) stop() {
	a.cancel()
	a.all.Wait()
}

func (a *attack) problems() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wrong[:min(len(a.wrong), 10)]
}

// wait waits; it returns false if ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// hold keeps a connection until the mix closes it, and reads nothing but its end.
func hold(_ context.Context, c net.Conn) error {
	_, err := io.Copy(io.Discard, c)
	return err
}

// drip sends data, one byte each second.
func drip(ctx context.Context, c net.Conn, data []byte) error {
	for i := range data {
		if _, err := c.Write(data[i : i+1]); err != nil {
			return err
		}
		if !wait(ctx, time.Second) {
			return ctx.Err()
		}
	}
	return nil
}

// greeting begins the TLS handshake with a message of a type and length, all but the last KB of it.
func greeting(ctx context.Context, c net.Conn, typ byte, length int) error {
	data := binary.BigEndian.AppendUint32(nil, uint32(length)|uint32(typ)<<24)
	data = append(data, make([]byte, min(length, 1<<20)-1024)...)
	for len(data) > 0 {
		record := data[:min(len(data), 1<<14)]
		data = data[len(record):]
		head := []byte{22, 3, 1, byte(len(record) >> 8), byte(len(record))}
		if _, err := c.Write(append(head, record...)); err != nil {
			return err
		}
	}
	return hold(ctx, c)
}

// secure does what f does within TLS.
func secure(f func(context.Context, net.Conn) error) func(context.Context, net.Conn) error {
	return func(ctx context.Context, raw net.Conn) error {
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		if err := c.HandshakeContext(ctx); err != nil {
			return err
		}
		return f(ctx, c)
	}
}

// greeted does what f does when the versions are agreed.
func greeted(f func(context.Context, net.Conn) error) func(context.Context, net.Conn) error {
	return secure(func(ctx context.Context, c net.Conn) error {
		if _, err := io.WriteString(c, "MMTP 0.3\r\n"); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, make([]byte, 10)); err != nil {
			return err
		}
		return f(ctx, c)
	})
}

// frame is a command with 32 KB and a digest.
func frame(command string, good bool) []byte {
	body := make([]byte, packet.Size)
	rand.Read(body)
	sum := sha1.Sum(append(append([]byte{}, body...), command...))
	if !good {
		sum[0] ^= 1
	}
	return append(append([]byte(command+"\r\n"), body...), sum[:]...)
}

// flood sends the same thing as fast as the mix takes it.
func flood(c net.Conn, command string, good, read bool) error {
	data := frame(command, good)
	if read {
		go func() { _, _ = io.Copy(io.Discard, c) }()
	}
	for {
		if _, err := c.Write(data); err != nil {
			return err
		}
	}
}
