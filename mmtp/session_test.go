package mmtp

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/packet"
)

// testSession is a server's session over a pipe, inside a synctest bubble.
type testSession struct {
	t      *testing.T
	peer   net.Conn // the client's end
	server *Server
	stop   context.CancelFunc
	ended  chan struct{}
}

func startSession(t *testing.T, cfg ServerConfig) *testSession {
	t.Helper()
	cfg.Certificate = testCertificate(t)
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ts := &testSession{t: t, peer: theirs, server: s, stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(ts.ended)
		newSession(s, ours).run(ctx, time.Now().Add(s.cfg.HandshakeTimeout))
	}()
	return ts
}

func (ts *testSession) write(b []byte) {
	ts.t.Helper()
	if _, err := ts.peer.Write(b); err != nil {
		ts.t.Fatal(err)
	}
}

func (ts *testSession) expect(want string) {
	ts.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(ts.peer, got); err != nil || string(got) != want {
		ts.t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

func (ts *testSession) greet() {
	ts.t.Helper()
	ts.write([]byte("MMTP 0.3\r\n"))
	ts.expect("MMTP 0.3\r\n")
}

// expectEnd checks that the server closes, without another word, after exactly d.
func (ts *testSession) expectEnd(d time.Duration) {
	ts.t.Helper()
	start := time.Now()
	if rest, err := io.ReadAll(ts.peer); err != nil || len(rest) > 0 {
		ts.t.Fatalf("read %d bytes, %v; want the end", len(rest), err)
	}
	<-ts.ended
	if took := time.Since(start); took != d {
		ts.t.Errorf("the session ended after %v, want %v", took, d)
	}
	if n := ts.server.buffers.inUse(); n != 0 {
		ts.t.Errorf("%d buffers still reserved", n)
	}
}

func sum(p *packet.Packet, suffix string) string {
	d := sha1.Sum(append(p[:len(p):len(p)], suffix...))
	return string(d[:])
}

// inBubble runs f in a synctest bubble, with the test's keys made outside it.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	testKeys()
	synctest.Test(t, f)
}

// TestSessionBytes is the protocol, byte for byte, from the server's side.
func TestSessionBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := newRecorder()
		full := false
		rec.full = func() bool { return full }
		ts := startSession(t, ServerConfig{Handler: rec})
		ts.greet()
		p := fill(7)
		for _, step := range []struct {
			name         string
			room         bool
			send         string
			kind         Kind
			accept       bool
			answer       string
			answerDigest string
		}{
			{"accepted", true, "SEND\r\n" + string(p[:]) + sum(p, "SEND"), KindPacket, true, "RECEIVED\r\n", sum(p, "RECEIVED")},
			{"refused", true, "SEND\r\n" + string(p[:]) + sum(p, "SEND"), KindPacket, false, "REJECTED\r\n", sum(p, "REJECTED")},
			{"bad digest", true, "SEND\r\n" + string(p[:]) + sum(p, "JUNK"), KindBad, true, "REJECTED\r\n", sum(p, "REJECTED")},
			{"junk", true, "JUNK\r\n" + string(p[:]) + sum(p, "JUNK"), KindJunk, false, "RECEIVED\r\n", sum(p, "RECEIVED JUNK")},
			{"no room", false, "SEND\r\n" + string(p[:]) + sum(p, "SEND"), KindNoRoom, true, "REJECTED\r\n", sum(p, "REJECTED")},
			{"no room, bad digest", false, "SEND\r\n" + string(p[:]) + sum(p, "SENT"), KindNoRoom, true, "REJECTED\r\n", sum(p, "REJECTED")},
			{"no room, junk", false, "JUNK\r\n" + string(p[:]) + sum(p, "JUNK"), KindJunk, true, "RECEIVED\r\n", sum(p, "RECEIVED JUNK")},
		} {
			full = !step.room
			ts.write([]byte(step.send))
			a := <-rec.arrivals
			if a.kind != step.kind {
				t.Errorf("%s: kind %d, want %d", step.name, a.kind, step.kind)
			}
			if (a.p != nil) != (step.kind == KindPacket) || a.p != nil && *a.p != *p {
				t.Errorf("%s: wrong packet handed over", step.name)
			}
			a.ack(step.accept)
			a.ack(!step.accept) // ignored
			ts.expect(step.answer + step.answerDigest)
		}
		synctest.Wait()
		_ = ts.peer.Close()
		<-ts.ended
	})
}

