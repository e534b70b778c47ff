package mix_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/reassemble"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/internal/testnet/freeport"
	"mixminion/message"
	"mixminion/mix"
	"mixminion/packet"
)

// crashGatherEnv has TestMain run a mix that puts messages together: in "clear" or "sealed".
const crashGatherEnv = "MIXMINION_CRASH_GATHER"

// crashGather is the process that TestGatherCrash kills.
func crashGather(dir, addr, how string) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	cfg := testConfig(dir, l)
	if how == "sealed" {
		if cfg.Vault, err = testVault(dir); err != nil {
			return err
		}
	}
	cfg.Interval = 20 * time.Millisecond
	often := append(slices.Repeat(mix.Schedule{time.Second}, 60), 10*day)
	gather, err := mix.FragmentExit(mix.Gather{Limits: reassemble.Limits{Size: 1 << 20, Bytes: 64 << 20, Messages: 100}, Wait: 2 * day})
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(dir, "mails"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cfg.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: mailLog{out}, Retry: often}, gather}
	m, err := mix.Open(cfg)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return errors.Join(m.Run(ctx, l), m.Close(), out.Close())
}

// mailLog is an exit that writes a line for each message: its name, when it was queued, and the hash of its text. Every third time it
// puts it off.
type mailLog struct{ w io.Writer }

// Deliver implements delivery.Exit.
func (x mailLog) Deliver(ctx context.Context, items iter.Seq[delivery.Item], done func(uint64, delivery.Outcome)) error {
	for it := range items {
		if mrand.IntN(3) == 0 {
			done(it.ID, delivery.Outcome{})
			continue
		}
		d, err := message.DecodeReassembled(it.Reassembled)
		if err != nil {
			return err
		}
		digest := crypt.Hash(d.Body)
		if _, err := fmt.Fprintf(x.w, "%x %d %x\n", it.Nonce, it.Queued.Unix(), digest); err != nil {
			return err
		}
		done(it.ID, delivery.Outcome{Status: delivery.Delivered})
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// A mix that is killed again and again while it puts messages together delivers each of them, and none twice but for a kill between the
// delivery and its note of it; then it is the same mail.
func TestGatherCrash(t *testing.T) {
	for _, how := range []string{"clear", "sealed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel() // with the other one
			testGatherCrash(t, how, max(1, *kills/8))
		})
	}
}

func testGatherCrash(t *testing.T, how string, kills int) {
	dir := t.TempDir()
	d := &crashDriver{
		t: t, dir: dir, addr: freeport.Addr(t), env: crashGatherEnv + "=" + how,
		sent: map[crypt.Digest]*packet.Packet{}, acked: map[crypt.Digest]bool{},
	}
	disk := store.OS
	d.kill(d.start()) // the first start makes the keys
	if how == "sealed" {
		disk = testDisk(t, dir)
	}

	var packets []*packet.Packet
	want := map[string]bool{}
	for i := range 3 * kills {
		body := make([]byte, 40_000+30_000*(i%3))
		_, _ = rand.Read(body)
		enc, err := message.EncodeForServer(rand.Reader, append([]byte("\n"), body...), packet.TypeSMTP, somebody)
		if err != nil {
			t.Fatal(err)
		}
		digest := crypt.Hash(body)
		want[hex.EncodeToString(digest[:])] = true
		for i := range enc.Payloads {
			p, err := packet.BuildForward(rand.Reader, []packet.Node{d.mix}, []packet.Node{d.mix}, packet.Exit{Type: packet.TypeFragment}, &enc.Payloads[i])
			if err != nil {
				t.Fatal(err)
			}
			packets = append(packets, p)
		}
	}
	mrand.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })

	share := (len(packets) + kills - 1) / kills
	for range kills {
		cmd, lines := d.start()
		batch := map[crypt.Digest]*packet.Packet{}
		for _, p := range packets[:min(share, len(packets))] {
			digest := crypt.Hash(p[:])
			d.sent[digest], batch[digest] = p, p
		}
		packets = packets[min(share, len(packets)):]
		for digest, p := range d.sent {
			if !d.acked[digest] {
				batch[digest] = p
			}
		}
		strike := time.AfterFunc(time.Duration(mrand.IntN(300))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		d.send(batch, func() {})
		for range lines { // until it is dead
		}
		strike.Stop()
		d.kill(cmd, lines)
		if report, err := store.Check(disk, filepath.Join(dir, "queues")); err != nil || len(report.Damage) > 0 {
			t.Fatalf("the store does not check: %v\n%+v", err, report)
		}
	}

	cmd, lines := d.start()
	rest := map[crypt.Digest]*packet.Packet{}
	for digest, p := range d.sent {
		if !d.acked[digest] {
			rest[digest] = p
		}
	}
	d.send(rest, func() {})
	mails := map[string][]string{}
	eventually(t, "all messages are delivered", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "mails"))
		if err != nil {
			return false
		}
		clear(mails)
		for line := range strings.Lines(string(text)) {
			name, digest, _ := strings.Cut(line, " ")
			when, digest, _ := strings.Cut(strings.TrimSpace(digest), " ")
			mails[digest] = append(mails[digest], name+" "+when)
		}
		return len(mails) == len(want)
	})
	d.stop(cmd, lines)
	twice := 0
	for digest, names := range mails {
		if !want[digest] {
			t.Error("a message was changed")
		}
		twice += len(names) - 1
		if len(slices.Compact(names)) != 1 {
			t.Errorf("one message was mailed as %q", names)
		}
	}
	if twice > kills {
		t.Errorf("%d mails were sent once more, after %d kills", twice, kills)
	}
	t.Logf("%d messages in %d fragments, %d kills, %d mails twice", len(want), len(d.sent), kills, twice)

	s, err := store.Open(filepath.Join(dir, "queues"), store.Options{FS: disk, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range s.Queues() {
		if q.Name[0] == 'w' {
			t.Errorf("%d fragments of whole messages are left", q.Count)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if how == "sealed" {
		files, err := filepath.Glob(filepath.Join(dir, "queues", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if data := mustRead(t, name); bytes.Contains(data, somebody) {
				t.Errorf("%s holds an address", filepath.Base(name))
			}
		}
	}
}
