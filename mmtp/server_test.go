package mmtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/packet"
)

func TestNewServerRefuses(t *testing.T) {
	if _, err := NewServer(ServerConfig{Handler: newRecorder()}); err == nil {
		t.Error("a server without a certificate")
	}
	if _, err := NewServer(ServerConfig{Certificate: testCertificate(t)}); err == nil {
		t.Error("a server without a handler")
	}
}

func TestServerConnectionLimits(t *testing.T) {
	for name, limits := range map[string]Limits{
		"in all": {MaxConnections: 2}, "per source": {MaxPerSource: 2}, "in a minute": {Rate: 4}, "in a minute in all": {TotalRate: 4},
	} {
		t.Run(name, func(t *testing.T) {
			var log lockedBuffer
			to := startServerFrom(t, "192.0.2.1:1234", ServerConfig{
				Handler: &recorder{}, Limits: limits,
				Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			var open []net.Conn
			for range 2 {
				conn, err := tls.Dial("tcp", address(to), clientTLS(fixedClock, expectKeyID(to.KeyID)))
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, conn)
			}
			for range 3 {
				if _, err := newTestClient(t, ClientConfig{}).Probe(context.Background(), to); err == nil {
					t.Error("a connection over the limit was served")
				}
			}
			for _, conn := range open {
				if err := agreeVersion(conn); err != nil {
					t.Error(err)
				}
				_ = conn.Close()
			}
			if n := strings.Count(log.String(), "\n"); n != 1 || strings.Contains(log.String(), "127.0.0.1") || strings.Contains(log.String(), "192.0.2") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// TestServerSurvivesHostilePeers: a thousand connections that never finish a handshake or a packet cost bounded memory, and an honest
// peer is served meanwhile.
func TestServerSurvivesHostilePeers(t *testing.T) {
	const n = 1000
	to := startServer(t, ServerConfig{Handler: &recorder{}, Limits: Limits{MaxConnections: n + 10}})
	client := newTestClient(t, ClientConfig{})
	before := heap()
	half := frame(fill(1), false)[:packet.Size/2]
	var wg sync.WaitGroup
	conns := make([]net.Conn, n)
	todo := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range todo {
				raw, err := net.Dial("tcp", address(to))
				if err != nil {
					t.Error(err)
					return
				}
				conns[i] = raw
				if i%4 == 0 {
					continue // does not shake hands
				}
				conn := tls.Client(raw, clientTLS(fixedClock, expectKeyID(to.KeyID)))
				conns[i] = conn
				if err := conn.Handshake(); err != nil {
					t.Error(err)
					continue
				}
				if i%4 == 1 {
					continue // does not speak
				}
				if err := agreeVersion(conn); err != nil {
					t.Error(err)
					continue
				}
				if i%4 == 3 {
					if _, err := conn.Write(half); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range n {
		todo <- i
	}
	close(todo)
	wg.Wait()
	var o outcomes
	if err := client.Send(context.Background(), to, o.items(fill(1), fill(2), fill(3))); err != nil || !o.allNil() {
		t.Errorf("the honest peer: %v, %v", err, o.errs)
	}
	// Both ends of all connections live in this process, so the server's share is smaller.
	each := (int64(heap()) - int64(before)) / n
	t.Logf("%d KB of heap and stack for each connection, both ends", each/1024)
	if each > 200<<10 {
		t.Errorf("%d bytes for each connection", each)
	}
	for _, conn := range conns {
		if tc, ok := conn.(*tls.Conn); ok {
			conn = tc.NetConn()
		}
		_ = conn.Close()
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // empties the pools too
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestServerIdleSessions: ten thousand links that agreed on the version and then say nothing.
func TestServerIdleSessions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const n = 10000
		s, err := NewServer(ServerConfig{Certificate: testCertificate(t), Handler: &recorder{}})
		if err != nil {
			t.Fatal(err)
		}
		before := heap()
		var wg sync.WaitGroup
		peers := make([]net.Conn, n)
		for i := range peers {
			ours, theirs := net.Pipe()
			peers[i] = theirs
			wg.Go(func() { newSession(s, ours).run(context.Background(), time.Now().Add(time.Minute)) })
			if err := agreeVersion(theirs); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		each := (int64(heap()) - int64(before)) / n
		t.Logf("%d bytes of heap and stack for each session, the pipe included, TLS not", each)
		if each > 32<<10 {
			t.Errorf("%d bytes for each session", each)
		}
		for _, p := range peers {
			_ = p.Close()
		}
		wg.Wait()
	})
}

// TestServerShutdown: what was handed over is acknowledged before Serve returns, over TLS, and the link ends in order.
func TestServerShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		rec := newRecorder()
		to, stop := n.serve(t, "a", ServerConfig{Handler: rec})
		client := n.client(ClientConfig{})
		var o outcomes
		sent := make(chan error)
		go func() { sent <- client.Send(context.Background(), to, o.items(fill(1), fill(2))) }()
		first, second := <-rec.arrivals, <-rec.arrivals
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		synctest.Wait()
		first.ack(true)
		second.ack(false)
		if err := <-sent; err != nil || len(o.errs) != 2 || o.errs[0] != nil || !errors.Is(o.errs[1], ErrRejected) {
			t.Errorf("error %v, outcomes %v", err, o.errs)
		}
		<-stopped
		client.Close()
	})
}

// TestServerSaysGoodbye: a link that the server ends for its age ends with close_notify, also when the client is sending.
func TestServerSaysGoodbye(t *testing.T) {
	to := startServer(t, ServerConfig{Handler: &recorder{}, MaxLinkAge: time.Nanosecond})
	conn, err := tls.Dial("tcp", address(to), clientTLS(fixedClock, expectKeyID(to.KeyID)))
	if err != nil {
		t.Fatal(err)
	}
	if err := agreeVersion(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(frame(fill(1), false)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); len(rest) != 0 || err != nil {
		t.Errorf("read %d bytes, %v", len(rest), err)
	}
	_ = conn.Close()
}

// brokenListener fails a few times before it works.
type brokenListener struct {
	*pipeListener
	failures int
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.pipeListener.Accept()
}

func TestServerAcceptErrors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		l := &brokenListener{n.listen("a:1"), 10}
		other := n.listen("b:1")
		var log lockedBuffer
		s, err := NewServer(ServerConfig{Certificate: testCertificate(t), Handler: newRecorder(),
			Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error)
		go func() { served <- s.Serve(context.Background(), l, other) }()
		start := time.Now()
		conn, err := n.Dial(context.Background(), "tcp", "a:1")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < time.Second || took > 10*time.Second {
			t.Errorf("recovered after %v", took)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d log lines", n)
		}
		_ = conn.Close()
		_ = l.Close() // not by Serve
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