func TestSessionVersions(t *testing.T) {
	for line, ok := range map[string]bool{
		"MMTP 0.3\r\n":         true,
		"MMTP 0.3,0.4\r\n":     true,
		"MMTP 0.1,0.2,0.3\r\n": true,
		"MMTP " + strings.Repeat("9", 4086) + ",0.3\r\n": false, // one byte too long
		"MMTP " + strings.Repeat("9", 4085) + ",0.3\r\n": true,
		"MMTP 0.4\r\n":               false,
		"MMTP 0.33\r\n":              false,
		"MMTP 0.3, 0.4\r\n":          false,
		"MMTP 0.3,\r\n":              false,
		"MMTP \r\n":                  false,
		"MMTP\r\n":                   false,
		"mmtp 0.3\r\n":               false,
		"MMTP 0.3\n":                 false,
		"\n":                         false,
		"\r\n":                       false,
		"MMTP 0.3\r\nS":              false,
		"MMTP 0.3\r\n\r\n":           false,
		"SEND\r\n":                   false,
		"GET / HTTP/1.1\r\n":         false,
		"MMTP 0.3\x00\r\n":           false,
		strings.Repeat("x", maxLine): false,
	} {
		t.Run(line[:min(len(line), 20)], func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				ts := startSession(t, ServerConfig{Handler: newRecorder()})
				go func() { _, _ = ts.peer.Write([]byte(line)) }() // a server that refuses need not read all of it
				if ok {
					ts.expect("MMTP 0.3\r\n")
					_ = ts.peer.Close()
					<-ts.ended
					return
				}
				ts.expectEnd(0)
			})
		})
	}
}

// TestSessionTimeouts: peers that stop or that only trickle are cut off when their time is over, not later.
func TestSessionTimeouts(t *testing.T) {
	trickle := func(every time.Duration) func(*testSession, []byte) {
		return func(ts *testSession, b []byte) {
			go func() {
				for i := range b {
					if _, err := ts.peer.Write(b[i : i+1]); err != nil {
						return
					}
					select {
					case <-time.After(every):
					case <-ts.ended:
						return
					}
				}
			}()
		}
	}
	whole := (*testSession).write
	f := frame(fill(1), false)
	for _, c := range []struct {
		name  string
		greet bool
		write func(*testSession, []byte)
		data  []byte
		want  time.Duration
	}{
		{"says nothing", false, whole, nil, 30 * time.Second},
		{"half a version line", false, whole, []byte("MMTP "), 30 * time.Second},
		{"trickled version line", false, trickle(5 * time.Second), []byte(versionLine), 30 * time.Second},
		{"idle", true, whole, nil, 5 * time.Minute},
		{"half a command", true, whole, f[:3], 2 * time.Minute},
		{"half a packet", true, whole, f[:20000], 2 * time.Minute},
		{"all but one byte", true, whole, f[:frameLen-1], 2 * time.Minute},
		{"trickled packet", true, trickle(time.Second), f, 2 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				rec := newRecorder()
				ts := startSession(t, ServerConfig{Handler: rec})
				if c.greet {
					ts.greet()
				}
				if len(c.data) > 0 {
					c.write(ts, c.data)
				}
				ts.expectEnd(c.want)
				if len(rec.arrivals) != 0 {
					t.Error("something was handed over")
				}
			})
		})
	}
}

func TestSessionPeerTakesNoAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := newRecorder()
		ts := startSession(t, ServerConfig{Handler: rec})
		ts.greet()
		ts.write(frame(fill(1), false))
		start := time.Now()
		(<-rec.arrivals).ack(true)
		<-ts.ended
		if took := time.Since(start); took != time.Minute {
			t.Errorf("the session ended after %v, want the write timeout", took)
		}
	})
}

func TestSessionMaxAge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		start := time.Now()
		ts := startSession(t, ServerConfig{Handler: &recorder{}})
		ts.greet()
		p := fill(1)
		for time.Since(start) < 19*time.Minute {
			ts.write(frame(p, false))
			ts.expect("RECEIVED\r\n" + sum(p, "RECEIVED"))
			time.Sleep(time.Minute)
		}
		ts.expectEnd(20*time.Minute - time.Since(start))
	})
}

func TestSessionProtocolErrors(t *testing.T) {
	p := fill(1)
	badJunk := frame(p, true)
	badJunk[frameLen-1] ^= 1
	for name, data := range map[string][]byte{
		"unknown command":     []byte("QUIT\r\n"),
		"lower case":          []byte("send\r\n"),
		"garbage":             bytes.Repeat([]byte{0xff}, cmdLen),
		"second version line": []byte(versionLine)[:cmdLen],
		"junk, wrong digest":  badJunk,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				rec := newRecorder()
				ts := startSession(t, ServerConfig{Handler: rec})
				ts.greet()
				ts.write(frame(p, false))
				a := <-rec.arrivals
				ts.write(data)
				synctest.Wait()
				// What was handed over before the error still gets its answer.
				a.ack(true)
				ts.expect("RECEIVED\r\n" + sum(p, "RECEIVED"))
				ts.expectEnd(0)
			})
		})
	}
}

