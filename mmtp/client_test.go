package mmtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// pipeNet is a network of pipes on which servers listen, for tests in synctest bubbles.
type pipeNet struct {
	mu    sync.Mutex
	ports map[string]*pipeListener
	dials int
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (n *pipeNet) listen(addr string) *pipeListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports == nil {
		n.ports = make(map[string]*pipeListener)
	}
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.ports[addr] = l
	return l
}

func (n *pipeNet) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	l := n.ports[addr]
	n.mu.Unlock()
	if network != "tcp" || l == nil {
		return nil, fmt.Errorf("dial %s %s: nobody listens", network, addr)
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *pipeNet) dialed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// serve runs a server on the network; the function returned stops it.
func (n *pipeNet) serve(t *testing.T, host string, cfg ServerConfig) (packet.Hop, func()) {
	t.Helper()
	to := packet.Hop{Host: host, Port: 48099, KeyID: crypt.NewKeyID(&testKeys()[0].PublicKey)}
	identity, err := NewLinkIdentity(testKeys()[0], "alice", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificate = identity.Certificate
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := n.listen(address(to))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	return to, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// fake runs, for each connection to host, a scripted server in place of ours: TLS and versions are done when script is called.
func (n *pipeNet) fake(t *testing.T, host string, script func(net.Conn)) (packet.Hop, func()) {
	t.Helper()
	cert, err := NewLinkCertificate(testKeys()[0], "alice", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	to := packet.Hop{Host: host, Port: 48099, KeyID: crypt.NewKeyID(&testKeys()[0].PublicKey)}
	l := n.listen(address(to))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}})
				defer func() { _ = conn.Close() }()
				if _, err := readLine(conn); err != nil {
					return
				}
				if _, err := io.WriteString(conn, versionLine); err != nil {
					return
				}
				script(conn)
			})
		}
	})
	return to, func() {
		_ = l.Close()
		wg.Wait()
	}
}

// readFrame is for scripts: it reads one packet and returns it, nil if the link ended.
func readFrame(conn net.Conn) *packet.Packet {
	f := make([]byte, frameLen)
	if _, err := io.ReadFull(conn, f); err != nil {
		return nil
	}
	return (*packet.Packet)(f[cmdLen:])
}

func (n *pipeNet) client(cfg ClientConfig) *Client {
	cfg.Dial = n.Dial
	return NewClient(cfg)
}

func sendOne(c *Client, to packet.Hop) error {
	return c.Send(context.Background(), to, slices.Values([]Item{{Packet: fill(1)}}))
}

