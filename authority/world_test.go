package authority_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/authority"
	"mixminion/directory"
	"mixminion/internal/clock"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

// begin is when test worlds begin: at noon.
var begin = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func date(s string) time.Time {
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return d
}

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
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			panic(err)
		}
		out = append(out, key.(*rsa.PrivateKey))
	}
})

// The first five keys are those of authorities, the rest those of mixes.
const firstMix = 5

// descriptor makes the descriptor of mix i, valid for 60 days from the day of begin on.
func descriptor(t testing.TB, i int, nickname string, change func(*directory.Fields)) *directory.Descriptor {
	t.Helper()
	f := directory.Fields{
		Nickname: nickname, Published: begin.Add(-time.Hour), ValidAfter: begin.Truncate(day), ValidUntil: begin.Truncate(day).Add(60 * day),
		PacketKey: &keys()[0].PublicKey, PacketVersions: []string{"0.3"}, Software: "test", Secure: true, Contact: nickname + "@example.com",
		Incoming: &directory.Incoming{Hostname: nickname + ".example.com", Port: 48099, Protocols: []string{"0.3"}},
		Outgoing: &directory.Outgoing{Protocols: []string{"0.3"}},
	}
	if change != nil {
		change(&f)
	}
	text, err := directory.SignDescriptor(keys()[firstMix+i], f)
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.ParseDescriptor(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// parsed saves the tests from verifying the same descriptors again and again.
var parsed directory.Cache

// source is a Source that a test changes.
type source struct {
	listed  []*directory.Descriptor
	against map[string]bool // nicknames that are not recommended
}

func (s *source) Candidates(time.Time) []*directory.Descriptor { return s.listed }
func (s *source) Recommended(_ time.Time, d *directory.Descriptor) bool {
	return !s.against[d.Nickname]
}

// A node is one authority of a world.
type node struct {
	*authority.Authority
	w      *world
	index  int
	dir    string
	url    string
	source *source
	skew   time.Duration // of its clock
	next   time.Time     // by the world's clock
	up     bool
	log    bytes.Buffer
}

// Now and After make a node the clock of its authority.
func (n *node) Now() time.Time                       { return n.w.now.Add(n.skew) }
func (n *node) After(time.Duration) <-chan time.Time { panic("stepped authorities do not sleep") }

var _ clock.Clock = (*node)(nil)

// A world is a group of authorities, the network between them, and time.
type world struct {
	t     *testing.T
	now   time.Time
	nodes []*node
	group []directory.Voter
	rnd   *rand.Rand
	// fault says what goes wrong when from asks to for a document: nil is nothing. It may give another document.
	fault func(from, to *node, name string) (text []byte, err error)
}

var errUnreachable = errors.New("connection refused")

// newWorld makes a world of n authorities. Worlds of different tests run side by side.
func newWorld(t *testing.T, n int) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, now: begin, rnd: rand.New(rand.NewPCG(1, uint64(n)))}
	dir := t.TempDir()
	listed := []*directory.Descriptor{descriptor(t, 0, "alice", nil), descriptor(t, 1, "bob", nil), descriptor(t, 2, "carol", nil)}
	for i := range n {
		node := &node{w: w, index: i, dir: filepath.Join(dir, fmt.Sprint(i)), url: fmt.Sprintf("http://auth%d.example.com/dir/", i),
			source: &source{listed: listed, against: map[string]bool{}}}
		w.nodes = append(w.nodes, node)
		w.group = append(w.group, directory.Voter{Fingerprint: authority.Fingerprint(keys()[i]), URL: node.url})
	}
	for _, n := range w.nodes {
		n.start()
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.stop()
		}
		if t.Failed() {
			for _, n := range w.nodes {
				t.Logf("log of authority %d:\n%s", n.index, n.log.String())
			}
		}
	})
	return w
}

func (n *node) config() authority.Config {
	level := slog.LevelDebug
	return authority.Config{
		Dir: n.dir, Identity: keys()[n.index], Group: n.w.group, Source: n.source,
		ClientVersions: []string{"0.1.0"}, ServerVersions: []string{"0.1.0"},
		Fetcher: n, Clock: n,
		Logger: slog.New(slog.NewTextHandler(&n.log, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Time(slog.TimeKey, n.w.now)
			}
			return a
		}})),
	}
}

func (n *node) start() {
	n.w.t.Helper()
	n.open(n.config())
}

func (n *node) open(c authority.Config) {
	n.w.t.Helper()
	a, err := authority.Open(c)
	if err != nil {
		n.w.t.Fatalf("authority %d: %v", n.index, err)
	}
	n.Authority, n.up, n.next = a, true, n.w.now
}

// stop ends a node as kill -9 does: nothing is written.
func (n *node) stop() {
	if n.up {
		n.up = false
		if err := n.Close(); err != nil {
			n.w.t.Error(err)
		}
	}
}

func (n *node) restart() { n.stop(); n.start() }