// TestSessionOrder: acks that come in any order leave in the order of arrival.
func TestSessionOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := newRecorder()
		ts := startSession(t, ServerConfig{Handler: rec})
		ts.greet()
		const n = 4
		var acks [n]func(bool)
		var ps [n]*packet.Packet
		for i := range n {
			ps[i] = fill(byte(i))
			ts.write(frame(ps[i], i == 2))
			acks[i] = (<-rec.arrivals).ack
		}
		acks[3](false)
		acks[1](true)
		acks[2](false)
		synctest.Wait()
		acks[0](true)
		ts.expect("RECEIVED\r\n" + sum(ps[0], "RECEIVED") + "RECEIVED\r\n" + sum(ps[1], "RECEIVED") +
			"RECEIVED\r\n" + sum(ps[2], "RECEIVED JUNK") + "REJECTED\r\n" + sum(ps[3], "REJECTED"))
		_ = ts.peer.Close()
		<-ts.ended
		acks[0](true) // too late and once too often: nothing happens
	})
}

// TestSessionBackPressure: with 16 packets unanswered the connection is not read.
func TestSessionBackPressure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := newRecorder()
		ts := startSession(t, ServerConfig{Handler: rec})
		ts.greet()
		p := fill(1)
		f := frame(p, false)
		for range maxUnacked {
			ts.write(f)
		}
		synctest.Wait()
		if n := ts.server.buffers.inUse(); n != maxUnacked {
			t.Errorf("%d buffers reserved", n)
		}
		if err := ts.peer.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := ts.peer.Write(f); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("packet 17: %d bytes taken, %v", n, err)
		}
		if err := ts.peer.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		(<-rec.arrivals).ack(true)
		ts.expect("RECEIVED\r\n" + sum(p, "RECEIVED"))
		ts.write(f)
		for range maxUnacked {
			(<-rec.arrivals).ack(true)
			ts.expect("RECEIVED\r\n" + sum(p, "RECEIVED"))
		}
		_ = ts.peer.Close()
		<-ts.ended
	})
}

// TestServerMaxBuffered: when all places for packets in memory are taken, a connection waits for one until its packet's time is over.
func TestServerMaxBuffered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := newRecorder()
		ts := startSession(t, ServerConfig{Handler: rec, MaxBuffered: packet.Size})
		ts.greet()
		p := fill(1)
		ts.write(frame(p, false))
		ts.write([]byte(cmdSend))
		time.Sleep(time.Minute)
		a := <-rec.arrivals
		a.ack(true)
		ts.expect("RECEIVED\r\n" + sum(p, "RECEIVED"))
		ts.write(frame(p, false)[cmdLen:])
		a = <-rec.arrivals
		ts.write([]byte(cmdSend))
		time.Sleep(2*time.Minute + time.Second)
		a.ack(true)
		ts.expect("RECEIVED\r\n" + sum(p, "RECEIVED"))
		ts.expectEnd(0)
	})
}

func TestSessionShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := newRecorder()
		ts := startSession(t, ServerConfig{Handler: rec})
		ts.greet()
		p := fill(1)
		ts.write(frame(p, false))
		ts.write(frame(p, true))
		ts.write(frame(p, false)[:1000])
		ts.stop()
		synctest.Wait()
		first, second := <-rec.arrivals, <-rec.arrivals
		time.Sleep(time.Second)
		second.ack(true)
		first.ack(true)
		ts.expect("RECEIVED\r\n" + sum(p, "RECEIVED") + "RECEIVED\r\n" + sum(p, "RECEIVED JUNK"))
		ts.expectEnd(0)
	})
}

// TestSessionShutdownIsBounded: a handler that does not acknowledge holds up the end only for a while.
func TestSessionShutdownIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := newRecorder()
		ts := startSession(t, ServerConfig{Handler: rec})
		ts.greet()
		ts.write(frame(fill(1), false))
		ts.stop()
		start := time.Now()
		<-ts.ended
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("ended after %v", took)
		}
		(<-rec.arrivals).ack(true) // too late, but harmless
		if n := ts.server.buffers.inUse(); n != 0 {
			t.Errorf("%d buffers still reserved", n)
		}
	})
}

// TestSessionBuffersGrow: who waits for a place in memory gets one when there are more.
func TestSessionBuffersGrow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var p places
		p.set(1)
		if err := p.take(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := p.take(t.Context(), time.Now().Add(time.Second)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a second place of one: %v", err)
		}
		done := make(chan error)
		for range 2 {
			go func() { done <- p.take(t.Context(), time.Now().Add(time.Hour)) }()
		}
		synctest.Wait()
		p.set(2)
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.set(1)
		p.giveBack() // one is taken too many
		synctest.Wait()
		select {
		case err := <-done:
			t.Errorf("there are more than the limit allows: %v", err)
		default:
		}
		p.giveBack()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := p.inUse(); n != 1 {
			t.Errorf("%d are in use", n)
		}
	})
}
