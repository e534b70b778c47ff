package mix_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/mix"
	"mixminion/mmtp"
	"mixminion/packet"
)

// start is when the tests begin. It lies on a boundary of the mix interval, but not on a midnight.
var start = time.Date(2031, 3, 5, 9, 0, 0, 0, time.UTC)

// patience bounds how long a test waits for something that must happen.
const patience = 40 * time.Second

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	step := time.NewTicker(2 * time.Millisecond)
	defer step.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-step.C:
		case <-end:
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// testClock is moved by hand. It remembers which timers were set since it was last moved, so that a test can wait until everybody waits.
type testClock struct {
	*clock.Manual
	mu    sync.Mutex
	timer map[time.Duration]int
	set   time.Duration // how far it was set forth
}

// Now implements clock.Clock.
func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Manual.Now().Add(c.set)
}

// jump sets the clock forth or back. As with the system's clock, that moves no timer.
func (c *testClock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set += d
}

func newTestClock(now time.Time) *testClock {
	return &testClock{Manual: clock.NewManual(now), timer: map[time.Duration]int{}}
}

// After implements clock.Clock.
func (c *testClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer[d]++
	return c.Manual.After(d)
}

// Advance moves the clock and forgets the timers that were set before.
func (c *testClock) Advance(d time.Duration) {
	c.forget()
	c.Manual.Advance(d)
}

func (c *testClock) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.timer)
}

// await waits until timers of these lengths were set since the clock was last moved.
func (c *testClock) await(t *testing.T, timers ...time.Duration) {
	t.Helper()
	for _, d := range timers {
		eventually(t, fmt.Sprintf("a timer of %v", d), func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.timer[d] > 0
		})
	}
}

// awaitWithin waits until a timer at least as long as one time and shorter than another was set, and returns its length.
func (c *testClock) awaitWithin(t *testing.T, from, below time.Duration) (found time.Duration) {
	t.Helper()
	eventually(t, fmt.Sprintf("a timer from %v to %v", from, below), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for d := range c.timer {
			if d >= from && d < below {
				found = d
			}
		}
		return found > 0
	})
	return found
}

// timers returns how many timers at least as long as one time and shorter than another were set since the clock was last moved.
func (c *testClock) timers(from, below time.Duration) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := 0
	for d, n := range c.timer {
		if d >= from && d < below {
			count += n
		}
	}
	return count
}

// testKey returns the n-th key of the test: keys take long to make, and tests may share those that do not matter to them.
func testKey(t testing.TB, n int) *rsa.PrivateKey {
	t.Helper()
	testKeys.Lock()
	defer testKeys.Unlock()
	for len(testKeys.keys) <= n {
		key, err := crypt.GenerateKey(2048)
		if err != nil {
			t.Fatal(err)
		}
		testKeys.keys = append(testKeys.keys, key)
	}
	return testKeys.keys[n]
}

var testKeys struct {
	sync.Mutex
	keys []*rsa.PrivateKey
}

// keyDir is the key directory of a mix after its first start at start, made once and copied for each test.
var keyDir = sync.OnceValues(func() (files map[string][]byte, err error) {
	dir, err := os.MkdirTemp("", "mix-keys")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	cfg := testConfig(dir, l)
	cfg.Clock = newTestClock(start)
	m, err := mix.Open(cfg)
	if err != nil {
		return nil, err
	}
	if err := m.Close(); err != nil {
		return nil, err
	}
	files = map[string][]byte{}
	return files, filepath.WalkDir(cfg.KeyDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(cfg.KeyDir, path)
		if err == nil {
			files[name], err = os.ReadFile(path)
		}
		return err
	})
})

// copyKeys gives a mix the keys of keyDir.
func copyKeys(t testing.TB, to string) {
	t.Helper()
	files, err := keyDir()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// logBuffer takes what a mix logs.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns all of it.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), s)
}

// A rig is one mix under test. Its interval is testInterval, without jitter, and its clock a testClock.
type rig struct {
	t    *testing.T
	cfg  mix.Config
	clk  *testClock
	log  *logBuffer
	mix  *mix.Mix
	node packet.Node

	listener net.Listener
	client   *mmtp.Client
	cancel   context.CancelFunc // nil: not running
	done     chan error
}

const testInterval = 5 * time.Minute

// everyHour is a schedule, of some weeks, for tests in which nothing is to be given up. It is not to be taken for the
// hour of the maintenance.
var everyHour = slices.Repeat(mix.Schedule{59 * time.Minute}, 1000)

// newRig prepares a mix that has keys already. change may alter its configuration.
func newRig(t *testing.T, change func(*mix.Config)) *rig {
	t.Helper()
	r := newEmptyRig(t, change)
	copyKeys(t, r.cfg.KeyDir)
	return r
}

// newEmptyRig prepares a mix before its first start.
func newEmptyRig(t *testing.T, change func(*mix.Config)) *rig {
	t.Helper()
	r := &rig{t: t, clk: newTestClock(start), log: new(logBuffer)}
	r.listen()
	r.cfg = testConfig(t.TempDir(), r.listener)
	r.cfg.Interval = testInterval
	r.cfg.Clock = r.clk
	r.cfg.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	if change != nil {
		change(&r.cfg)
	}
	t.Cleanup(func() {
		if r.mix != nil {
			r.close()
		}
		_ = r.listener.Close() // closed already if the mix ran
	})
	return r
}

func (r *rig) listen() {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.listener = l
	r.cfg.Port = uint16(l.Addr().(*net.TCPAddr).Port)
}

// open opens the mix.
func (r *rig) open() *rig {
	r.t.Helper()
	if err := r.tryOpen(); err != nil {
		r.t.Fatal(err)
	}
	return r
}

