package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixminion/internal/clock"
)

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = DIR
myhostname = smart.example.net
mydestination =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_recipient_restrictions = reject_unauth_destination
virtual_mailbox_domains = mix.example
virtual_mailbox_maps = inline:{ answer@mix.example=answer }
virtual_transport = lmtp:inet:LMTP
`

const postfixMaster = `127.0.0.1:PORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// missing skips a test that needs something from outside. In continuous integration nothing may be missing.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// until waits until done, at most a minute, and reports whether it came to that.
func until(done func() bool) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			return false
		}
	}
	return true
}

// startPostfix starts a Postfix of our own that hands the gateway's mail to a server of LMTP. flush has it try at once what waits.
func startPostfix(t *testing.T, lmtp string) (addr string, flush func()) {
	t.Helper()
	program, err := exec.LookPath("postfix")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/postfix"); err != nil {
			missing(t, "the program postfix (Debian package postfix)")
		}
	}
	var sudo []string
	if os.Getuid() != 0 {
		sudo = []string{"sudo", "-n"}
		if exec.CommandContext(t.Context(), "sudo", "-n", "true").Run() != nil {
			missing(t, "root's power to start Postfix (being root, or sudo without password)")
		}
	}
	asRoot := func(args ...string) error {
		args = append(sudo, args...)
		// Not the test's context: that has ended when the instance is stopped.
		out, err := exec.CommandContext(context.Background(), args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	dir, err := os.MkdirTemp("", "postfix")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := asRoot("rm", "-rf", dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	fill := strings.NewReplacer("DIR", dir, "PORT", port, "LMTP", lmtp)
	conf := filepath.Join(dir, "conf")
	for name, text := range map[string]string{"main.cf": fill.Replace(postfixMain), "master.cf": fill.Replace(postfixMaster)} {
		if err := errors.Join(os.MkdirAll(conf, 0o755), os.WriteFile(filepath.Join(conf, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range [][]string{
		{"chown", "-R", "root:root", conf},
		{"chmod", "-R", "go+rX", conf},
		{"install", "-d", "-o", "root", filepath.Join(dir, "queue")},
		{"install", "-d", "-o", "postfix", filepath.Join(dir, "data")},
		{program, "-c", conf, "start"},
	} {
		if err := asRoot(command...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := asRoot(program, "-c", conf, "abort"); err != nil {
			t.Error(err)
		}
		// Its files can only be removed when it has gone.
		if !until(func() bool { return asRoot(program, "-c", conf, "status") != nil }) {
			t.Error("Postfix does not stop")
		}
	})
	return addr, func() {
		if err := asRoot(program, "-c", conf, "flush"); err != nil {
			t.Error(err)
		}
	}
}

// TestPostfix has a real mail server hand over mail: it keeps what the gateway cannot take, and brings it again.
func TestPostfix(t *testing.T) {
	if testing.Short() {
		t.Skip("a mail server takes a while to start")
	}
	g, n := newGateway(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- g.Run(ctx, "", clock.Real{}, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	addr, flush := startPostfix(t, l.Addr().String())
	state := func() (tried, sent int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.tried, len(n.replies)
	}

	n.mu.Lock()
	n.fail = errors.New("no directory")
	n.mu.Unlock()
	block := goodBlock(t)
	text := "Gr\u00fc\u00dfe\n.\n" + quoted(armored(block))
	raw := letter(text, "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")
	bounce := letter("text\n" + armored(goodBlock(t)))
	if !until(func() bool { return smtp.SendMail(addr, nil, "", []string{address}, bounce) == nil }) {
		t.Fatal("Postfix does not take mail")
	}
	if err := smtp.SendMail(addr, nil, "bob@example.com", []string{address}, raw); err != nil {
		t.Fatal(err)
	}
	if !until(func() bool { tried, _ := state(); return tried > 0 }) {
		t.Fatal("Postfix hands over nothing")
	}
	n.mu.Lock()
	n.fail = nil
	n.mu.Unlock()
	if !until(func() bool { flush(); _, sent := state(); return sent > 0 }) {
		t.Fatal("Postfix has not brought the mail again")
	}
	if got := n.replies[0].said(t); len(n.replies) != 1 || n.replies[0].blocks[0].Header != block.Header || got != preamble+"Gr\u00fc\u00dfe\n.\n" {
		t.Errorf("%d replies, %q", len(n.replies), got)
	}
}