// TestClientBytes is the protocol, byte for byte, from the client's side.
func TestClientBytes(t *testing.T) {
	ours, theirs := net.Pipe()
	p := fill(9)
	want := "SEND\r\n" + string(p[:]) + sum(p, "SEND") + "JUNK\r\n" + string(p[:]) + sum(p, "JUNK") + "SEND\r\n" + string(p[:]) + sum(p, "SEND")
	served := make(chan error, 1)
	go func() {
		served <- func() error {
			line := make([]byte, len("MMTP 0.3\r\n"))
			if _, err := io.ReadFull(theirs, line); err != nil || string(line) != "MMTP 0.3\r\n" {
				return fmt.Errorf("version line %q, %v", line, err)
			}
			if _, err := io.WriteString(theirs, "MMTP 0.3\r\n"); err != nil {
				return err
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(theirs, got); err != nil || string(got) != want {
				return fmt.Errorf("the client sent something else; %v", err)
			}
			_, err := io.WriteString(theirs, "RECEIVED\r\n"+sum(p, "RECEIVED")+"RECEIVED\r\n"+sum(p, "RECEIVED JUNK")+
				"REJECTED\r\n"+sum(p, "REJECTED"))
			return err
		}()
	}()
	if err := agreeVersion(ours); err != nil {
		t.Fatal(err)
	}
	l := newLink(ours, testNow, 16, time.Minute)
	for _, junk := range []bool{false, true, false} {
		if err := l.write(p, junk); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []bool{true, true, false} {
		if got := <-l.results; got != want {
			t.Errorf("result %d: %v", i, got)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	l.close()
}

func TestClientVersions(t *testing.T) {
	for answer, want := range map[string]error{
		"MMTP 0.3\r\n":         nil,
		"MMTP 0.4\r\n":         ErrVersion,
		"MMTP 0.3,0.4\r\n":     ErrVersion,
		"MMTP 0.3\n":           ErrProtocol,
		"RECEIVED\r\n":         ErrProtocol,
		"MMTP 0.3\r\nRECEIVED": ErrProtocol,
		"MMTP 0.3":             io.ErrUnexpectedEOF,
		"":                     io.ErrUnexpectedEOF,
		string(bytes.Repeat([]byte{'x'}, 2*maxLine)): ErrProtocol,
	} {
		err := agreeVersion(struct {
			io.Reader
			io.Writer
		}{bytes.NewBufferString(answer), io.Discard})
		if !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", answer, err, want)
		}
	}
}

// TestClientHostileServer: whatever the server does, every item that was taken has exactly one outcome, in order, and Send says why.
func TestClientHostileServer(t *testing.T) {
	answer := func(line, suffix string) func(conn net.Conn) {
		return func(conn net.Conn) {
			if p := readFrame(conn); p != nil {
				_, _ = io.WriteString(conn, line+sum(p, suffix))
				readFrame(conn)
			}
		}
	}
	for _, c := range []struct {
		name   string
		script func(net.Conn)
		want   error
		good   int // items with outcome nil
	}{
		{"wrong digest", answer(received, "SEND"), ErrProtocol, 0},
		{"rejection with the digest of an acceptance", answer(rejected, "RECEIVED"), ErrProtocol, 0},
		{"acceptance with the digest of junk", answer(received, "RECEIVED JUNK"), ErrProtocol, 0},
		{"garbage", answer("WHATEVER\r\n", "RECEIVED"), ErrProtocol, 0},
		{"half an answer", func(conn net.Conn) {
			readFrame(conn)
			_, _ = io.WriteString(conn, received)
		}, io.ErrUnexpectedEOF, 0},
		{"closes at once", func(net.Conn) {}, nil, 0},
		{"closes after one answer", func(conn net.Conn) {
			p := readFrame(conn)
			_, _ = io.WriteString(conn, received+sum(p, "RECEIVED"))
			readFrame(conn)
		}, io.EOF, 1},
		{"out of order", func(conn net.Conn) {
			readFrame(conn)
			p := readFrame(conn)
			_, _ = io.WriteString(conn, received+sum(p, "RECEIVED"))
		}, ErrProtocol, 0},
		{"answers twice", func(conn net.Conn) {
			p := readFrame(conn)
			a := received + sum(p, "RECEIVED")
			_, _ = io.WriteString(conn, a+a)
			readFrame(conn)
		}, ErrProtocol, 1},
		{"answers before it was asked", func(conn net.Conn) {
			_, _ = io.WriteString(conn, received+sum(fill(0), "RECEIVED"))
		}, ErrProtocol, 0},
		{"says nothing", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, os.ErrDeadlineExceeded, 0},
		{"reads nothing", func(conn net.Conn) { time.Sleep(time.Hour) }, os.ErrDeadlineExceeded, 0},
		{"trickles", func(conn net.Conn) {
			p := readFrame(conn)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for _, b := range []byte(received + sum(p, "RECEIVED")) {
				time.Sleep(10 * time.Second)
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
			}
		}, os.ErrDeadlineExceeded, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := new(pipeNet)
				to, stop := n.fake(t, "evil.example.org", c.script)
				client := n.client(ClientConfig{})
				var o outcomes
				err := client.Send(context.Background(), to, o.items(fill(1), fill(2), fill(3), fill(4)))
				client.Close()
				stop()
				if err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if len(o.errs) < c.good+1 {
					t.Fatalf("%d outcomes", len(o.errs))
				}
				for i, itemErr := range o.errs {
					if (itemErr == nil) != (i < c.good) || itemErr != nil && !errors.Is(err, itemErr) {
						t.Errorf("item %d: %v", i, itemErr)
					}
				}
			})
		})
	}
}

func TestClientRejectedJunk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.fake(t, "evil.example.org", func(conn net.Conn) {
			p := readFrame(conn)
			_, _ = io.WriteString(conn, rejected+sum(p, "REJECTED"))
			readFrame(conn)
		})
		client := n.client(ClientConfig{})
		var o outcomes
		err := client.Send(context.Background(), to, slices.Values([]Item{o.item(fill(1), true)}))
		client.Close()
		stop()
		if !errors.Is(err, ErrProtocol) || len(o.errs) != 1 || !errors.Is(o.errs[0], ErrProtocol) {
			t.Errorf("error %v, outcomes %v", err, o.errs)
		}
	})
}

