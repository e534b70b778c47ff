package mix_test

import (
	"bufio"
	"bytes"
	"context"
	"iter"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/mmtp"
	"mixminion/packet"
)

// crashDriver keeps, outside the process that dies, the list of what was acknowledged.
type crashDriver struct {
	t    *testing.T
	dir  string
	disk func() store.FS // what the store lies on
	env  string
	addr string
	mix  packet.Node
	rnd  *rand.Rand
	src  *rand.ChaCha8

	next    packet.Node // the next hop, played by the driver itself
	nextKey *packet.Unwrapper

	sent  map[crypt.Digest]*packet.Packet // all packets, by the digest of their payload
	acked map[crypt.Digest]bool

	dummies int // the most that were in the store

	mu      sync.Mutex
	arrived map[crypt.Digest]int
	onRelay func() // called for each arrival, before it is acknowledged
}

// start runs the mix and returns when it is ready. lines gets what it prints from then on.
func (d *crashDriver) start() (cmd *exec.Cmd, lines <-chan string) {
	d.t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDirEnv+"="+d.dir, crashAddrEnv+"="+d.addr, d.env)
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ch := make(chan string, 1000)
	go func() {
		defer close(ch)
		for s := bufio.NewScanner(out); s.Scan(); {
			ch <- s.Text()
		}
	}()
	if line := <-ch; line != "ready" {
		d.t.Fatalf("the mix did not start: %q", line)
	}
	d.mix = d.readNode()
	return cmd, ch
}

func (d *crashDriver) kill(cmd *exec.Cmd, lines <-chan string) {
	_ = cmd.Process.Kill() // it may be dead already
	for range lines {
	}
	_ = cmd.Wait() // it was killed, which is an error
}

// readNode takes the mix's address and packet key from its descriptor.
func (d *crashDriver) readNode() packet.Node {
	text, err := os.ReadFile(filepath.Join(d.dir, "keys", "key_0001", "ServerDesc"))
	if err != nil {
		d.t.Fatal(err)
	}
	desc, err := directory.ParseDescriptor(text)
	if err != nil {
		d.t.Fatal(err)
	}
	return desc.Node()
}

// newPacket builds a packet that goes through the mix to the next hop.
func (d *crashDriver) newPacket() (crypt.Digest, *packet.Packet) {
	var payload packet.Payload
	_, _ = d.src.Read(payload[:]) // never fails
	p, err := packet.BuildForward(d.src, []packet.Node{d.mix}, []packet.Node{d.next}, packet.Exit{Type: packet.TypeFragment}, &payload)
	if err != nil {
		d.t.Fatal(err)
	}
	return crypt.Hash(payload[:]), p
}

// perRound is how many new packets a round sends.
const perRound = 12

// round runs the mix, sends it packets, and kills it in a phase.
func (d *crashDriver) round(when phase) {
	cmd, lines := d.start()
	var once sync.Once
	killed := make(chan struct{})
	strike := func() {
		once.Do(func() {
			_ = cmd.Process.Kill() // it may be dead already
			close(killed)
		})
	}
	d.mu.Lock()
	d.onRelay = nil
	if when == inRelay {
		d.onRelay = strike
	}
	d.mu.Unlock()

	// Half of what was never acknowledged is sent again, as a real sender would, and some that was.
	batch := map[crypt.Digest]*packet.Packet{}
	for digest, p := range d.sent {
		if !d.acked[digest] && d.rnd.IntN(2) == 0 || d.rnd.IntN(20) == 0 {
			batch[digest] = p
		}
	}
	for range perRound {
		digest, p := d.newPacket()
		d.sent[digest], batch[digest] = p, p
	}
	var timer *time.Timer
	if when == whileSending {
		timer = time.AfterFunc(time.Duration(d.rnd.IntN(25_000))*time.Microsecond, strike)
		defer timer.Stop()
	}
	acks := 0
	wanted := 1 + d.rnd.IntN(perRound)
	d.send(batch, func() {
		if acks++; when == afterAck && acks == wanted {
			strike()
		}
	})
	switch when {
	case inBatch:
		for line := range lines {
			if line == "batch" {
				break
			}
		}
		strike()
	case whileSending, inRelay, afterAck:
		select {
		case <-killed:
		case <-time.After(10 * time.Second): // the pool may hold on to what would have been relayed
			strike()
		}
	default:
		strike()
	}
	d.kill(cmd, lines)
}

// send sends packets and notes which were acknowledged.
func (d *crashDriver) send(batch map[crypt.Digest]*packet.Packet, onAck func()) {
	c := mmtp.NewClient(mmtp.ClientConfig{ConnectTimeout: patience, AnswerTimeout: patience})
	defer c.Close()
	var items iter.Seq[mmtp.Item] = func(yield func(mmtp.Item) bool) {
		for digest, p := range batch {
			if !yield(mmtp.Item{Packet: p, Done: func(err error) {
				if err == nil && d.sent[digest] != nil {
					d.acked[digest] = true
					onAck()
				}
			}}) {
				return
			}
		}
	}
	_ = c.Send(d.t.Context(), d.mix.Hop, items) // the mix may die at any moment
}

