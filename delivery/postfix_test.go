package delivery_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixminion/delivery"
	"mixminion/internal/testnet/postfix"
	"mixminion/message"
)

// missing skips a test that needs something from outside. In continuous integration nothing may be missing.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// postfixServer is a Postfix with mailboxes at example.com.
type postfixServer struct {
	*postfix.Server
	caFile string
}

const postfixMain = `message_size_limit = 44000
smtpd_recipient_restrictions = reject_unauth_destination,
  check_recipient_access inline:{ { later@example.com = 450 4.2.0 try again } { grey@example.com = greylist } }
smtpd_restriction_classes = greylist
greylist = check_policy_service inet:127.0.0.1:%s
smtpd_tls_security_level = may
smtpd_tls_chain_files = DIR/server.pem
virtual_mailbox_domains = example.com
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ bob@example.com=bob/ carol@example.com=carol/ dora@example.com=dora/ grey@example.com=grey/ later@example.com=later/ }
virtual_uid_maps = static:UID
virtual_gid_maps = static:UID
virtual_minimum_uid = 1
`

func startPostfix(t *testing.T) *postfixServer {
	t.Helper()
	config, ca := certificate(t, "127.0.0.1")
	key, err := x509.MarshalPKCS8PrivateKey(config.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	chain = append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), chain...)
	s, err := postfix.Start(postfix.Config{
		Main: fmt.Sprintf(postfixMain, startGreylist(t)), Files: map[string]string{"server.pem": string(chain)},
	})
	if errors.Is(err, postfix.ErrMissing) {
		missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &postfixServer{s, ca}
}

// mails waits until n mails lie in a user's inbox and returns them.
func (p *postfixServer) mails(t *testing.T, user string, n int) (mails []string) {
	t.Helper()
	dir := filepath.Join(p.Mail(), user, "new")
	var files []os.DirEntry
	if !postfix.Until(func() bool {
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

func testEveryKind(t *testing.T, server *postfixServer) {
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

	cfg := config(server.Addr)
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
