package mix_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/mail"
	"mixminion/internal/clock"
	"mixminion/message"
	"mixminion/mix"
	"mixminion/packet"
)

const (
	exitCrashDirEnv     = "MIXMINION_EXIT_CRASH_DIR"
	exitCrashServersEnv = "MIXMINION_EXIT_CRASH_SERVERS"
)

// crashExit is the process that TestExitCrash kills: a mix that finds a message in the queue of its exit.
func crashExit(dir, servers string) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg := testConfig(dir, l)
	cfg.Clock = clock.NewManual(start.Add(time.Hour))
	exit, err := delivery.NewSMTP(delivery.SMTPConfig{
		Mail:              mail.Options{ReturnAddress: "nobody@exit.example.org"},
		MaximumRecipients: packet.MaxRecipients,
		TransportConfig: delivery.TransportConfig{
			Servers: strings.Fields(servers), TLS: delivery.TLSOff, Timeout: patience, Now: cfg.Clock.Now,
		},
	})
	if err != nil {
		return err
	}
	cfg.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{10 * day}}}
	m, err := mix.Open(cfg)
	if err != nil {
		return err
	}
	return errors.Join(m.Run(context.Background(), l), m.Close())
}

// A crashServer speaks SMTP and remembers whom it took mails for.
type crashServer struct {
	addr   string
	refuse string                             // says of this mailbox that it does not relay to it
	on     func(command string) (hangUp bool) // told of each command, and of "." after a mail, before it is answered

	mu    sync.Mutex
	asked []string // in RCPT
	mails []string // with their recipients in front
	wait  sync.WaitGroup
}

func (s *crashServer) serve(t *testing.T) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	s.wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wait.Go(func() { s.talk(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.wait.Wait()
	})
}

func (s *crashServer) talk(c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	say("220 ready")
	var to []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		word, _, _ := strings.Cut(line, " ")
		if word != "DATA" && s.on != nil && s.on(word) {
			return
		}
		switch word {
		case "RCPT":
			addr := strings.Trim(strings.TrimPrefix(line, "RCPT TO:"), "<>")
			s.mu.Lock()
			s.asked = append(s.asked, addr)
			s.mu.Unlock()
			if addr == s.refuse {
				say("550 relay not permitted")
				continue
			}
			to = append(to, addr)
			say("250 ok")
		case "DATA":
			say("354 go")
			var text strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(line)
			}
			s.mu.Lock()
			s.mails = append(s.mails, strings.Join(to, " ")+"\n"+text.String())
			s.mu.Unlock()
			to = nil
			if s.on != nil && s.on(".") {
				return
			}
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *crashServer) seen() (asked, mails []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked), slices.Clone(s.mails)
}

// mailTo builds a packet with a mail that leaves the network at the mix.
func (r *rig) mailTo(addrs ...string) *packet.Packet {
	r.t.Helper()
	encoded, err := message.Encode(rand.Reader, []byte("\nhello\n"), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	tag, err := message.PlainTag(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	self := []packet.Node{r.node}
	p, err := packet.BuildForward(rand.Reader, self, self, packet.Exit{Type: packet.TypeSMTP, Tag: &tag, Info: mail.JoinAddresses(addrs)}, &encoded.Payloads[0])
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// An exit that is killed after some of a mail's recipients were served never sends it to those again. Where an answer was lost, the mail
// comes again with the bytes that it had, its Message-ID and date among them.
func TestExitCrash(t *testing.T) {
	waiting := &fakeExit{stop: func(int) error { return errors.New("the mail server is down") }}
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: waiting, Retry: mix.Schedule{10 * day}}}
	}).run()
	r.mustSend(r.mailTo("a@example.com", "b@example.com", "c@example.com"))
	r.mixOnce()
	eventually(t, "the exit is tried", func() bool { return len(waiting.seen()) > 0 })
	r.close()

	first, second := &crashServer{refuse: "b@example.com"}, &crashServer{}
	reached := make(chan struct{}, 1)
	dead := make(chan struct{})
	var strike atomic.Value // the command to the second server at which the mix is killed
	second.on = func(command string) bool {
		if command != strike.Load() {
			return false
		}
		reached <- struct{}{}
		<-dead
		return true
	}
	first.serve(t)
	second.serve(t)
	for _, command := range []string{"MAIL", ".", "QUIT"} {
		strike.Store(command)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), exitCrashDirEnv+"="+strings.TrimSuffix(r.cfg.QueueDir, "/queues"),
			exitCrashServersEnv+"="+first.addr+" "+second.addr)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-reached:
		case <-time.After(patience):
			t.Error("the mix does not go on")
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, which is an error
		dead <- struct{}{}
	}
	asked, mails := first.seen()
	if want := []string{"a@example.com", "b@example.com", "c@example.com", "b@example.com", "b@example.com"}; !slices.Equal(asked, want) {
		t.Errorf("the first server was asked for %v, want %v", asked, want)
	}
	if len(mails) != 1 {
		t.Fatalf("the first server got %d mails", len(mails))
	}
	_, again := second.seen()
	if len(again) != 2 || again[0] != again[1] {
		t.Fatalf("the second server got %q", again)
	}
	to, text, _ := strings.Cut(mails[0], "\n")
	if toAgain, textAgain, _ := strings.Cut(again[0], "\n"); to != "a@example.com c@example.com" || toAgain != "b@example.com" || text != textAgain {
		t.Errorf("%s and %s got\n%s\nand\n%s", to, toAgain, text, textAgain)
	}
	if items := r.exitItems(); len(items) != 0 {
		t.Errorf("%d messages wait", len(items))
	}
}
