// Package days_test lives through weeks with a group of directory authorities, mixes and clients, in one process, over
// real loopback HTTP and TLS, while time is moved by hand and many things go wrong.
package days_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/authority"
	"mixminion/authority/inbox"
	"mixminion/directory"
	"mixminion/internal/clock"
)

const (
	day     = 24 * time.Hour
	members = 5
	quorum  = members/2 + 1
)

// start is when the world begins: at noon, so that all mixes are known when the first vote begins.
var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// keys are ready-made: those of the authorities, then those of the mixes, and the last one for all packets.
var keys = sync.OnceValue(func() []*rsa.PrivateKey {
	data, err := os.ReadFile(filepath.Join("testdata", "keys.pem"))
	if err != nil {
		panic(err)
	}
	var out []*rsa.PrivateKey
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out
		}
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			panic(err)
		}
		out = append(out, key)
	}
})

// A world is a group of authorities, everybody who uses them, and time.
type world struct {
	t     *testing.T
	dir   string
	clk   *clock.Manual
	rnd   *rand.Rand // of what is planned, so that the same goes wrong each time
	nodes []*node
	group []directory.Voter

	mixes   []*simMix
	clients []*user

	deck   []int // numbers of the faults that come next
	events []event
	ledger *ledger
	struck map[string]int // how often each kind of fault has had an effect
	mu     sync.Mutex     // of struck and of the state of all fronts
}

type event struct {
	at time.Time
	do func()
}

func (w *world) now() time.Time { return w.clk.Now() }

// strike counts an effect of a fault. mu is held.
func (w *world) strike(kind string) { w.struck[kind]++ }

// A node is one authority, behind a web server that stays when it is down.
type node struct {
	*authority.Authority
	w     *world
	index int
	dir   string
	url   string
	front *http.Server
	inbox *inbox.Inbox
	log   *journal
	dice  io.Reader    // of its authority
	skew  atomic.Int64 // of its clock
	next  time.Time    // by the world's clock
	up    bool
	late  time.Time // not stepped before

	faults frontFaults // what its web server does wrong; guarded by world.mu
	side   int         // of a partition; guarded by world.mu
}

// Now and After make a node the clock of its authority.
func (n *node) Now() time.Time                       { return n.w.now().Add(time.Duration(n.skew.Load())) }
func (n *node) After(time.Duration) <-chan time.Time { panic("stepped authorities do not sleep") }

// Fetch makes a node the Fetcher of its authority: the real one, unless the network between the two is cut.
func (n *node) Fetch(ctx context.Context, url string, limit int64) (authority.Fetched, error) {
	for _, to := range n.w.nodes {
		if strings.HasPrefix(url, to.url) && n.w.cut(n, to) {
			return authority.Fetched{}, errCut
		}
	}
	return fetcher.Fetch(ctx, url, limit)
}

var (
	errCut  = errors.New("no route to host")
	fetcher = authority.NewHTTPFetcher()
)

func (w *world) cut(from, to *node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if from.side == to.side {
		return false
	}
	w.strike("partitioned")
	return true
}

// newWorld opens all authorities. The last one is reached over TLS, with the certificate that TestMain has made.
func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clk: clock.NewManual(start), rnd: rand.New(rand.NewPCG(seed, 1)), struck: map[string]int{}, ledger: newLedger()}
	t.Cleanup(fetcher.Close)
	for i := range members {
		n := &node{w: w, index: i, dir: filepath.Join(w.dir, fmt.Sprint("authority", i)), log: &journal{}}
		n.dice = rand.NewChaCha8([32]byte{byte(seed), byte(i)})
		n.faults.rnd = rand.New(rand.NewPCG(seed, uint64(100+i)))
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n.front = &http.Server{Handler: n, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: serverTLS()}
		n.url = "http://" + l.Addr().String() + "/"
		serve := func() error { return n.front.Serve(l) }
		if overTLS && i == members-1 {
			n.url = "https://" + l.Addr().String() + "/dir/"
			serve = func() error { return n.front.ServeTLS(l, "", "") }
		}
		done := make(chan error, 1)
		go func() { done <- serve() }()
		t.Cleanup(func() {
			if err := n.front.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
		w.nodes = append(w.nodes, n)
		w.group = append(w.group, directory.Voter{Fingerprint: authority.Fingerprint(keys()[i]), URL: n.url})
	}
	for _, n := range w.nodes {
		n.start()
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.stop()
		}
		if t.Failed() && testing.Verbose() {
			for _, n := range w.nodes {
				t.Logf("journal of authority %d:\n%s", n.index, n.log.all())
			}
		}
	})
	return w
}