func (n *node) fingerprint() string { return n.w.group[n.index].Fingerprint }

// Fetch makes a node the Fetcher of its authority.
func (n *node) Fetch(_ context.Context, url string, _ int64) (authority.Fetched, error) {
	for _, to := range n.w.nodes {
		name, ok := strings.CutPrefix(url, to.url)
		if !ok {
			continue
		}
		if n.w.fault != nil {
			text, err := n.w.fault(n, to, name)
			if text != nil && strings.HasSuffix(name, ".gz") {
				text, err = authority.Compress(text)
			}
			if text != nil || err != nil {
				return authority.Fetched{Body: text}, err
			}
		}
		if !to.up {
			return authority.Fetched{}, errUnreachable
		}
		return to.fetch(name)
	}
	return authority.Fetched{}, errUnreachable
}

func (n *node) fetch(name string) (authority.Fetched, error) {
	rec := httptest.NewRecorder()
	n.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, n.url+name, nil))
	date, err := http.ParseTime(rec.Header().Get("Date"))
	f := authority.Fetched{Date: date}
	switch {
	case err != nil:
		return f, err
	case rec.Code == http.StatusNotFound:
		return f, authority.ErrNotFound
	case rec.Code != http.StatusOK:
		return f, fmt.Errorf("status %d", rec.Code)
	}
	f.Body = rec.Body.Bytes()
	return f, nil
}

// text returns a document that a node publishes, nil if it does not.
func (n *node) text(name string) []byte {
	n.w.t.Helper()
	f, err := n.fetch(name)
	if errors.Is(err, authority.ErrNotFound) {
		return nil
	}
	if err != nil {
		n.w.t.Fatalf("authority %d: %s: %v", n.index, name, err)
	}
	if strings.HasSuffix(name, ".gz") {
		if f.Body, err = authority.Decompress(f.Body, authority.MaxDocument); err != nil {
			n.w.t.Fatalf("authority %d: %s: %v", n.index, name, err)
		}
	}
	return f.Body
}

// until steps all nodes, in random order, up to and including a moment.
func (w *world) until(end time.Time) {
	w.t.Helper()
	for {
		next := end.Add(1)
		for _, n := range w.nodes {
			if n.up && n.next.Before(next) {
				next = n.next
			}
		}
		if next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		for _, i := range w.rnd.Perm(len(w.nodes)) {
			if n := w.nodes[i]; n.up && !n.next.After(w.now) {
				n.step()
			}
		}
	}
}

func (n *node) step() {
	n.w.t.Helper()
	next, err := n.Step(context.Background(), n.Now())
	if err != nil {
		n.w.t.Fatalf("authority %d at %v: %v", n.index, n.w.now, err)
	}
	if n.next = next.Add(-n.skew); !n.next.After(n.w.now) {
		n.w.t.Fatalf("authority %d at %v wants to go on at %v", n.index, n.w.now, n.next)
	}
}

// current returns the current consensus that a node publishes, after checking that a majority of the group signed it. nil: none.
func (n *node) current() *directory.Directory {
	n.w.t.Helper()
	text, sigText := n.text("current.gz"), n.text("current.gz.sig")
	if text == nil {
		return nil
	}
	d, err := parsed.ParseDirectory(text)
	if err != nil {
		n.w.t.Fatal(err)
	}
	sigs, err := directory.ParseDetached(sigText)
	if err != nil {
		n.w.t.Fatal(err)
	}
	if _, err := directory.CheckQuorum(d, sigs, authority.Members(n.w.group)); err != nil {
		n.w.t.Fatalf("authority %d publishes as current what has no majority: %v", n.index, err)
	}
	return d
}

// wantCurrent checks that all nodes that run publish the same consensus of a day with a number of signatures.
func (w *world) wantCurrent(d string, signatures int) *directory.Directory {
	w.t.Helper()
	var first *directory.Directory
	for _, n := range w.nodes {
		if !n.up {
			continue
		}
		c := n.current()
		if c == nil || !c.ValidAfter.Equal(date(d)) {
			w.t.Fatalf("authority %d has no consensus for %s", n.index, d)
		}
		if len(c.Signers) < signatures {
			w.t.Fatalf("authority %d has %d signatures, want %d", n.index, len(c.Signers), signatures)
		}
		if first == nil {
			first = c
		}
		if first.BodyHash() != c.BodyHash() {
			w.t.Fatalf("authority %d has another consensus", n.index)
		}
	}
	return first
}

func (n *node) wantLog(texts ...string) {
	n.w.t.Helper()
	for _, text := range texts {
		if !strings.Contains(n.log.String(), text) {
			n.w.t.Errorf("the log of authority %d does not say %q", n.index, text)
		}
	}
}

func names(d *directory.Directory) []string {
	var out []string
	for _, s := range d.Servers {
		out = append(out, s.Nickname)
	}
	return slices.Compact(out)
}

var _ io.Reader = (*bytes.Buffer)(nil)
