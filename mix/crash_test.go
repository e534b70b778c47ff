package mix_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/internal/testnet/freeport"
	"mixminion/internal/testnet/testdir"
	"mixminion/mix"
	"mixminion/packet"
)

var kills = flag.Int("kills", defaultKills, "how often the crash test kills the mix")

const (
	crashDirEnv  = "MIXMINION_CRASH_DIR"
	crashAddrEnv = "MIXMINION_CRASH_ADDR"
	crashSealEnv = "MIXMINION_CRASH_SEALED"
)

// crashMix is the process that TestCrash kills.
func crashMix(dir, addr string) error {
	if how := os.Getenv(crashGatherEnv); how != "" {
		return crashGather(dir, addr, how)
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	cfg := testConfig(dir, l)
	if os.Getenv(crashSealEnv) != "" {
		if cfg.Vault, err = testVault(dir); err != nil {
			return err
		}
	}
	cfg.Interval = 40 * time.Millisecond
	cfg.Rule = mix.Rule{Algorithm: mix.Cottrell, MinSize: 4, Rate: 0.7}
	cfg.OutgoingRetry = mix.Schedule{50 * time.Millisecond, 50 * time.Millisecond, time.Hour}
	away, err := awayServer()
	if err != nil {
		return err
	}
	cfg.Cover, cfg.Servers = 10000, func() []*directory.Descriptor { return []*directory.Descriptor{away} }
	cfg.Watch = func(b mix.Batch) {
		if b.Left > 0 {
			fmt.Println("batch")
		}
	}
	m, err := mix.Open(cfg)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return errors.Join(m.Run(ctx, l), m.Close())
}

// awayServer is where the cover traffic of the mix goes: nobody listens there, so that dummies stay in the store.
func awayServer() (*directory.Descriptor, error) {
	return testdir.Server("away", 0, time.Now().UTC().Truncate(day), func(f *directory.Fields) {
		f.Incoming.Hostname, f.Incoming.Port = "127.0.0.1", 9
	})
}

// phase is when a kill strikes.
type phase int

const (
	whileSending phase = iota // before, in or after a commit: some time after packets went off
	afterAck                  // right after an acknowledgement
	inBatch                   // right after a batch was moved to its queue
	inRelay                   // when the next hop has a packet and has not acknowledged it
	phases
)

// TestCrash kills a mix again and again, in every phase of its work, and then looks for each packet that it had acknowledged.
func TestCrash(t *testing.T) {
	t.Run("clear", func(t *testing.T) {
		t.Parallel() // with the other one
		testCrash(t, *kills-*kills/2, false)
	})
	t.Run("sealed", func(t *testing.T) {
		t.Parallel()
		testCrash(t, *kills/2, true)
	})
}

func testCrash(t *testing.T, kills int, sealed bool) {
	seed := [32]byte{42}
	dir := t.TempDir()
	d := &crashDriver{
		t: t, dir: dir, disk: func() store.FS { return store.OS }, addr: freeport.Addr(t), src: rand.NewChaCha8(seed), rnd: rand.New(rand.NewChaCha8(seed)),
		sent: map[crypt.Digest]*packet.Packet{}, acked: map[crypt.Digest]bool{}, arrived: map[crypt.Digest]int{},
	}
	if sealed {
		d.env = crashSealEnv + "=yes"
		d.disk = func() store.FS { return testDisk(t, dir) }
	}
	stopNext := d.startNextHop()
	defer stopNext()
	d.round(-1) // the first start makes the keys

	for i := range kills {
		d.round(phase(i % int(phases)))
		d.checkStore()
	}
	t.Logf("%d packets sent, %d acknowledged, %d arrived before the last start, %d dummies", len(d.sent), len(d.acked), d.count(), d.dummies)
	d.drain()
	for digest := range d.acked {
		if d.arrived[digest] == 0 {
			t.Errorf("a packet that was acknowledged is lost")
		}
	}
	// Everything is out. What is sent again now must not come out again: the mix has it in its replay log.
	d.replayAll()
}
