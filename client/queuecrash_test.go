package client_test

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/mmtp"
	"mixminion/packet"
)

const (
	addrEnv  = "MIXMINION_TEST_PORT"
	keyEnv   = "MIXMINION_TEST_KEYID"
	drainEnv = "MIXMINION_TEST_DRAIN" // only flush, once
)

// helpQueue is the process that TestQueueCrash kills: it queues and flushes without end, and says on standard output what it does.
func helpQueue(ctx context.Context, home string) error {
	c, err := client.Open(home, client.Options{Clock: clock.NewManual(noon)})
	if err != nil {
		return err
	}
	hop := packet.Hop{Host: "127.0.0.1"}
	if _, err := fmt.Sscan(os.Getenv(addrEnv), &hop.Port); err != nil {
		return err
	}
	id, err := hex.DecodeString(os.Getenv(keyEnv))
	if err != nil {
		return err
	}
	copy(hop.KeyID[:], id)
	for {
		unlock, err := c.Lock(ctx, nil)
		if err != nil {
			return err
		}
		if os.Getenv(drainEnv) == "" {
			if err := helpEnqueue(c, hop); err != nil {
				return err
			}
		}
		r, err := c.Flush(ctx, nil, 0, nil)
		if err != nil {
			return err
		}
		if r.Kept > 0 || r.Damaged != nil {
			return fmt.Errorf("flushed %+v", r)
		}
		if err := unlock(); err != nil {
			return err
		}
		if os.Getenv(drainEnv) != "" {
			return nil
		}
	}
}

func helpEnqueue(c *client.Client, hop packet.Hop) error {
	p := new(client.Prepared)
	line := "new"
	for range 1 + rand.IntN(6) {
		pk := client.PreparedPacket{First: hop, Packet: new(packet.Packet)}
		if _, err := crand.Read(pk.Packet[:]); err != nil {
			return err
		}
		p.Packets = append(p.Packets, pk)
		digest := crypt.Hash(pk.Packet[:])
		line += " " + hex.EncodeToString(digest[:])
	}
	fmt.Println(line)
	if _, err := c.Enqueue(context.Background(), p); err != nil {
		return err
	}
	fmt.Println("queued")
	return nil
}

// A crashHop is the first hop of TestQueueCrash. It counts what it acknowledges.
type crashHop struct {
	mu       sync.Mutex
	arrived  map[string]int
	onPacket func() // called before a packet is acknowledged
}

func (h *crashHop) Room() bool { return true }

func (h *crashHop) Handle(_ mmtp.Kind, p *packet.Packet, ack func(bool)) {
	digest := crypt.Hash(p[:])
	h.mu.Lock()
	h.arrived[hex.EncodeToString(digest[:])]++
	if h.onPacket != nil {
		h.onPacket()
	}
	h.mu.Unlock()
	ack(true)
}

func (h *crashHop) watch(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onPacket = f
}

// crashKills is how often TestQueueCrash kills, and crashWindow how many packets may be on a link without an answer: only those may
// come twice.
const (
	crashKills  = 10
	crashWindow = 16
)

// TestQueueCrash kills a process that sends, again and again, and looks with lists of its own for each packet that was promised.
func TestQueueCrash(t *testing.T) {
	s := mixServers()[0]
	hop := &crashHop{arrived: map[string]int{}}
	addr := serve(t, s, hop)
	home := t.TempDir()
	env := []string{fmt.Sprintf("%s=%d", addrEnv, addr.Port), keyEnv + "=" + hex.EncodeToString(addr.KeyID[:])}
	rnd := rand.New(rand.NewPCG(1, 2))
	var promised, unsure [][]string
	for i := range crashKills {
		cmd, _, out := helper(t, "queue", home, env...)
		a, b := crashRound(t, cmd, out, hop, i, rnd)
		promised = append(promised, a...)
		if b != nil {
			unsure = append(unsure, b)
		}
	}
	for range 2 {
		hop.watch(nil)
		cmd, _, out := helper(t, "queue", home, append(env, drainEnv+"=1")...)
		for out.Scan() {
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if left := queueNames(t, home); len(left) > 0 {
		t.Errorf("left in the queue: %v", left)
	}
	total, repeats := 0, 0
	for _, batch := range promised {
		for _, digest := range batch {
			total++
			n := hop.arrived[digest]
			if n == 0 {
				t.Error("a packet that was queued is lost")
			}
			repeats += max(n-1, 0)
		}
	}
	for _, batch := range unsure {
		n := 0
		for _, digest := range batch {
			if hop.arrived[digest] > 0 {
				n++
			}
		}
		if n != 0 && n != len(batch) {
			t.Errorf("%d of %d packets of a message are sent", n, len(batch))
		}
	}
	if repeats > crashKills*crashWindow {
		t.Errorf("%d packets were sent again, though the server had acknowledged them", repeats)
	}
	t.Logf("%d packets, %d repeats, %d messages cut off", total, repeats, len(unsure))
}

// crashRound lets the process work and kills it. It returns the batches that the process had queued, and the one that it was about to
// queue, if any.
func crashRound(t *testing.T, cmd *exec.Cmd, out *bufio.Scanner, hop *crashHop, i int, rnd *rand.Rand) (promised [][]string, last []string) {
	t.Helper()
	var once sync.Once
	strike := func() { once.Do(func() { _ = cmd.Process.Kill() }) } // it may be dead already
	batches, wait := 1+rnd.IntN(8), time.Duration(rnd.IntN(4000))*time.Microsecond
	hop.watch(nil)
	var timer *time.Timer
	for out.Scan() {
		words := strings.Fields(out.Text())
		switch words[0] {
		case "new":
			last = words[1:]
			if batches--; batches == 0 && i%3 == 0 { // while it queues
				timer = time.AfterFunc(wait, strike)
			}
		case "queued":
			promised, last = append(promised, last), nil
			if batches > 0 {
				continue
			}
			if i%3 == 1 { // when the server has a packet and has not acknowledged it
				hop.watch(strike)
			} else { // at any time
				timer = time.AfterFunc(wait, strike)
			}
		default:
			t.Fatalf("the process says %q", out.Text())
		}
	}
	strike()
	if timer != nil {
		timer.Stop()
	}
	_ = cmd.Wait() // it was killed, which is an error
	if len(promised) == 0 && last == nil {
		t.Fatal("the process did nothing")
	}
	return promised, last
}
