package delivery_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/message"
)

// missing skips a test that needs something from outside. In continuous integration nothing may be missing.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// postfix is an instance of Postfix of our own: its configuration, queue and mailboxes lie in a directory of the test.
type postfix struct {
	addr   string
	caFile string
	mail   string // a Maildir for each user
	conf   string // the directory of the configuration
}

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
message_size_limit = 44000
smtpd_recipient_restrictions = reject_unauth_destination,
  check_recipient_access inline:{ { later@example.com = 450 4.2.0 try again } { grey@example.com = greylist } }
smtpd_restriction_classes = greylist
greylist = check_policy_service inet:127.0.0.1:POLICY
smtpd_tls_security_level = may
smtpd_tls_chain_files = DIR/server.pem
virtual_mailbox_domains = example.com
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ bob@example.com=bob/ carol@example.com=carol/ dora@example.com=dora/ grey@example.com=grey/ later@example.com=later/ }
virtual_uid_maps = static:UID
virtual_gid_maps = static:UID
virtual_minimum_uid = 1
`

const postfixMaster = `127.0.0.1:PORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`

func startPostfix(t *testing.T) *postfix {
	t.Helper()
	program, err := exec.LookPath("postfix")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/postfix"); err != nil {
			missing(t, "the program postfix (Debian package postfix)")
		}
	}
	var sudo []string
	uid := os.Getuid()
	if uid == 0 {
		uid = 65534 // Postfix delivers nothing as root
	} else {
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
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postfix{addr: ln.Addr().String(), mail: filepath.Join(dir, "mail")}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	config, ca := certificate(t, "127.0.0.1")
	p.caFile = ca
	key, err := x509.MarshalPKCS8PrivateKey(config.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	chain = append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), chain...)

	_, port, _ := net.SplitHostPort(p.addr)
	fill := strings.NewReplacer("DIR", dir, "UID", strconv.Itoa(uid), "PORT", port, "POLICY", startGreylist(t))
	for name, text := range map[string]string{
		"server.pem":     string(chain),
		"conf/main.cf":   fill.Replace(postfixMain),
		"conf/master.cf": fill.Replace(postfixMaster),
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "conf")
	p.conf = conf
	for _, command := range [][]string{
		{"chown", "-R", "root:root", conf},
		{"chmod", "-R", "go+rX", conf},
		{"install", "-d", "-o", "root", filepath.Join(dir, "queue")},
		{"install", "-d", "-o", "postfix", filepath.Join(dir, "data")},
		{"install", "-d", "-o", strconv.Itoa(uid), filepath.Join(dir, "mail")},
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
		if !poll(func() bool { return asRoot(program, "-c", conf, "status") != nil }) {
			t.Error("Postfix does not stop")
		}
	})
	return p
}

// mails waits until n mails lie in a user's inbox and returns them.
func (p *postfix) mails(t *testing.T, user string, n int) (mails []string) {
	t.Helper()
	dir := filepath.Join(p.mail, user, "new")
	var files []os.DirEntry
	if !poll(func() bool {
		var err error
		if files, err = os.ReadDir(dir); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return len(files) >= n
	}) {
		t.Fatalf("%d of %d mails have arrived", len(files), n)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, string(data))
	}
	return mails
}

// messageID of a mail.
func messageID(t *testing.T, mail string) string {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(mail))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header.Get("Message-ID")
}

// poll waits until done, at most a minute, and reports whether it came to that.
func poll(done func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
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

// everyKind is one message of each kind and shape to a mailbox.
func everyKind(t *testing.T, to string) []delivery.Item {
	t.Helper()
	items := []delivery.Item{
		item(t, 1, to, "FROM:Demo\nSUBJECT:Demo subject\n\nHello\n.\n..\nFrom the start\n-- \nDemo"),
		item(t, 2, to, "\nSchöne Grüße\r\n.\rüber das Netz\n"),
		item(t, 3, to, "\n"+strings.Repeat("a long line ", 500)),
		item(t, 4, to, "\nbinary \x00\xff\n"),
		item(t, 5, to, "\n"+strings.Repeat("z", 60<<10)), // overcompressed
		item(t, 6, to, "\nreply\n"),
		item(t, 7, to, "\nfragment\n"),
		item(t, 8, to, "\nLatin-1: \xfcber\n"),
		item(t, 9, to, ""),
	}
	items[5].Payload[100] ^= 1
	fragmented, err := message.Encode(zeros{}, []byte(randomText(120<<10)), 0)
	if err != nil {
		t.Fatal(err)
	}
	items[6].Payload = &fragmented.Payloads[0]
	return items
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// One instance serves all tests, in which messages have different Message-IDs.
func TestPostfix(t *testing.T) {
	server := startPostfix(t)
	t.Run("every kind", func(t *testing.T) { testEveryKind(t, server) })
	t.Run("decoding", func(t *testing.T) { testDecodingWhatPostfixDelivers(t, server) })
	t.Run("recipients", func(t *testing.T) { testRecipientsOfPostfix(t, server) })
	t.Run("relaying", func(t *testing.T) { testRelayingOfPostfix(t, server) })
	t.Run("lost answer", func(t *testing.T) { testLostAnswerOfPostfix(t, server) })
	t.Run("slow", func(t *testing.T) { testSlowPostfix(t, server) })
	t.Run("sendmail", func(t *testing.T) { testSendmailOfPostfix(t, server) })
	t.Run("broken TLS", func(t *testing.T) { testBrokenTLSOfPostfix(t, server) })
}

func testEveryKind(t *testing.T, server *postfix) {
	items := everyKind(t, "bob@example.com")
	good := len(items)
	refusedItem := item(t, 20, "nobody-here@example.com", "\nhello\n")
	laterItem := item(t, 21, "later@example.com", "\nhello\n")
	bigItem := item(t, 22, "bob@example.com", randomText(45<<10))
	// Between two that arrive, so that each failure is followed by a success on the same connection.
	items = append([]delivery.Item{items[0], refusedItem, items[1], laterItem, items[2], bigItem}, items[3:]...)
	want := make([]delivery.Outcome, len(items))
	for i := range want {
		want[i] = ok
	}
	want[1], want[3], want[5] = refused, deferred, tooLarge

	cfg := config(server.addr)
	cfg.TLS, cfg.CAFile = delivery.TLSRequired, server.caFile
	dialled := 0
	var dialer net.Dialer
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled++
		return dialer.DialContext(ctx, network, addr)
	}
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), items)
	if err != nil {
		t.Fatal(err)
	}
	wantOutcomes(t, got, want...)
	if dialled != 1 {
		t.Errorf("%d connections, want 1", dialled)
	}

	// What a server of our own gets is what has to lie at the end of the files in Postfix's inbox.
	reference := startServer(t, nil, nil)
	if _, err := deliver(t.Context(), t, newSMTP(t, config(reference.addr)), everyKind(t, "bob@example.com")); err != nil {
		t.Fatal(err)
	}
	arrived := map[string]string{}
	for _, m := range server.mails(t, "bob", good) {
		arrived[messageID(t, m)] = m
	}
	for _, m := range reference.received() {
		parsed, err := netmail.ReadMessage(strings.NewReader(m.data))
		if err != nil {
			t.Fatal(err)
		}
		id := parsed.Header.Get("Message-ID")
		text := strings.ReplaceAll(m.data, "\r\n", "\n")
		if found := arrived[id]; !strings.HasSuffix(found, text) {
			t.Errorf("mail %s: Postfix delivered\n%s\nwant at its end\n%s", id, head(found), head(text))
		}
	}
}

func head(s string) string { return s[:min(len(s), 2000)] }
