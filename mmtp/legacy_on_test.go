//go:build legacytls

package mmtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/internal/crypt"
	"mixminion/internal/legacytls"
	"mixminion/packet"
)

func legacyIdentity(t testing.TB, now func() time.Time) *LegacyIdentity {
	t.Helper()
	l, err := NewLegacyIdentity(testKeys()[0], "alice", now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// oldServer is a server without TLS 1.3: an MMTP server over legacy links alone. It tells how many connections it had.
type oldServer struct {
	hop   packet.Hop
	tried atomic.Int32
}

// oldPeer runs serve on each legacy link.
func oldPeer(t testing.TB, serve func(net.Conn)) *oldServer {
	t.Helper()
	id, err := newLegacyChain(testKeys()[0], "alice", testNow)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	s := &oldServer{hop: hopTo(t, l.Addr())}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			s.tried.Add(1)
			wg.Go(func() {
				defer func() { _ = raw.Close() }()
				conn, err := legacytls.Server(context.Background(), raw, id)
				if err != nil {
					return
				}
				serve(conn)
				_ = conn.CloseWrite() // the client may be gone
				_, _ = io.Copy(io.Discard, raw)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return s
}

func always(packet.Hop) bool { return true }

// A node of series 0.0.8 is sent at most six packets that it has not answered.
func TestLegacyWindow(t *testing.T) {
	const count = 20
	var mu sync.Mutex
	most, unanswered := 0, 0
	server := oldPeer(t, func(conn net.Conn) {
		line := make([]byte, len(versionLine))
		if _, err := io.ReadFull(conn, line); err != nil {
			return
		}
		if _, err := io.WriteString(conn, versionLine); err != nil {
			return
		}
		var queue []digests
		f := make([]byte, frameLen)
		for range count {
			if _, err := io.ReadFull(conn, f); err != nil {
				return
			}
			queue = append(queue, digestsOf((*packet.Packet)(f[cmdLen:cmdLen+packet.Size]), string(f[:cmdLen]) == cmdJunk))
			mu.Lock()
			unanswered = len(queue)
			most = max(most, unanswered)
			mu.Unlock()
			if len(queue) < legacyWindow && count-len(queue) >= legacyWindow {
				continue // all that may come without an answer
			}
			a := makeAnswer(received, queue[0].received)
			queue = queue[1:]
			if _, err := conn.Write(a[:]); err != nil {
				return
			}
		}
		for _, d := range queue {
			a := makeAnswer(received, d.received)
			if _, err := conn.Write(a[:]); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, conn)
	})
	c := newTestClient(t, ClientConfig{Legacy: always})
	var got outcomes
	var list []Item
	for i := range count {
		list = append(list, got.item(fill(byte(i)), i%3 == 0))
	}
	if err := c.Send(context.Background(), server.hop, slices.Values(list)); err != nil || !got.allNil() || len(got.errs) != count {
		t.Errorf("%v, %v", err, got.errs)
	}
	if most != legacyWindow {
		t.Errorf("%d packets were unanswered, not %d", most, legacyWindow)
	}
	// This server answers in time for more than six never to be there.
	l, err := c.connect(context.Background(), server.hop, expectKeyID(server.hop.KeyID))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if l.window != legacyWindow {
		t.Errorf("the link is for %d unanswered packets", l.window)
	}
}

func TestLegacyBothEnds(t *testing.T) {
	h := newRecorder()
	to := startServer(t, ServerConfig{Handler: h, Legacy: legacyIdentity(t, fixedClock)})
	for name, modern := range map[string]bool{"legacy": false, "TLS 1.3": true} {
		t.Run(name, func(t *testing.T) {
			c := newTestClient(t, ClientConfig{})
			if !modern {
				c = newTestClient(t, ClientConfig{Legacy: always, Dial: onlyLegacy(t)})
			}
			var got outcomes
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() {
				for range 2 {
					select {
					case a := <-h.arrivals:
						a.ack(true)
					case <-ctx.Done():
						return
					}
				}
			})
			if err := c.Send(ctx, to, slices.Values([]Item{got.item(fill(1), false), got.item(fill(2), true)})); err != nil || !got.allNil() {
				t.Errorf("%v, %v", err, got.errs)
			}
			cancel()
			wg.Wait()
		})
	}
}

// onlyLegacy dials so that each first attempt at a link fails in its handshake, as if the server did not know TLS 1.3.
func onlyLegacy(t testing.TB) func(context.Context, string, string) (net.Conn, error) {
	var n atomic.Int32
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if n.Add(1)%2 == 1 {
			ours, theirs := net.Pipe()
			_ = theirs.Close()
			return ours, nil
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

func TestLegacyFallback(t *testing.T) {
	server := oldPeer(t, func(conn net.Conn) {
		line, err := readLine(conn)
		if err == nil && line+"\r\n" == versionLine {
			_, _ = io.WriteString(conn, versionLine)
			_, _ = io.Copy(io.Discard, conn)
		}
	})
	if _, err := newTestClient(t, ClientConfig{}).Probe(context.Background(), server.hop); err == nil {
		t.Error("a legacy link though none was allowed")
	}
	if n := server.tried.Load(); n != 1 {
		t.Errorf("%d connections without the permission to fall back", n)
	}
	refuse := func(packet.Hop) bool { return false }
	if _, err := newTestClient(t, ClientConfig{Legacy: refuse}).Probe(context.Background(), server.hop); err == nil {
		t.Error("a legacy link to a server that speaks TLS 1.3")
	}
	if n := server.tried.Load(); n != 2 {
		t.Errorf("%d connections with a server that speaks TLS 1.3", n-1)
	}
	c := newTestClient(t, ClientConfig{Legacy: always})
	if id, err := c.Probe(context.Background(), server.hop); err != nil || id != server.hop.KeyID {
		t.Errorf("%v, %v", id, err)
	}
	wrong := server.hop
	wrong.KeyID[0] ^= 1
	if _, err := c.Probe(context.Background(), wrong); !errors.Is(err, ErrKeyID) {
		t.Errorf("another identity: %v", err)
	}
	late := newTestClient(t, ClientConfig{Legacy: always, Now: func() time.Time { return testNow.Add(27 * time.Hour) }})
	if _, err := late.Probe(context.Background(), server.hop); !errors.Is(err, ErrCertificate) {
		t.Errorf("an expired certificate: %v", err)
	}
}

// A server that speaks TLS 1.3, but is not the right one, gets no second chance; nor does one that shows the right chain and does not have
// its key.
func TestNoFallbackAfterAChain(t *testing.T) {
	copied, err := NewLinkCertificate(testKeys()[0], "alice", testNow)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewLinkCertificate(testKeys()[0], "alice", testNow)
	if err != nil {
		t.Fatal(err)
	}
	copied.PrivateKey, copied.Leaf = other.PrivateKey, other.Leaf
	for name, c := range map[string]struct {
		certificate func() (*tls.Certificate, error)
		change      byte // in the keyid that is asked for
		want        error
	}{
		"another keyid": {nil, 1, ErrKeyID},
		"a copy":        {func() (*tls.Certificate, error) { return &copied, nil }, 0, errAfterChain},
	} {
		t.Run(name, func(t *testing.T) {
			to := startServer(t, ServerConfig{Certificate: c.certificate, Handler: newRecorder(), Legacy: legacyIdentity(t, fixedClock)})
			to.KeyID[0] ^= c.change
			var dialed atomic.Int32
			client := newTestClient(t, ClientConfig{Legacy: always, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialed.Add(1)
				return new(net.Dialer).DialContext(ctx, network, address)
			}})
			if _, err := client.Probe(context.Background(), to); !errors.Is(err, c.want) || dialed.Load() != 1 {
				t.Errorf("%v after %d connections", err, dialed.Load())
			}
		})
	}
}

func dialLegacy(t testing.TB, to packet.Hop, now func() time.Time, approve func([]*x509.Certificate) error) (legacytls.Conn, error) {
	t.Helper()
	raw, err := net.Dial("tcp", address(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	return legacytls.Client(t.Context(), raw, now, approve)
}

// The certificates change daily, their keys with them; links that are open go on.
func TestLegacyCertificatesChange(t *testing.T) {
	clk := newClock()
	to := startServer(t, ServerConfig{Handler: &recorder{}, Legacy: legacyIdentity(t, clk.Now)})
	var seen [][]byte
	look := func() legacytls.Conn {
		conn, err := dialLegacy(t, to, clk.Now, func(chain []*x509.Certificate) error {
			id, err := checkLegacyChain(chain, clk.Now())
			if err == nil && id != to.KeyID {
				err = ErrKeyID
			}
			seen = append(seen, chain[0].RawSubjectPublicKeyInfo)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first := look()
	look()
	clk.Add(23 * time.Hour)
	look()
	clk.Add(2 * time.Hour)
	look()
	if !bytes.Equal(seen[0], seen[1]) || !bytes.Equal(seen[0], seen[2]) || bytes.Equal(seen[0], seen[3]) {
		t.Error("the key does not change once a day")
	}
	if err := agreeVersion(first); err != nil {
		t.Errorf("the first link: %v", err)
	}
}

// Without Legacy a server takes TLS 1.3 only, and with it no less from those who offer it.
func TestLegacyServerIsOff(t *testing.T) {
	to := startServer(t, ServerConfig{Handler: &recorder{}})
	if _, err := dialLegacy(t, to, fixedClock, func([]*x509.Certificate) error { return nil }); err == nil {
		t.Error("a legacy link")
	}
	to = startServer(t, ServerConfig{Handler: &recorder{}, Legacy: legacyIdentity(t, fixedClock)})
	conn, err := tls.Dial("tcp", address(to), clientTLS(fixedClock, expectKeyID(to.KeyID)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if v := conn.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("version %x", v)
	}
}

// A server answers close_notify and says nothing before; a packet together with the version line is an error; a silent client is
// dropped.
func TestLegacyServerHabits(t *testing.T) {
	identity := legacyIdentity(t, fixedClock)
	open := func(limits Limits) legacytls.Conn {
		to := startServer(t, ServerConfig{Handler: &recorder{}, Legacy: identity, Limits: limits})
		conn, err := dialLegacy(t, to, fixedClock, func([]*x509.Certificate) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	t.Run("close_notify", func(t *testing.T) {
		conn := open(Limits{})
		if err := agreeVersion(conn); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(frame(fill(1), false)); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		want := makeAnswer(received, digestsOf(fill(1), false).received)
		if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, want[:]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("early packet", func(t *testing.T) {
		conn := open(Limits{})
		// One record holds the end of the line and what may not be there yet.
		if _, err := io.WriteString(conn, versionLine+"SEND\r\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		conn := open(Limits{IdleTimeout: 100 * time.Millisecond})
		if err := agreeVersion(conn); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A client says close_notify when it is done, and waits for the server's.
func TestLegacyClientParts(t *testing.T) {
	ended := make(chan error, 1)
	server := oldPeer(t, func(conn net.Conn) {
		if line, err := readLine(conn); err != nil || line+"\r\n" != versionLine {
			return
		}
		if _, err := io.WriteString(conn, versionLine); err != nil {
			return
		}
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	})
	c := NewClient(ClientConfig{Now: fixedClock, Legacy: always})
	if _, err := c.Probe(context.Background(), server.hop); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the server saw %v instead of close_notify", err)
	}
	c.Close()
}

// The recorded first message of a node of series 0.0.8 gets an answer of TLS 1.0.
func TestLegacyServerAnswersARecordedHello(t *testing.T) {
	to := startServer(t, ServerConfig{Handler: &recorder{}, Legacy: legacyIdentity(t, fixedClock)})
	conn, err := net.Dial("tcp", address(to))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(oldHello(t)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 11)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != 22 || !bytes.Equal(answer[9:], []byte{3, 1}) {
		t.Errorf("%x, %v", answer, err)
	}
}

// The limits of a server hold for legacy links too.
func TestLegacyLimits(t *testing.T) {
	identity, approve := legacyIdentity(t, fixedClock), func([]*x509.Certificate) error { return nil }
	t.Run("connections", func(t *testing.T) {
		to := startServerFrom(t, "192.0.2.1:1234", ServerConfig{
			Handler: &recorder{}, Legacy: identity, Limits: Limits{MaxPerSource: 1},
		})
		conn, err := dialLegacy(t, to, fixedClock, approve)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := dialLegacy(t, to, fixedClock, approve); err == nil {
			t.Error("a connection over the limit was served")
		}
	})
	t.Run("handshake", func(t *testing.T) {
		// A busy machine may need more than the first of these for TLS alone.
		for limit := 200 * time.Millisecond; ; limit *= 4 {
			to := startServer(t, ServerConfig{Handler: &recorder{}, Legacy: identity, Limits: Limits{HandshakeTimeout: limit}})
			conn, err := dialLegacy(t, to, fixedClock, approve)
			if err != nil && limit < 10*time.Second {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			// The version exchange is part of the handshake.
			if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the end: %v", err)
			}
			return
		}
	})
	t.Run("greeting", func(t *testing.T) {
		to := startServer(t, ServerConfig{Handler: &recorder{}, Legacy: identity})
		conn, err := net.Dial("tcp", address(to))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		endless := append([]byte{22, 3, 1, 0x10, 0, 1, 0, 0x3f, 0xff}, make([]byte, 0x1000-4)...)
		for err == nil {
			_, err = conn.Write(endless)
		}
	})
	t.Run("bandwidth", func(t *testing.T) {
		var b Bandwidth
		const most = 1 << 20
		b.Set(1, most)
		to := startServer(t, ServerConfig{Handler: &recorder{}, Legacy: identity, Bandwidth: &b})
		conn, err := dialLegacy(t, to, fixedClock, approve)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if paid := most - b.limiter.Load().Tokens(); paid < 1000 {
			t.Errorf("the handshake cost %v bytes", paid)
		}
	})
}

func TestLegacyKeyIsItsOwn(t *testing.T) {
	l := legacyIdentity(t, fixedClock)
	id, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range testKeys() {
		if id.Key.Equal(key) {
			t.Error("the key of legacy links is in use for something else")
		}
	}
	if crypt.NewKeyID(&id.Key.PublicKey) == crypt.NewKeyID(&testKeys()[0].PublicKey) {
		t.Error("0.0.8 would take this for an old server")
	}
}
