//go:build linux

// Package hostile_test lets a real mixminiond, in a process of its own, be attacked from all sides, and looks at its
// memory and at what becomes of the packets of an honest peer. It needs /proc, and that all of 127.0.0.0/8 is this
// machine.
package hostile_test

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/cli"
	"mixminion/internal/crypt"
	"mixminion/internal/testnet/freeport"
	"mixminion/mmtp"
	"mixminion/packet"
)

var hostile = flag.Int("hostile", connections, "how many hostile connections there are")

// beMixEnv makes this program mixminiond.
const beMixEnv = "MIXMINION_HOSTILE_MIX"

func TestMain(m *testing.M) {
	if os.Getenv(beMixEnv) != "" {
		os.Exit(cli.Mixminiond(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

const (
	// honest is how many packets the honest peer sends during each part of the attack, and its source network one from
	// which nobody else comes.
	honest       = 6
	honestSource = "127.250.0.1"
	// What memory a mix may take: idle, for each connection with a packet in reading, and for packets that wait for their acknowledgement.
	idleMemory  = 160 << 20
	perPeer     = 128 << 10
	packetsRoom = 1024 * packet.Size
)

// patience bounds how long the test waits for what must happen.
func patience() time.Duration { return 4 * time.Minute * time.Duration(max(1, *hostile/1000)) }

// TestHostilePeers: with the default limits, and then, while the attack goes on, with room for all after a reload.
func TestHostilePeers(t *testing.T) {
	needFiles(t, uint64(*hostile+300))
	m := startMix(t)
	idle := m.memory(t)
	attack := startAttack(m.addr, *hostile)
	defer attack.stop()
	for _, c := range []struct {
		name   string
		limits string
		places int // MaxConnections
		on     func() bool
	}{
		{"default limits", "", mmtp.DefaultMaxConnections, func() bool { return attack.made.Load() >= int64(*hostile) }},
		// Of the 16 sorts the mix throws 5 out at once, and they come again, as do those who reset.
		{"all are let in", fmt.Sprintf("MaxConnections: %d\nMaxConnectionsPerSource: %d\nConnectionRate: 1000000\nTotalConnectionRate: 1000000\n",
			*hostile+100, *hostile), *hostile + 100, func() bool { return attack.open.Load() >= int64(*hostile)/2 }},
	} {
		if c.limits != "" {
			m.reload(t, c.limits)
		}
		eventually(t, "the attack is on: "+c.name, c.on)
		begun := time.Now()
		m.sendAll(t, honest)
		peak := m.memory(t)
		t.Logf("%s: %d connections were made, %d are open; %d packets of the honest peer arrived in %v; the mix took %d MB idle and %d MB at most",
			c.name, attack.made.Load(), attack.open.Load(), honest, time.Since(begun).Round(time.Second/10), idle>>20, peak>>20)
		if limit := memoryFactor * (idleMemory + c.places*perPeer + packetsRoom); peak > limit {
			t.Errorf("%s: the mix took %d MB; %d MB are the limit", c.name, peak>>20, limit>>20)
		}
	}
	attack.stop()
	for _, problem := range attack.problems() {
		t.Error(problem)
	}
	m.sendAll(t, 1)
	m.stop(t)
	m.checkLog(t)
}

func needFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < n { // the runtime has raised it as far as it may
		t.Fatalf("the test needs %d open files in each of two processes, and the limit is %d: raise it (ulimit -Hn)", n, limit.Cur)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	step := time.NewTicker(20 * time.Millisecond)
	defer step.Stop()
	end := time.After(patience())
	for !ok() {
		select {
		case <-step.C:
		case <-end:
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// mixUnderAttack is a mixminiond, the honest peer that sends packets over it, and the hop behind it, where they must arrive.
type mixUnderAttack struct {
	dir  string
	conf string
	addr string
	cmd  *exec.Cmd
	node packet.Node
	next packet.Node
	keys *packet.Unwrapper // of next

	mu      sync.Mutex
	arrived map[crypt.Digest]int
}

func startMix(t *testing.T) *mixUnderAttack {
	t.Helper()
	m := &mixUnderAttack{dir: filepath.Join(t.TempDir(), "mix"), addr: freeport.Addr(t), arrived: map[crypt.Digest]int{}}
	m.startNextHop(t)
	m.configure(t, "")
	m.cmd = exec.Command(os.Args[0], "start", "-f", m.conf, "--quiet")
	m.cmd.Env = append(os.Environ(), beMixEnv+"=1")
	m.cmd.Stdout, m.cmd.Stderr = os.Stdout, os.Stderr
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if m.cmd.ProcessState == nil {
			_ = m.cmd.Process.Kill() // the test has failed
			_ = m.cmd.Wait()
		}
	})
	eventually(t, "the mix listens", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
	data, err := os.ReadFile(filepath.Join(m.dir, "keys", "key_0001", "ServerDesc"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.ParseDescriptor(data)
	if err != nil {
		t.Fatal(err)
	}
	m.node = d.Node()
	return m
}

// configure writes the configuration, with limits for incoming connections.
func (m *mixUnderAttack) configure(t *testing.T, limits string) {
	t.Helper()
	_, port, err := net.SplitHostPort(m.addr)
	if err != nil {
		t.Fatal(err)
	}
	m.conf = m.dir + ".conf"
	text := fmt.Sprintf(`[Server]
BaseDir: %s
Nickname: target
Contact-Email: operator@example.com
MixAlgorithm: Timed
MixInterval: 1 second
MixCover: 0
[Incoming/MMTP]
Enabled: yes
IP: 127.0.0.1
Hostname: 127.0.0.1
Port: %s
%s[Outgoing/MMTP]
Enabled: yes
PrivateAddresses: yes
Retry: every 2 seconds for 10 minutes
`, m.dir, port, limits)
	if err := os.WriteFile(m.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload has the mix that runs take other limits.
func (m *mixUnderAttack) reload(t *testing.T, limits string) {
	t.Helper()
	m.configure(t, limits)
	cmd := exec.Command(os.Args[0], "reload", "-f", m.conf)
	cmd.Env = m.cmd.Env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("reload: %v\n%s", err, out)
	}
}

func (m *mixUnderAttack) startNextHop(t *testing.T) {
	t.Helper()
	identity, err := crypt.GenerateKey(2048)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := crypt.StdProvider{}.Decrypter(identity)
	if err != nil {
		t.Fatal(err)
	}
	if m.keys, err = packet.NewUnwrapper(dec); err != nil {
		t.Fatal(err)
	}
	links, err := mmtp.NewLinkIdentity(identity, "next", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	server, err := mmtp.NewServer(mmtp.ServerConfig{Certificate: links.Certificate, Handler: m})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.next = packet.Node{PacketKey: &identity.PublicKey, Hop: packet.Hop{
		Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port), KeyID: crypt.NewKeyID(&identity.PublicKey),
	}}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// Room implements mmtp.Handler.
func (m *mixUnderAttack) Room() bool { return true }

// Handle implements mmtp.Handler.
func (m *mixUnderAttack) Handle(kind mmtp.Kind, p *packet.Packet, ack func(bool)) {
	if kind == mmtp.KindPacket {
		if _, err := m.keys.Unwrap(p); err == nil {
			m.mu.Lock()
			m.arrived[crypt.Hash(p[2*packet.HeaderLen:])]++
			m.mu.Unlock()
		}
	}
	ack(true)
}

// sendAll sends packets from the honest peer, each until it is acknowledged, and waits until all have arrived behind the mix, once.
func (m *mixUnderAttack) sendAll(t *testing.T, n int) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(honestSource)}}
	client := mmtp.NewClient(mmtp.ClientConfig{Dial: dialer.DialContext})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	defer cancel()

	waiting := map[crypt.Digest]*packet.Packet{}
	var all []crypt.Digest
	for range n {
		payload := new(packet.Payload)
		rand.Read(payload[:])
		p, err := packet.BuildForward(rand.Reader, []packet.Node{m.node}, []packet.Node{m.next}, packet.Exit{Type: packet.TypeDrop}, payload)
		if err != nil {
			t.Fatal(err)
		}
		d := crypt.Hash(payload[:])
		waiting[d] = p
		all = append(all, d)
	}
	for attempt := 1; len(waiting) > 0; attempt++ {
		acked := map[crypt.Digest]bool{}
		err := client.Send(ctx, m.node.Hop, func(yield func(mmtp.Item) bool) {
			for d, p := range waiting {
				if !yield(mmtp.Item{Packet: p, Done: func(err error) { acked[d] = err == nil }}) {
					return
				}
			}
		})
		if err != nil && ctx.Err() != nil {
			t.Fatalf("after %d attempts %d packets are not acknowledged: %v", attempt, len(waiting), err)
		}
		for d, ok := range acked {
			if ok {
				delete(waiting, d)
			}
		}
		if err != nil {
			time.Sleep(200 * time.Millisecond) // as a client would that was turned away
		}
	}
	for _, d := range all {
		eventually(t, "a packet that was acknowledged arrives", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.arrived[d] > 0
		})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range all {
		if m.arrived[d] != 1 {
			t.Errorf("a packet arrived %d times", m.arrived[d])
		}
	}
}

// memory is what the system counts as the most that the mix has taken up of it so far, in bytes.
func (m *mixUnderAttack) memory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Fatal("the mix has ended, or this system has no /proc")
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// stop ends the mix in good order.
func (m *mixUnderAttack) stop(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Wait(); err != nil {
		t.Errorf("the mix: %v", err)
	}
}

// checkLog: an attack does not fill the log, nor does the log tell of it.
func (m *mixUnderAttack) checkLog(t *testing.T) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "\n"); n > 20 || strings.Contains(string(log), "127.") || strings.Contains(string(log), "panic") {
		t.Errorf("the log, of %d lines:\n%.4000s", n, log)
	}
}