func (n *node) start() {
	n.w.t.Helper()
	if n.up {
		return
	}
	logger := slog.New(n.log)
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		n.w.t.Fatal(err)
	}
	box, err := inbox.Open(inbox.Config{Dir: n.dir, AutoApprove: true, Clock: n, Logger: logger})
	if err != nil {
		n.w.t.Fatalf("authority %d: %v", n.index, err)
	}
	a, err := authority.Open(authority.Config{
		Dir: n.dir, Identity: keys()[n.index], Group: n.w.group, Source: box, Exchange: box, Upload: box.Upload(),
		ClientVersions: []string{"0.1.0"}, ServerVersions: []string{"0.1.0"},
		Fetcher: n, Clock: n, Logger: logger, Rand: n.dice,
	})
	if err != nil {
		n.w.t.Fatalf("authority %d: %v", n.index, err)
	}
	n.w.mu.Lock()
	n.faults.handler = a.Handler()
	n.w.mu.Unlock()
	n.Authority, n.inbox, n.up, n.next = a, box, true, n.w.now()
}

// stop ends a node as kill -9 does: nothing is written.
func (n *node) stop() {
	if !n.up {
		return
	}
	n.w.mu.Lock()
	n.faults.handler = nil
	n.w.mu.Unlock()
	n.up = false
	if err := n.Close(); err != nil {
		n.w.t.Error(err)
	}
}

// at plans what happens later.
func (w *world) at(t time.Time, do func()) { w.events = append(w.events, event{t, do}) }

// until lets time pass up to and including a moment.
func (w *world) until(end time.Time) {
	w.t.Helper()
	for {
		next := end.Add(1)
		first := -1
		for i, e := range w.events {
			if e.at.Before(next) {
				next, first = e.at, i
			}
		}
		for _, n := range w.nodes {
			if due := n.due(); n.up && due.Before(next) {
				next, first = due, -1
			}
		}
		if next.After(end) {
			w.clk.Advance(max(0, end.Sub(w.now())))
			return
		}
		w.clk.Advance(max(0, next.Sub(w.now())))
		if first >= 0 {
			do := w.events[first].do
			w.events = append(w.events[:first], w.events[first+1:]...)
			do()
			continue
		}
		// They work at the same time, as they would.
		var steps sync.WaitGroup
		for _, n := range w.nodes {
			if n.up && !n.due().After(w.now()) {
				steps.Go(n.step)
			}
		}
		steps.Wait()
		if w.t.Failed() {
			w.t.FailNow()
		}
	}
}

// due is when the node is stepped next.
func (n *node) due() time.Time {
	if n.next.Before(n.late) {
		return n.late
	}
	return n.next
}

// Hours of the day, by which an authority is called less often than it wants to be: nothing happens then but the exchange of descriptors.
const (
	quietFrom  = 3 * time.Hour
	quietUntil = 22 * time.Hour
	quietEvery = 6 * time.Hour
)

func (n *node) step() {
	n.w.t.Helper()
	next, err := n.Step(context.Background(), n.Now())
	if err != nil {
		n.w.t.Errorf("authority %d at %v: %v", n.index, n.w.now(), err)
	}
	now, skew := n.w.now(), time.Duration(n.skew.Load())
	if skew != 0 {
		n.w.mu.Lock()
		n.w.strike("clock off")
		n.w.mu.Unlock()
	}
	next = next.Add(-skew)
	if !next.After(now) {
		n.w.t.Errorf("authority %d at %v wants to go on at %v", n.index, now, next)
	}
	if hour := n.Now().Sub(n.Now().Truncate(day)); hour >= quietFrom && hour < quietUntil-quietEvery && next.Before(now.Add(quietEvery)) {
		next = now.Add(quietEvery)
	}
	n.next = next
}

// A journal is the log of an authority.
type journal struct {
	mu    sync.Mutex
	lines []string
}

// Enabled implements slog.Handler.
func (j *journal) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	return nil
}

// WithAttrs implements slog.Handler.
func (j *journal) WithAttrs([]slog.Attr) slog.Handler { return j }

// WithGroup implements slog.Handler.
func (j *journal) WithGroup(string) slog.Handler { return j }

// about returns the lines in which all texts stand.
func (j *journal) about(texts ...string) (found []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
lines:
	for _, line := range j.lines {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}

func (j *journal) all() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}
