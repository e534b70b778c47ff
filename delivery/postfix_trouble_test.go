package delivery_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/internal/testnet/postfix"
)

// startGreylist starts a policy server for Postfix that puts each recipient off once. It returns its port.
func startGreylist(t *testing.T) (port string) {
	t.Helper()
	var mu sync.Mutex
	known := map[string]bool{}
	ln := listenWith(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for recipient := ""; ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name == "recipient" {
				recipient = value
			}
			if line != "\n" {
				continue
			}
			mu.Lock()
			action := "defer_if_permit greylisted"
			if known[recipient] {
				action = "dunno"
			}
			known[recipient] = true
			mu.Unlock()
			_, _ = fmt.Fprintf(c, "action=%s\n\n", action)
		}
	})
	_, port, _ = net.SplitHostPort(ln)
	return port
}

// listenWith serves connections on loopback until the test ends, and returns the address.
func listenWith(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() {
				defer func() { _ = c.Close() }()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln.Addr().String()
}

// A proxy stands between the exit and Postfix. Its hooks get what goes either way and return what is passed on; false ends the connection.
type proxy struct {
	up, down func(p []byte) ([]byte, bool)
}

// startProxy starts a proxy; each connection has one of its own.
func startProxy(t *testing.T, to string, make func() proxy) (addr string) {
	t.Helper()
	return listenWith(t, func(client net.Conn) {
		server, err := new(net.Dialer).DialContext(t.Context(), "tcp", to)
		if err != nil {
			return
		}
		p := make()
		var both sync.WaitGroup
		pass := func(to, from net.Conn, hook func([]byte) ([]byte, bool)) {
			defer func() { _, _ = to.Close(), from.Close() }()
			buf := [4096]byte{}
			for {
				n, err := from.Read(buf[:])
				out, ok := buf[:n], true
				if hook != nil {
					out, ok = hook(out)
				}
				if _, werr := to.Write(out); err != nil || werr != nil || !ok {
					return
				}
			}
		}
		both.Go(func() { pass(server, client, p.up) })
		both.Go(func() { pass(client, server, p.down) })
		both.Wait()
	})
}

// numbered gives an item another name, so that its mail can be told from those of other tests.
func numbered(it delivery.Item, n byte) delivery.Item {
	it.Nonce[0] = n
	return it
}

// withID picks the mails with the Message-ID of an item.
func withID(t *testing.T, mails []string, it delivery.Item) (found []string) {
	t.Helper()
	for _, m := range mails {
		if messageID(t, m) == fmt.Sprintf("<%x@exit.example.org>", it.Nonce) {
			found = append(found, m)
		}
	}
	return found
}

// ours is a mail without the lines that Postfix put in front of it.
func ours(mail string) string {
	i := strings.Index(mail, "\nTo: ")
	return mail[i+1:]
}

// Of one mail's recipients one is taken, one unknown, one put off, one greylisted: each gets it once at most.
func testRecipientsOfPostfix(t *testing.T, server *postfixServer) {
	cfg := config(server.Addr)
	cfg.MaximumRecipients = 8
	x := newSMTP(t, cfg)
	it := numbered(item(t, 1, strings.Join([]string{
		"carol@example.com", "grey@example.com", "later@example.com", "nobody-here@example.com",
	}, "\x00"), "\nfor some\n"), 2)
	var settled uint8
	it.Settle = func(served uint8) { settled = served }
	for _, want := range []delivery.Outcome{
		{Status: delivery.Retry, Reason: delivery.Deferred, Served: 0b1001},
		{Status: delivery.Retry, Reason: delivery.Deferred, Served: 0b1011},
		{Status: delivery.Retry, Reason: delivery.Deferred, Served: 0b1011},
	} {
		got, err := deliver(t.Context(), t, x, []delivery.Item{it})
		if err != nil {
			t.Fatal(err)
		}
		wantOutcomes(t, got, want)
		it.Served = got[0].Served
		if settled == 0 {
			t.Error("the refusal of one recipient was not told at once")
		}
	}
	carol, grey := withID(t, server.mails(t, "carol", 1), it), withID(t, server.mails(t, "grey", 1), it)
	if len(carol) != 1 || len(grey) != 1 || ours(carol[0]) != ours(grey[0]) {
		t.Errorf("carol has\n%q\nand grey\n%q", carol, grey)
	}
}

// Postfix's refusal to relay is no reason to lose anything.
func testRelayingOfPostfix(t *testing.T, server *postfixServer) {
	items := batch(t, "somebody@elsewhere.example", "bob@example.com", "somebody@elsewhere.example")
	for i := range items {
		items[i] = numbered(items[i], 3)
	}
	got, err := deliver(t.Context(), t, newSMTP(t, config(server.Addr)), items)
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, unavailable, ok, unavailable)
}