// startNextHop plays the next hop: it remembers what arrives.
func (d *crashDriver) startNextHop() (stop func()) {
	identity, err := crypt.GenerateKey(2048)
	if err != nil {
		d.t.Fatal(err)
	}
	key, err := crypt.GenerateKey(2048)
	if err != nil {
		d.t.Fatal(err)
	}
	dec, err := crypt.StdProvider{}.Decrypter(key)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.nextKey, err = packet.NewUnwrapper(dec); err != nil {
		d.t.Fatal(err)
	}
	links, err := mmtp.NewLinkIdentity(identity, "next", time.Now)
	if err != nil {
		d.t.Fatal(err)
	}
	server, err := mmtp.NewServer(mmtp.ServerConfig{Certificate: links.Certificate, Handler: d})
	if err != nil {
		d.t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(d.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	d.next = packet.Node{
		Hop:       packet.Hop{Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port), KeyID: crypt.NewKeyID(&identity.PublicKey)},
		PacketKey: &key.PublicKey,
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(ctx, l); err != nil {
			d.t.Error(err)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// Room implements mmtp.Handler.
func (d *crashDriver) Room() bool { return true }

// Handle implements mmtp.Handler.
func (d *crashDriver) Handle(kind mmtp.Kind, p *packet.Packet, ack func(bool)) {
	if kind == mmtp.KindPacket {
		res, err := d.nextKey.Unwrap(p)
		if err != nil || res.Action != packet.Deliver {
			d.t.Errorf("the next hop got a broken packet: %v", err)
		}
		d.mu.Lock()
		d.arrived[crypt.Hash(p[2*packet.HeaderLen:])]++
		strike := d.onRelay
		d.mu.Unlock()
		if strike != nil {
			strike()
		}
	}
	ack(true)
}

func (d *crashDriver) count() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.arrived {
		n += c
	}
	return n
}

func (d *crashDriver) has(digest crypt.Digest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.arrived[digest] > 0
}

// checkStore looks into the dead mix's store: each packet that it acknowledged and that is not at the next hop must be there, and
// none may be there twice.
func (d *crashDriver) checkStore() {
	d.t.Helper()
	dir := filepath.Join(d.dir, "queues")
	report, err := store.Check(d.disk(), dir)
	if err != nil || len(report.Damage) > 0 {
		d.t.Fatalf("the store does not check: %v\n%+v", err, report)
	}
	s, err := store.Open(dir, store.Options{FS: d.disk(), Manual: true})
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			d.t.Error(err)
		}
	}()
	ids := s.Pool()
	for _, q := range s.Queues() {
		for _, it := range s.Queue(q.Name, 0) {
			ids = append(ids, it.ID)
		}
	}
	held := map[crypt.Digest]int{}
	away, err := awayServer()
	if err != nil {
		d.t.Fatal(err)
	}
	dummyFor := away.KeyID()
	dummies := 0
	for _, id := range ids {
		body, err := s.Read(id, nil)
		if err != nil {
			d.t.Fatal(err)
		}
		p := packet.Packet(body[len(body)-packet.Size:])
		if bytes.Contains(body[:len(body)-packet.Size], dummyFor[:]) {
			dummies++
		} else if _, err := d.nextKey.Unwrap(&p); err != nil {
			d.t.Fatalf("the store holds a broken packet: %v", err)
		}
		held[crypt.Hash(p[2*packet.HeaderLen:])]++
	}
	for _, n := range held {
		if n > 1 {
			d.t.Errorf("a packet is in the store %d times", n)
		}
	}
	d.dummies = max(d.dummies, dummies)
	for digest := range d.acked {
		if held[digest] == 0 && !d.has(digest) {
			d.t.Error("a packet that was acknowledged is neither in the store nor at the next hop")
		}
	}
}

// filler sends packets that only serve to push others out of the pool, and waits for the next batch.
func (d *crashDriver) filler(lines <-chan string) {
	batch := map[crypt.Digest]*packet.Packet{}
	for range 6 {
		digest, p := d.newPacket()
		batch[digest] = p
	}
	d.send(batch, func() {})
	select {
	case <-lines:
	case <-time.After(patience):
		d.t.Fatal("the mix does not mix")
	}
}

// drain lets the mix send on all that was acknowledged, and stops it cleanly.
func (d *crashDriver) drain() {
	var old []crypt.Digest
	for digest := range d.acked {
		old = append(old, digest)
	}
	cmd, lines := d.start()
	d.mu.Lock()
	d.onRelay = nil
	d.mu.Unlock()
	for range 300 {
		missing := 0
		for _, digest := range old {
			if !d.has(digest) {
				missing++
			}
		}
		if missing == 0 {
			break
		}
		d.filler(lines)
	}
	d.stop(cmd, lines)
}

// stop ends the mix as an operator does.
func (d *crashDriver) stop(cmd *exec.Cmd, lines <-chan string) {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	for range lines {
	}
	if err := cmd.Wait(); err != nil {
		d.t.Errorf("the mix did not stop cleanly: %v", err)
	}
}

// replayAll sends every packet once more and pushes what is in the pool out. Nothing that came out before may come out again.
func (d *crashDriver) replayAll() {
	cmd, lines := d.start()
	// What was on its way when the mix was stopped is sent once more, and rightly so; let that pass first.
	for range 3 {
		d.filler(lines)
	}
	d.mu.Lock()
	before := maps.Clone(d.arrived)
	d.mu.Unlock()
	d.send(d.sent, func() {})
	for range 12 {
		d.filler(lines)
	}
	d.stop(cmd, lines)
	d.mu.Lock()
	defer d.mu.Unlock()
	for digest, n := range before {
		if d.arrived[digest] != n {
			d.t.Error("a packet that was replayed went into the pool a second time")
		}
	}
}
