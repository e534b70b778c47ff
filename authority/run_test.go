package authority_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/authority"
	"mixminion/directory"
	"mixminion/internal/clock"
)

// turns is a clock for several programs: it moves when all of them wait, to the first moment that one of them waits for.
type turns struct {
	mu      sync.Mutex
	now     time.Time
	waiting map[int]turn
	changed chan struct{}
}

type turn struct {
	at time.Time
	ch chan time.Time
}

func newTurns() *turns {
	return &turns{now: begin, waiting: map[int]turn{}, changed: make(chan struct{}, 1)}
}

// of returns the clock of one program.
func (c *turns) of(i int) clock.Clock { return turnsOf{c, i} }

type turnsOf struct {
	*turns
	i int
}

func (c turnsOf) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c turnsOf) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	c.waiting[c.i] = turn{c.now.Add(d), ch}
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return ch
}

// leave is called when a program has ended.
func (c *turns) leave(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, i)
}

// until moves the clock up to end, with the given number of programs running.
func (c *turns) until(end time.Time, running int) {
	for {
		c.mu.Lock()
		if len(c.waiting) < running {
			c.mu.Unlock()
			<-c.changed
			continue
		}
		next := end
		for _, w := range c.waiting {
			if w.at.Before(next) {
				next = w.at
			}
		}
		// What is due at end is still done, so that it is done when this returns.
		due := false
		if next.After(c.now) {
			c.now = next
		}
		for i, w := range c.waiting {
			if !w.at.After(c.now) {
				w.ch <- c.now
				delete(c.waiting, i)
				due = true
			}
		}
		over := !due && !c.now.Before(end)
		c.mu.Unlock()
		if over {
			return
		}
	}
}

