package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	mrand "math/rand/v2"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"mixminion/delivery"
	"mixminion/delivery/mail"
	"mixminion/message"
	"mixminion/packet"
)

var queued = time.Date(2026, 11, 22, 18, 36, 57, 0, time.UTC)

// config is that of an exit whose mail goes to addr in the clear.
func config(addr string) delivery.SMTPConfig {
	return delivery.SMTPConfig{
		Mail: mail.Options{ReturnAddress: "nobody@exit.example.org", AllowFrom: true},
		TransportConfig: delivery.TransportConfig{
			Servers: []string{addr},
			TLS:     delivery.TLSOff,
			Timeout: 20 * time.Second,
			Now:     func() time.Time { return queued.Add(time.Hour) },
		},
	}
}

func newSMTP(t *testing.T, cfg delivery.SMTPConfig) *delivery.SMTP {
	t.Helper()
	x, err := delivery.NewSMTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// item is message number id to a mailbox.
func item(t testing.TB, id uint64, to, text string) delivery.Item {
	t.Helper()
	rnd := mrand.NewChaCha8([32]byte{byte(id)})
	encoded, err := message.Encode(rnd, []byte(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := message.PlainTag(rnd)
	if err != nil {
		t.Fatal(err)
	}
	return delivery.Item{
		ID:      id,
		Type:    packet.TypeSMTP,
		Info:    append(tag[:], to...),
		Payload: &encoded.Payloads[0],
		Nonce:   [16]byte{15: byte(id)},
		Queued:  queued,
	}
}

// batch is one message to each mailbox, numbered from 1.
func batch(t testing.TB, mailboxes ...string) []delivery.Item {
	var items []delivery.Item
	for i, to := range mailboxes {
		items = append(items, item(t, uint64(i+1), to, fmt.Sprintf("\nmessage %d\n", i+1)))
	}
	return items
}

// deliver runs a batch and checks that each item that was pulled has one outcome, told before the next was pulled.
func deliver(ctx context.Context, t *testing.T, x delivery.Exit, items []delivery.Item) ([]delivery.Outcome, error) {
	t.Helper()
	var outcomes []delivery.Outcome
	pulled := 0
	var seq iter.Seq[delivery.Item] = func(yield func(delivery.Item) bool) {
		for _, it := range items {
			if len(outcomes) != pulled {
				t.Errorf("item %d is pulled before the outcome of the one before", it.ID)
			}
			pulled++
			if !yield(it) {
				return
			}
		}
	}
	err := x.Deliver(ctx, seq, func(id uint64, o delivery.Outcome) {
		if id != items[len(outcomes)].ID {
			t.Errorf("outcome for %d, want %d", id, items[len(outcomes)].ID)
		}
		outcomes = append(outcomes, o)
	})
	if len(outcomes) != pulled {
		t.Errorf("%d items pulled, %d outcomes", pulled, len(outcomes))
	}
	if err != nil && strings.Contains(err.Error(), "example.com") {
		t.Errorf("error names a recipient: %v", err)
	}
	return outcomes, err
}

var (
	ok          = delivery.Outcome{Status: delivery.Delivered}
	refused     = delivery.Outcome{Status: delivery.Dropped, Reason: delivery.Refused}
	tooLarge    = delivery.Outcome{Status: delivery.Dropped, Reason: delivery.TooLarge}
	malformed   = delivery.Outcome{Status: delivery.Dropped, Reason: delivery.Malformed}
	corrupt     = delivery.Outcome{Status: delivery.Dropped, Reason: delivery.Corrupt}
	blocked     = delivery.Outcome{Status: delivery.Dropped, Reason: delivery.Blocked}
	deferred    = delivery.Outcome{Reason: delivery.Deferred}
	unavailable = delivery.Outcome{Reason: delivery.Unavailable}
	unsure      = delivery.Outcome{Reason: delivery.Unsure}
)

func wantOutcomes(t *testing.T, got []delivery.Outcome, want ...delivery.Outcome) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestDeliversABatchOverOneConnection(t *testing.T) {
	server := startServer(t, nil, nil)
	x := newSMTP(t, config(server.addr))
	got, err := deliver(t.Context(), t, x, batch(t, "a@example.com", "b@example.com", "c@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	wantOutcomes(t, got, ok, ok, ok)
	if n := server.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	mails := server.received()
	if len(mails) != 3 {
		t.Fatalf("%d mails, want 3", len(mails))
	}
	for i, m := range mails {
		to := string(rune('a'+i)) + "@example.com"
		if m.from != "nobody@exit.example.org" || !cmp.Equal(m.to, []string{to}) {
			t.Errorf("mail %d: from %s to %s", i, m.from, m.to)
		}
		parsed, err := netmail.ReadMessage(strings.NewReader(m.data))
		if err != nil {
			t.Fatal(err)
		}
		if id, want := parsed.Header.Get("Message-ID"), fmt.Sprintf("<%032x@exit.example.org>", i+1); id != want {
			t.Errorf("Message-ID %s, want %s", id, want)
		}
		if d, want := parsed.Header.Get("Date"), "Sun, 22 Nov 2026 18:00:00 +0000"; d != want {
			t.Errorf("Date %s, want %s", d, want)
		}
		body, err := io.ReadAll(parsed.Body)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("-----BEGIN TYPE III ANONYMOUS MESSAGE-----\r\nMessage-type: plaintext\r\n\r\n"+
			"message %d\r\n-----END TYPE III ANONYMOUS MESSAGE-----\r\n", i+1)
		if !strings.HasSuffix(string(body), "\r\n\r\n"+want) {
			t.Errorf("body %q, want %q at its end", body, want)
		}
	}
}

func TestConnectionIsMadeAnewAfterItsShareOfMails(t *testing.T) {
	server := startServer(t, nil, nil)
	cfg := config(server.addr)
	cfg.MaxPerConnection = 2
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com", "b@example.com", "c@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	wantOutcomes(t, got, ok, ok, ok)
	if n := server.connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestUndeliverableItemsNeedNoConnection(t *testing.T) {
	good := item(t, 1, "a@example.com", "\nhello\n")
	short := good
	short.Info = good.Info[:packet.TagLen-1]
	noText := good
	noText.Payload = rehash(*good.Payload, func(p *packet.Payload) { p[message.SingletonHeaderLen+5] ^= 1 })
	overlong := good
	overlong.Payload = rehash(*good.Payload, func(p *packet.Payload) { p[0], p[1] = 0x7F, 0xFF })
	big := item(t, 1, "a@example.com", randomText(40<<10))
	zip := item(t, 1, "a@example.com", "")
	zip.Payload, zip.Info, zip.Reassembled = nil, []byte("a@example.com"), []byte("not compressed")

	for _, tt := range []struct {
		name string
		item delivery.Item
		want delivery.Outcome
	}{
		{"no room for a handle", short, malformed},
		{"no address", item(t, 1, "", "\nhello\n"), malformed},
		{"address of a host by number", item(t, 1, "a@127.0.0.1", "\nhello\n"), malformed},
		{"two addresses", item(t, 1, "a@example.com\x00b@example.com", "\nhello\n"), malformed},
		{"command in the address", item(t, 1, "a@example.com>\r\nRCPT TO:<b@example.com", "\nhello\n"), malformed},
		{"blocked", item(t, 1, "blocked@example.com", "\nhello\n"), blocked},
		{"damaged data", noText, corrupt},
		{"impossible length", overlong, corrupt},
		{"damaged reassembled message", zip, corrupt},
		{"too large", big, tooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config("127.0.0.1:1")
			cfg.MaximumSize = 32 << 10
			cfg.Blocked = func(addr string) bool { return addr == "blocked@example.com" }
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
				t.Error("a connection is made")
				return nil, errors.New("no")
			}
			got, err := deliver(t.Context(), t, newSMTP(t, cfg), []delivery.Item{tt.item})
			if err != nil {
				t.Error(err)
			}
			wantOutcomes(t, got, tt.want)
		})
	}
}

func TestAnswersAboutOneMail(t *testing.T) {
	answer := func(code int, text string) func(string) error {
		return func(s string) error {
			if s != "b@example.com" {
				return nil
			}
			return smtpError(code, text)
		}
	}
	for _, tt := range []struct {
		name    string
		prepare func(*mailServer)
		want    delivery.Outcome
	}{
		{"recipient refused", func(m *mailServer) { m.onRcpt = answer(550, "b@example.com unknown") }, refused},
		{"recipient deferred", func(m *mailServer) { m.onRcpt = answer(450, "b@example.com greylisted") }, deferred},
		{"recipient's box full", func(m *mailServer) { m.onRcpt = answer(452, "b@example.com") }, deferred},
		{"mail refused", func(m *mailServer) { m.onData = nth(2, smtpError(554, "spam for b@example.com")) }, refused},
		{"mail deferred", func(m *mailServer) { m.onData = nth(2, smtpError(451, "b@example.com")) }, deferred},
		{"mail too large", func(m *mailServer) { m.onData = nth(2, smtpError(552, "b@example.com")) }, tooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startServer(t, nil, tt.prepare)
			x := newSMTP(t, config(server.addr))
			got, err := deliver(t.Context(), t, x, batch(t, "a@example.com", "b@example.com", "c@example.com"))
			if err != nil {
				t.Error(err)
			}
			wantOutcomes(t, got, ok, tt.want, ok)
			if n := server.connections(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
			if n := len(server.received()); n != 2 {
				t.Errorf("%d mails arrived, want 2", n)
			}
		})
	}
}

// nth answers the n-th mail with err.
func nth(n int, err error) func(*smtp.Conn) error {
	count := 0
	return func(*smtp.Conn) error {
		if count++; count == n {
			return err
		}
		return nil
	}
}

func TestServerRefusesMailForItsSize(t *testing.T) {
	server := startServer(t, nil, func(m *mailServer) { m.smtp.MaxMessageBytes = 1200 })
	items := batch(t, "a@example.com", "b@example.com", "c@example.com")
	items[1] = item(t, 2, "b@example.com", "\n"+strings.Repeat("0123456789\n", 400))
	got, err := deliver(t.Context(), t, newSMTP(t, config(server.addr)), items)
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, ok, tooLarge, ok)
}

func TestCancelledBatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := startServer(t, nil, func(m *mailServer) {
		m.onRcpt = func(string) error { cancel(); return nil }
	})
	got, err := deliver(ctx, t, newSMTP(t, config(server.addr)), batch(t, "a@example.com", "b@example.com"))
	if !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if len(got) != 1 || got[0].Status == delivery.Dropped {
		t.Errorf("outcomes %v", got)
	}
}

// randomText is a message of n bytes that compresses to something less than half.
func randomText(n int) string {
	rnd := mrand.New(mrand.NewChaCha8([32]byte{1}))
	b := make([]byte, 0, n)
	for len(b) < n {
		if len(b)%64 == 0 {
			b = append(b, '\n')
			continue
		}
		b = append(b, "0123456789abcdef"[rnd.IntN(16)])
	}
	return string(b)
}

// rehash changes the data of a payload and makes its hash right again.
func rehash(p packet.Payload, change func(*packet.Payload)) *packet.Payload {
	change(&p)
	setHash(&p)
	return &p
}

// A probe goes as far as a mail would, without sending one.
func TestProbe(t *testing.T) {
	m := startServer(t, nil, nil)
	cfg := config(m.addr)
	if err := newSMTP(t, cfg).Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(m.received()); n != 0 || m.connections() != 1 {
		t.Errorf("%d mails over %d connections", n, m.connections())
	}
	cfg.TLS = delivery.TLSRequired
	if err := newSMTP(t, cfg).Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("without the TLS that is required: %v", err)
	}
}