// TestClientWindow: the iterator is asked for no more than may be unanswered.
func TestClientWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		rec := newRecorder()
		to, stop := n.serve(t, "a", ServerConfig{Handler: rec})
		client := n.client(ClientConfig{Window: 6})
		taken, done := 0, 0
		sent := make(chan error)
		go func() {
			sent <- client.Send(context.Background(), to, func(yield func(Item) bool) {
				for taken < 20 {
					taken++
					if !yield(Item{Packet: fill(byte(taken)), Done: func(error) { done++ }}) {
						return
					}
				}
			})
		}()
		for i := range 20 {
			synctest.Wait()
			// One more than the window is taken: it waits in the loop for an answer.
			if want := min(20, i+7); taken != want || done != i {
				t.Errorf("after %d answers: %d items taken, %d done", i, taken, done)
			}
			(<-rec.arrivals).ack(true)
		}
		if err := <-sent; err != nil || done != 20 {
			t.Errorf("%d done, %v", done, err)
		}
		client.Close()
		stop()
	})
}

func TestClientReusesLink(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		for _, step := range []struct {
			wait  time.Duration
			dials int
		}{
			{0, 1}, {time.Minute, 1}, {119 * time.Second, 1}, {121 * time.Second, 2}, // idle for too long
			{100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 2},
			{100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 3}, // used for too long
		} {
			time.Sleep(step.wait)
			if err := sendOne(client, to); err != nil {
				t.Fatal(err)
			}
			if d := n.dialed(); d != step.dials {
				t.Fatalf("%d connections made, want %d", d, step.dials)
			}
		}
		client.Close()
		if err := sendOne(client, to); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := client.Probe(context.Background(), to); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		stop()
	})
}

// TestClientLongBatch: a batch that takes longer than a link may live goes on over new links.
func TestClientLongBatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		var o outcomes
		err := client.Send(context.Background(), to, func(yield func(Item) bool) {
			for i := range 40 {
				time.Sleep(time.Minute)
				if !yield(o.item(fill(byte(i)), false)) {
					return
				}
			}
		})
		if err != nil || len(o.errs) != 40 || !o.allNil() {
			t.Errorf("%d outcomes, %v", len(o.errs), err)
		}
		if d := n.dialed(); d != 3 {
			t.Errorf("%d connections made", d)
		}
		client.Close()
		stop()
	})
}

// TestClientStaleLink: the server goes away while the link is idle and comes back.
func TestClientStaleLink(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		if err := sendOne(client, to); err != nil {
			t.Fatal(err)
		}
		stop()
		synctest.Wait()
		if err := sendOne(client, to); err == nil {
			t.Error("sent to nobody")
		}
		_, stop = n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		if err := sendOne(client, to); err != nil {
			t.Error(err)
		}
		client.Close()
		stop()
	})
}

// TestClientStaleLinkNoticedLate: the server ends an idle link just when it is used again.
func TestClientStaleLinkNoticedLate(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails int // links that end in this way
		dials int
		ok    bool
	}{{"once", 1, 2, true}, {"twice", 2, 2, false}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := new(pipeNet)
				links := 0
				to, stop := n.fake(t, "a", func(conn net.Conn) {
					links++
					answers := 100
					if links == 1 {
						answers = 1
					} else if links <= c.fails {
						answers = 0
					}
					for ; answers > 0; answers-- {
						p := readFrame(conn)
						if p == nil {
							return
						}
						_, _ = io.WriteString(conn, received+sum(p, "RECEIVED"))
					}
					readFrame(conn) // and closes without an answer
				})
				client := n.client(ClientConfig{})
				if err := sendOne(client, to); err != nil {
					t.Fatal(err)
				}
				var o outcomes
				err := client.Send(context.Background(), to, o.items(fill(1), fill(2), fill(3)))
				if (err == nil) != c.ok {
					t.Error(err)
				}
				if c.ok && (len(o.errs) != 3 || !o.allNil()) {
					t.Errorf("outcomes %v", o.errs)
				}
				if d := n.dialed(); d != c.dials {
					t.Errorf("%d connections made", d)
				}
				client.Close()
				stop()
			})
		})
	}
}

func TestClientCannotConnect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		client := n.client(ClientConfig{})
		taken := false
		items := iter.Seq[Item](func(func(Item) bool) { taken = true })
		nobody := packet.Hop{Host: "nobody.example.org", Port: 1}
		if err := client.Send(context.Background(), nobody, items); err == nil || taken {
			t.Errorf("error %v, items taken: %v", err, taken)
		}
		to, stop := n.fake(t, "a", func(net.Conn) {})
		silent := n.listen("silent.example.org:1")
		go func() {
			conn := <-silent.conns
			_, _ = io.Copy(io.Discard, conn)
		}()
		start := time.Now()
		err := client.Send(context.Background(), packet.Hop{Host: "silent.example.org", Port: 1}, items)
		if !errors.Is(err, context.DeadlineExceeded) || taken || time.Since(start) != time.Minute {
			t.Errorf("error %v after %v, items taken: %v", err, time.Since(start), taken)
		}
		to.KeyID[0] ^= 1
		if err := client.Send(context.Background(), to, items); !errors.Is(err, ErrKeyID) || taken {
			t.Errorf("error %v, items taken: %v", err, taken)
		}
		if len(client.peers) != 0 || client.open != 0 {
			t.Errorf("%d peers, %d links left over", len(client.peers), client.open)
		}
		client.Close()
		stop()
	})
}

func TestClientContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		rec := newRecorder()
		to, stop := n.serve(t, "a", ServerConfig{Handler: rec})
		client := n.client(ClientConfig{})
		ctx, cancel := context.WithCancel(context.Background())
		var o outcomes
		sent := make(chan error)
		go func() { sent <- client.Send(ctx, to, o.items(fill(1), fill(2))) }()
		(<-rec.arrivals).ack(true)
		synctest.Wait()
		waiting := make(chan error)
		go func() { waiting <- client.Send(ctx, to, o.items(fill(3))) }()
		synctest.Wait()
		cancel()
		if err := <-sent; !errors.Is(err, context.Canceled) {
			t.Errorf("Send: %v", err)
		}
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting Send: %v", err)
		}
		if len(o.errs) != 2 || o.errs[0] != nil || !errors.Is(o.errs[1], context.Canceled) {
			t.Errorf("outcomes %v", o.errs)
		}
		(<-rec.arrivals).ack(true)
		client.Close()
		stop()
	})
}

// TestClientMaxConnections: the place of the link that is idle for longest goes to a new one; without an idle link calls wait.
func TestClientMaxConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		rec := newRecorder()
		var hops []packet.Hop
		var stops []func()
		for _, host := range []string{"a", "b", "c", "d"} {
			to, stop := n.serve(t, host, ServerConfig{Handler: rec})
			hops, stops = append(hops, to), append(stops, stop)
		}
		client := n.client(ClientConfig{MaxConnections: 2})
		send := func(i int) chan error {
			sent := make(chan error, 1)
			go func() { sent <- sendOne(client, hops[i]) }()
			synctest.Wait()
			return sent
		}
		finish := func(sent chan error) {
			t.Helper()
			(<-rec.arrivals).ack(true)
			if err := <-sent; err != nil {
				t.Error(err)
			}
		}
		finish(send(0))
		finish(send(1))
		finish(send(0))
		finish(send(2)) // takes the place of b
		finish(send(0))
		if d := n.dialed(); d != 3 {
			t.Errorf("%d connections made, want 3", d)
		}
		a, c := send(0), send(2)
		d := send(3) // no place
		ctx, cancel := context.WithCancel(context.Background())
		b := make(chan error, 1)
		go func() { b <- client.Send(ctx, hops[1], slices.Values([]Item(nil))) }()
		synctest.Wait()
		if n := n.dialed(); n != 3 {
			t.Errorf("%d connections made, want 3", n)
		}
		cancel()
		if err := <-b; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		finish(a)
		synctest.Wait()
		finish(c)
		finish(d)
		if client.open != 2 || len(client.waiting) != 0 {
			t.Errorf("%d links, %d calls waiting", client.open, len(client.waiting))
		}
		client.Close()
		if client.open != 0 || len(client.peers) != 0 {
			t.Errorf("%d links, %d peers left over", client.open, len(client.peers))
		}
		for _, stop := range stops {
			stop()
		}
	})
}

func TestClientSerialises(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				var o outcomes
				if err := client.Send(context.Background(), to, o.items(fill(1), fill(2))); err != nil || len(o.errs) != 2 || !o.allNil() {
					t.Errorf("error %v, outcomes %v", err, o.errs)
				}
			})
		}
		wg.Wait()
		if d := n.dialed(); d != 1 {
			t.Errorf("%d connections made", d)
		}
		client.Close()
		stop()
	})
}

func TestClientItemWithoutPacket(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		var o outcomes
		err := client.Send(context.Background(), to, slices.Values([]Item{o.item(fill(1), false), o.item(nil, true)}))
		if err == nil || len(o.errs) != 2 || o.errs[1] == nil {
			t.Errorf("error %v, outcomes %v", err, o.errs)
		}
		client.Close()
		stop()
	})
}

// TestClientPanic: a panic in the caller's iterator leaves no link behind.
func TestClientPanic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = client.Send(context.Background(), to, func(func(Item) bool) { panic("test") })
		}()
		if client.open != 0 {
			t.Errorf("%d links left over", client.open)
		}
		client.Close()
		stop()
	})
}