// The connection breaks after Postfix has the mail and before its answer comes. The second attempt brings the same mail.
func testLostAnswerOfPostfix(t *testing.T, server *postfixServer) {
	addr := startProxy(t, server.Addr, func() proxy {
		var mu sync.Mutex
		var tail []byte
		complete := false
		return proxy{
			up: func(p []byte) ([]byte, bool) {
				mu.Lock()
				defer mu.Unlock()
				tail = append(tail, p...)
				complete = complete || bytes.HasSuffix(tail, []byte("\r\n.\r\n"))
				return p, true
			},
			down: func(p []byte) ([]byte, bool) {
				mu.Lock()
				defer mu.Unlock()
				if complete {
					return nil, false
				}
				return p, true
			},
		}
	})
	it := numbered(item(t, 1, "carol@example.com", "\ntwice\n"), 4)
	got, err := deliver(t.Context(), t, newSMTP(t, config(addr)), []delivery.Item{it})
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, unsure)
	got, err = deliver(t.Context(), t, newSMTP(t, config(server.Addr)), []delivery.Item{it})
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, ok)
	var both []string
	if !postfix.Until(func() bool {
		both = withID(t, server.mails(t, "carol", 1), it)
		return len(both) >= 2
	}) || len(both) != 2 || ours(both[0]) != ours(both[1]) {
		t.Errorf("carol has %q", both)
	}
}

// A connection that passes a byte at a time is slow and good; one that stalls is given up, and nothing is lost.
func testSlowPostfix(t *testing.T, server *postfixServer) {
	slow := listenWith(t, func(client net.Conn) {
		server, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Addr)
		if err != nil {
			return
		}
		var both sync.WaitGroup
		bytewise := func(to, from net.Conn) {
			defer func() { _, _ = to.Close(), from.Close() }()
			for b := make([]byte, 1); ; {
				if _, err := io.ReadFull(from, b); err != nil {
					return
				}
				if _, err := to.Write(b); err != nil {
					return
				}
			}
		}
		both.Go(func() { bytewise(server, client) })
		both.Go(func() { bytewise(client, server) })
		both.Wait()
	})
	it := numbered(item(t, 1, "bob@example.com", "\nslowly\n"), 5)
	got, err := deliver(t.Context(), t, newSMTP(t, config(slow)), []delivery.Item{it})
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, ok)

	stalls := startProxy(t, server.Addr, func() proxy {
		return proxy{down: func(p []byte) ([]byte, bool) {
			if bytes.Contains(p, []byte("2.1.5")) { // the answer to RCPT
				return nil, true
			}
			return p, true
		}}
	})
	cfg := config(stalls)
	cfg.Timeout = 500 * time.Millisecond
	got, _ = deliver(t.Context(), t, newSMTP(t, cfg), []delivery.Item{numbered(it, 6)})
	wantOutcomes(t, got, unavailable)
}

// A TLS handshake that goes wrong stops the mail where TLS is required, and nowhere else.
func testBrokenTLSOfPostfix(t *testing.T, server *postfixServer) {
	addr := startProxy(t, server.Addr, func() proxy {
		var mu sync.Mutex
		asked, answered := false, false
		return proxy{
			up: func(p []byte) ([]byte, bool) {
				mu.Lock()
				defer mu.Unlock()
				asked = asked || bytes.HasPrefix(p, []byte("STARTTLS"))
				return p, true
			},
			down: func(p []byte) ([]byte, bool) {
				mu.Lock()
				defer mu.Unlock()
				if !asked {
					return p, true
				}
				if !answered {
					answered = true
					return p, true
				}
				return []byte("this is no handshake\r\n"), false
			},
		}
	})
	it := numbered(item(t, 1, "bob@example.com", "\nhello\n"), 7)
	for mode, want := range map[delivery.TLSMode]delivery.Outcome{
		delivery.TLSRequired: unavailable, delivery.TLSOpportunistic: ok,
	} {
		cfg := config(addr)
		cfg.TLS, cfg.CAFile = mode, server.caFile
		got, err := deliver(t.Context(), t, newSMTP(t, cfg), []delivery.Item{it})
		wantOutcomes(t, got, want)
		if (err == nil) != (want == ok) {
			t.Errorf("%v: error %v", mode, err)
		}
	}
	if found := withID(t, server.mails(t, "bob", 1), it); len(found) > 1 {
		t.Errorf("bob has it %d times", len(found))
	}
}

// Postfix's own sendmail understands how the exit calls it.
func testSendmailOfPostfix(t *testing.T, server *postfixServer) {
	program, err := exec.LookPath("/usr/sbin/sendmail")
	if err != nil {
		missing(t, "the program /usr/sbin/sendmail (Debian package postfix) is missing")
	}
	if os.Getuid() != 0 {
		missing(t, "sendmail wants root when it gets another configuration")
	}
	it := numbered(item(t, 1, "carol@example.com\x00grey@example.com", "\nby sendmail\n.\nand on\n"), 8)
	cfg := byCommand(program, "-C", server.Conf)
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), []delivery.Item{it})
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, ok)
	for _, user := range []string{"carol", "grey"} {
		var found []string
		if !postfix.Until(func() bool {
			found = withID(t, server.mails(t, user, 1), it)
			return len(found) > 0
		}) || len(found) != 1 || !strings.Contains(found[0], "Return-Path: <nobody@exit.example.org>") ||
			!strings.HasSuffix(found[0], "\nby sendmail\n.\nand on\n-----END TYPE III ANONYMOUS MESSAGE-----\n") {
			t.Errorf("%s has %q", user, found)
		}
	}
}
