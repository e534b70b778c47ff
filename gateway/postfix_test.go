package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"mixminion/internal/clock"
	"mixminion/internal/testnet/postfix"
)

// startPostfix starts a Postfix that hands the gateway's mail to a server of LMTP.
func startPostfix(t *testing.T, lmtp string) *postfix.Server {
	t.Helper()
	s, err := postfix.Start(postfix.Config{Main: "virtual_mailbox_domains = mix.example\n" +
		"virtual_mailbox_maps = inline:{ answer@mix.example=answer }\nvirtual_transport = lmtp:inet:" + lmtp + "\n"})
	if errors.Is(err, postfix.ErrMissing) {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestPostfix has a real mail server hand over mail: it keeps what the gateway cannot take, and brings it again.
func TestPostfix(t *testing.T) {
	if testing.Short() {
		t.Skip("a mail server takes a while to start")
	}
	g, n := newGateway(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- g.Run(ctx, "", clock.Real{}, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	server := startPostfix(t, l.Addr().String())
	state := func() (tried, sent int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.tried, len(n.replies)
	}

	n.mu.Lock()
	n.fail = errors.New("no directory")
	n.mu.Unlock()
	block := goodBlock(t)
	text := "Gr\u00fc\u00dfe\n.\n" + quoted(armored(block))
	raw := letter(text, "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")
	bounce := letter("text\n" + armored(goodBlock(t)))
	if err := errors.Join(server.Send("", address, bounce), server.Send("bob@example.com", address, raw)); err != nil {
		t.Fatal(err)
	}
	if !postfix.Until(func() bool { tried, _ := state(); return tried > 0 }) {
		t.Fatal("Postfix hands over nothing")
	}
	n.mu.Lock()
	n.fail = nil
	n.mu.Unlock()
	if !postfix.Until(func() bool { err = errors.Join(err, server.Flush()); _, sent := state(); return sent > 0 }) {
		t.Fatal("Postfix has not brought the mail again", err)
	}
	if got := n.replies[0].said(t); len(n.replies) != 1 || n.replies[0].blocks[0].Header != block.Header || got != preamble+"Gr\u00fc\u00dfe\n.\n" {
		t.Errorf("%d replies, %q", len(n.replies), got)
	}
}
