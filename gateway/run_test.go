package gateway

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixminion/internal/clock"
	"mixminion/internal/localsock"
)

// serve runs a gateway at a local socket.
func serve(t *testing.T, g *Gateway, maildir string, c clock.Clock) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw") // names of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	l, err := localsock.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- g.Run(ctx, maildir, c, Private(l)) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return socket
}

func TestLMTP(t *testing.T) {
	g, n := newGateway(t, func(c *Config) { c.MaxMail = 50_000 })
	socket := serve(t, g, "", clock.Real{})
	submit := func(to string, raw []byte) error {
		return Submit(context.Background(), socket, "bob@example.com", to, raw)
	}
	if err := submit("Answer+1@mix.example", letter("text\n.\n..\n"+armored(goodBlock(t)))); err != nil {
		t.Fatal(err)
	}
	if len(n.replies) != 1 || n.replies[0].said(t) != preamble+"text\n.\n..\n" {
		t.Error("the text has changed on its way")
	}
	if err := submit(address, letter(strings.Repeat("long ", 5000)+"\n"+armored(goodBlock(t)))); err != nil {
		t.Errorf("a line of 25 KB, as pipes of mail servers hand over: %v", err)
	}
	if err := submit("other@mix.example", letter("x")); err == nil || errors.Is(err, ErrLater) {
		t.Errorf("for somebody else: %v", err)
	}
	if err := submit(address, letter(strings.Repeat("x\n", 30_000))); err == nil || errors.Is(err, ErrLater) {
		t.Errorf("too large: %v", err)
	}
	if err := submit(address, []byte("no mail")); err != nil {
		t.Errorf("malformed: %v", err)
	}
	n.mu.Lock()
	n.fail = errors.New("full")
	n.mu.Unlock()
	if err := submit(address, letter("text\n"+armored(goodBlock(t)))); !errors.Is(err, ErrLater) || strings.Contains(err.Error(), "full") {
		t.Errorf("trouble: %v", err)
	}
	if err := Submit(context.Background(), socket+"x", "", address, nil); !errors.Is(err, ErrLater) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestMaildir(t *testing.T) {
	dir := t.TempDir()
	now := clock.NewManual(start)
	g, n := newGateway(t, func(c *Config) { c.PerSender = 1 })
	put := func(name string, raw []byte) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "new"), 0o700), os.WriteFile(filepath.Join(dir, "new", name), raw, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (names []string) {
		entries, err := os.ReadDir(filepath.Join(dir, "new"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	put("1", letter("one\n"+armored(goodBlock(t))))
	put("2", letter("one too many\n"+armored(goodBlock(t))))
	put("3", []byte("malformed"))
	put("4", bytes.Replace(letter("of others\n"+armored(goodBlock(t))), []byte("bob@"), []byte("eve@"), 1))
	ctx, cancel := context.WithCancel(context.Background())
	polled := &pollClock{Manual: now, waits: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go func() {
		g.poll(ctx, dir, polled)
		close(ended)
	}()
	<-polled.waits
	cancel()
	<-ended
	if got := left(); len(got) != 1 || got[0] != "2" || len(n.replies) != 2 {
		t.Errorf("left: %q; %d replies", got, len(n.replies))
	}
}

// pollClock says when somebody waits.
type pollClock struct {
	*clock.Manual
	waits chan struct{}
}

func (c *pollClock) After(d time.Duration) <-chan time.Time {
	c.waits <- struct{}{}
	return c.Manual.After(d)
}