func (r *rig) tryOpen() error {
	m, err := mix.Open(r.cfg)
	if err != nil {
		return err
	}
	r.mix = m
	descs := m.Descriptors()
	if len(descs) == 0 {
		r.t.Fatal("no descriptor")
	}
	r.node = descs[0].Node()
	return nil
}

// run opens the mix if need be and lets it run. It returns when the mix waits for the time to pass.
func (r *rig) run() *rig {
	r.t.Helper()
	if r.mix == nil {
		r.open()
	}
	if r.listener == nil {
		r.listen()
		r.node.Port = r.cfg.Port
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan error, 1)
	m, l, done := r.mix, r.listener, r.done
	r.clk.forget()                        // those of a run before
	go func() { done <- m.Run(ctx, l) }() // stop waits for it
	r.clk.await(r.t, r.cfg.Interval)
	return r
}

// stop ends Run and returns its error.
func (r *rig) stop() error {
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	r.cancel, r.listener = nil, nil
	err := <-r.done
	return err
}

// close stops and closes the mix.
func (r *rig) close() {
	r.t.Helper()
	if err := errors.Join(r.stop(), r.mix.Close()); err != nil {
		r.t.Errorf("close the mix: %v", err)
	}
	r.mix = nil
	if r.listener == nil {
		r.listen()
	}
}

// reopen closes the mix and opens it again.
func (r *rig) reopen() *rig {
	r.t.Helper()
	r.close()
	return r.open()
}

// mixOnce lets one mix interval pass and waits until the mix has mixed.
func (r *rig) mixOnce() {
	r.t.Helper()
	r.clk.Advance(r.cfg.Interval)
	r.clk.await(r.t, r.cfg.Interval)
}

// mustSend sends packets and demands that all are acknowledged.
func (r *rig) mustSend(packets ...*packet.Packet) {
	r.t.Helper()
	for i, err := range r.send(items(packets...)) {
		if err != nil {
			r.t.Fatalf("packet %d: %v", i, err)
		}
	}
}

func items(packets ...*packet.Packet) (out []mmtp.Item) {
	for _, p := range packets {
		out = append(out, mmtp.Item{Packet: p})
	}
	return out
}

// errNoAnswer stands for items that got no answer.
var errNoAnswer = errors.New("no answer")

// send sends items to the mix and returns what became of each.
func (r *rig) send(items []mmtp.Item) []error {
	r.t.Helper()
	if r.client == nil {
		r.client = mmtp.NewClient(mmtp.ClientConfig{Now: r.clk.Now, AnswerTimeout: patience})
	}
	answers := make([]error, len(items))
	for i := range answers {
		answers[i] = errNoAnswer
	}
	err := r.client.Send(context.Background(), r.node.Hop, func(yield func(mmtp.Item) bool) {
		for i, it := range items {
			it.Done = func(err error) { answers[i] = err }
			if !yield(it) {
				return
			}
		}
	})
	if err != nil {
		r.t.Logf("send: %v", err)
	}
	return answers
}

// randomPayload returns a payload and its digest, by which tests know it again.
func randomPayload() (*packet.Payload, crypt.Digest) {
	p := new(packet.Payload)
	rand.Read(p[:])
	return p, crypt.Hash(p[:])
}

// packetVia builds a packet over the nodes, with the swap after the first leg.
func packetVia(t *testing.T, leg1, leg2 []packet.Node, exit packet.RoutingType) (*packet.Packet, crypt.Digest) {
	t.Helper()
	payload, digest := randomPayload()
	x := packet.Exit{Type: exit}
	if exit.HasTag() {
		x.Tag, x.Info = new(packet.Tag), []byte("somebody")
	}
	p, err := packet.BuildForward(rand.Reader, leg1, leg2, x, payload)
	if err != nil {
		t.Fatal(err)
	}
	return p, digest
}

// relayed builds a packet that the mix passes on to next, where it ends.
func (r *rig) relayed(next packet.Node) (*packet.Packet, crypt.Digest) {
	r.t.Helper()
	return packetVia(r.t, []packet.Node{r.node}, []packet.Node{next}, testExitType)
}

// exiting builds a packet that leaves the network at the mix, as t. Both its headers are for the mix: it is its own next hop.
func (r *rig) exiting(t packet.RoutingType) (*packet.Packet, crypt.Digest) {
	r.t.Helper()
	return packetVia(r.t, []packet.Node{r.node}, []packet.Node{r.node}, t)
}

// testExitType is the type that the exits of these tests have. It has no tag.
const testExitType = packet.TypeFragment

// stored opens the store of a closed mix and returns the sizes of its pool and queues.
func (r *rig) stored() (pool int, queues []store.QueueStat) {
	r.t.Helper()
	r.inspect(func(s *store.Store) {
		pool, queues = s.PoolSize(), s.Queues()
	})
	return pool, queues
}

// inspect opens the store of a closed mix.
func (r *rig) inspect(look func(*store.Store)) {
	r.t.Helper()
	s, err := store.Open(r.cfg.QueueDir, store.Options{Manual: true})
	if err != nil {
		r.t.Fatal(err)
	}
	look(s)
	if err := s.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// descriptors reads the descriptors that a key directory holds, by the name of the key set.
func descriptors(t *testing.T, dir string) map[string]*directory.Descriptor {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "key_*", "ServerDesc"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*directory.Descriptor{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := directory.ParseDescriptor(text)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(filepath.Dir(path))] = d
	}
	return out
}

// readPrivate reads a packet key.
func readPrivate(t *testing.T, path string) *rsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode(mustRead(t, path))
	if block == nil {
		t.Fatalf("%s is not PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}