// A daemon is an authority that runs, behind a web server that stays.
type daemon struct {
	*node
	front   *httptest.Server
	handler atomic.Pointer[http.Handler]
	stop    func() error
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := d.handler.Load()
	if h == nil {
		panic(http.ErrAbortHandler) // the connection breaks, as it does when nobody is there
	}
	(*h).ServeHTTP(w, r)
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// TestDaysOverHTTP runs four authorities for a week over loopback HTTP. On most days something goes wrong.
func TestDaysOverHTTP(t *testing.T) {
	t.Parallel()
	const n = 4
	clk := newTurns()
	w := &world{t: t}
	listed := []*directory.Descriptor{descriptor(t, 0, "alice", nil), descriptor(t, 1, "bob", nil), descriptor(t, 2, "carol", nil)}
	dir := t.TempDir()
	daemons := make([]*daemon, n)
	for i := range daemons {
		d := &daemon{node: &node{w: w, index: i, dir: filepath.Join(dir, fmt.Sprint(i)), source: &source{listed: listed}}}
		d.front = httptest.NewUnstartedServer(d)
		d.front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		d.front.Start()
		t.Cleanup(d.front.Close)
		d.url = d.front.URL + "/dir/"
		daemons[i] = d
		w.nodes = append(w.nodes, d.node)
		w.group = append(w.group, directory.Voter{Fingerprint: authority.Fingerprint(keys()[i]), URL: d.url})
	}
	logs := &lockedBuffer{}
	running := 0
	start := func(i int) {
		d := daemons[i]
		c := d.config()
		c.Fetcher, c.Clock, c.Logger = nil, clk.of(i), slog.New(slog.NewTextHandler(logs, nil)).With("authority", i)
		a, err := authority.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		d.Authority = a
		h := a.Handler()
		d.handler.Store(&h)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		running++
		d.up = true
		d.stop = func() error {
			d.handler.Store(nil)
			d.up = false
			cancel()
			err := errors.Join(<-done, a.Close())
			running--
			clk.leave(i)
			return err
		}
	}
	stop := func(i int) {
		if err := daemons[i].stop(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		for i, d := range daemons {
			if d.up {
				stop(i)
			}
		}
		if t.Failed() {
			t.Log(logs.String())
		}
	})
	for i := range daemons {
		start(i)
	}
	at := func(s string) time.Time {
		m, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	go1 := func(s string) { clk.until(at(s), running) }

	go1("2026-11-21 00:00")
	first := w.wantCurrent("2026-11-21", 4)
	// One is down all day.
	stop(0)
	go1("2026-11-22 00:00")
	w.wantCurrent("2026-11-22", 3)
	// It comes back in the middle of the next vote, and is seen.
	go1("2026-11-22 23:05")
	start(0)
	go1("2026-11-23 00:00")
	w.wantCurrent("2026-11-23", 4)
	// Two are down: no consensus. The last one stays.
	stop(1)
	stop(2)
	go1("2026-11-24 00:30")
	w.wantCurrent("2026-11-23", 4)
	start(1)
	start(2)
	go1("2026-11-25 00:00")
	last := w.wantCurrent("2026-11-25", 4)
	// All are restarted in the middle of the night.
	go1("2026-11-25 23:18")
	for i := range daemons {
		stop(i)
		start(i)
	}
	go1("2026-11-25 23:40")
	for i := range daemons {
		stop(i)
		start(i)
	}
	go1("2026-11-26 00:00")
	c := w.wantCurrent("2026-11-26", 4)
	if hash := last.BodyHash(); c.Previous == nil || *c.Previous != hash || first.Previous != nil {
		t.Error("the consensuses do not name each other")
	}
	if got := names(c); fmt.Sprint(got) != "[alice bob carol]" {
		t.Errorf("servers %v", got)
	}
}

// TestRunServes runs one authority with its own sockets.
func TestRunServes(t *testing.T) {
	t.Parallel()
	l4, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listeners := []net.Listener{l4}
	if l6, err := new(net.ListenConfig).Listen(context.Background(), "tcp6", "[::1]:0"); err == nil {
		listeners = append(listeners, l6)
	} else {
		t.Logf("no IPv6 here: %v", err)
	}
	clk := newTurns()
	w := &world{t: t}
	n := &node{w: w, dir: t.TempDir(), source: &source{listed: []*directory.Descriptor{descriptor(t, 0, "alice", nil)}}}
	w.group = []directory.Voter{{Fingerprint: authority.Fingerprint(keys()[0]), URL: "http://" + l4.Addr().String() + "/"}}
	c := n.config()
	c.Fetcher, c.Clock, c.Logger = nil, clk.of(0), nil
	c.Upload = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "uploaded") })
	a, err := authority.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, listeners...) }()
	clk.until(date(firstDay), 1)
	f := authority.NewHTTPFetcher()
	for _, l := range listeners {
		base := "http://" + l.Addr().String() + "/"
		got, err := f.Fetch(ctx, base+"current.gz", authority.MaxDocument)
		if err != nil || !got.Date.Equal(date(firstDay)) {
			t.Errorf("%v, date %v", err, got.Date)
		}
		if _, err := f.Fetch(ctx, base+"2000-01-01.gz", 100); !errors.Is(err, authority.ErrNotFound) {
			t.Error(err)
		}
		if _, err := f.Fetch(ctx, base+"current.gz", 100); err == nil {
			t.Error("took more than the limit")
		}
		resp, err := http.Post(base+"upload", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "uploaded" {
			t.Errorf("%q, %v", body, err)
		}
		resp.Body.Close()
	}
	resp, err := http.Get("http://" + l4.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	hash := sha256.Sum256([]byte(style))
	if !strings.Contains(resp.Header.Get("Content-Security-Policy"), "'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'") {
		t.Error("the policy forbids the style of the page")
	}
	http.DefaultClient.CloseIdleConnections()
	f.Close()
	cancel()
	if err := errors.Join(<-done, a.Close()); err != nil {
		t.Error(err)
	}
}

func TestFetchIsBounded(t *testing.T) {
	t.Parallel()
	bomb, err := authority.Compress(make([]byte, 100<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Decompress(bomb, authority.MaxDocument); err == nil {
		t.Error("a bomb was decompressed")
	}
	if _, err := authority.Decompress([]byte("no gzip"), 100); err == nil {
		t.Error("decompressed what is no gzip")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/target", http.StatusFound)
		case "/headers":
			for name := range r.Header {
				_, _ = io.WriteString(w, name+"\n")
			}
		case "/fail":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			t.Error("a redirect was followed")
		}
	}))
	defer server.Close()
	f := authority.NewHTTPFetcher()
	defer f.Close()
	for _, path := range []string{"/redirect", "/fail"} {
		if _, err := f.Fetch(context.Background(), server.URL+path, 1000); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
	got, err := f.Fetch(context.Background(), server.URL+"/headers", 1000)
	if err != nil || string(got.Body) != "User-Agent\n" {
		t.Errorf("headers %q, %v", got.Body, err)
	}
}
