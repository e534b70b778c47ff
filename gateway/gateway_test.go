package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/delivery/inmail"
	"mixminion/internal/clock"
	"mixminion/internal/localsock"
	"mixminion/message"
	"mixminion/packet"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const address = "answer@mix.example"

var start = time.Date(2026, 11, 23, 20, 15, 30, 0, time.UTC)

// fakeNetwork takes replies. What is wrong with a block its Info says.
type fakeNetwork struct {
	mu      sync.Mutex
	used    map[string]bool
	names   map[string]bool
	replies []sentReply
	tried   int
	fail    error
	unready error
	before  func() // Reply
}

type sentReply struct {
	payloads []packet.Payload
	blocks   []*packet.SURB
}

func (n *fakeNetwork) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.unready
}

func (n *fakeNetwork) Usable(b *packet.SURB) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.used[string(b.Header[:])] {
		return ErrUnusable
	}
	return nil
}

func (n *fakeNetwork) Reply(_ context.Context, name []byte, payloads []packet.Payload, blocks []*packet.SURB) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tried++
	if n.before != nil {
		n.before()
	}
	for _, b := range blocks {
		if n.used[string(b.Header[:])] {
			return ErrUnusable
		}
	}
	if n.fail != nil {
		return n.fail
	}
	if n.names[string(name)] {
		return ErrSent
	}
	n.names[string(name)] = true
	for _, b := range blocks {
		n.used[string(b.Header[:])] = true
	}
	n.replies = append(n.replies, sentReply{payloads, blocks})
	return nil
}

func newGateway(t testing.TB, change func(*Config)) (*Gateway, *fakeNetwork) {
	t.Helper()
	n := &fakeNetwork{used: map[string]bool{}, names: map[string]bool{}}
	cfg := Config{
		Network: n, Address: address, Now: func() time.Time { return start },
		Receipt: func(context.Context, string, []byte) error { return nil },
	}
	if change != nil {
		change(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g, n
}

func newBlock(t testing.TB, until time.Time) *packet.SURB {
	t.Helper()
	b := &packet.SURB{Expires: until.Truncate(24 * time.Hour), Type: packet.TypeSwapFwdHost}
	rand.Read(b.Header[:])
	b.Info = packet.Hop{Host: "mix.example", Port: 48099}.AppendRoutingInfo(nil)
	return b
}

func goodBlock(t testing.TB) *packet.SURB { return newBlock(t, start.AddDate(0, 0, 7)) }

func armored(blocks ...*packet.SURB) string { return string(packet.ArmorSURBs(blocks)) }

var mailNumber int

// letter makes a mail to the gateway: header lines, then a body.
func letter(body string, header ...string) []byte {
	mailNumber++
	head := append([]string{"From: Bob <bob@example.com>", "To: " + address, "Subject: Re: hello", fmt.Sprintf("Message-ID: <%d@example.com>", mailNumber)}, header...)
	return []byte(strings.Join(head, "\r\n") + "\r\n\r\n" + strings.ReplaceAll(body, "\n", "\r\n"))
}

func receive(t testing.TB, g *Gateway, raw []byte) {
	t.Helper()
	if err := g.Receive(context.Background(), raw, "bob@example.com"); err != nil {
		t.Fatal(err)
	}
}

// said is the text of a reply of one packet.
func (r *sentReply) said(t testing.TB) string {
	t.Helper()
	if len(r.payloads) != 1 {
		t.Fatalf("%d packets", len(r.payloads))
	}
	d, err := message.DecodePayload(&r.payloads[0])
	if err != nil {
		t.Fatal(err)
	}
	text, err := message.Decompress(d.Data, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	h, body := message.ParseHeaders(text)
	if h != (message.Headers{}) {
		t.Errorf("headers: %+v", h)
	}
	return string(body)
}

const preamble = "This came by mail to answer@mix.example. Nobody has checked who wrote it.\nFrom: bob@example.com\nSubject: Re: hello\n\n"

func quoted(s string) string {
	return "> " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n> ") + "\n"
}

func multi(kind string, parts ...string) (body, header string) {
	return "--b=1\n" + strings.Join(parts, "\n--b=1\n") + "\n--b=1--\n", "Content-Type: multipart/" + kind + "; boundary=\"b=1\""
}

func TestForms(t *testing.T) {
	const text = "Dear stranger,\n\nyes.\n"
	for _, c := range []struct {
		name   string
		letter func(block *packet.SURB) []byte
		want   string
	}{
		{"block below", func(b *packet.SURB) []byte { return letter(text + "\n" + armored(b)) }, text},
		{"block above", func(b *packet.SURB) []byte { return letter(armored(b) + "\n" + text) }, text},
		{"quoted", func(b *packet.SURB) []byte { return letter(text + "\n" + quoted("hello\n"+armored(b)+"bye")) }, text + "\n> hello\n> bye\n"},
		{"quoted twice", func(b *packet.SURB) []byte { return letter(text + quoted(quoted(armored(b)))) }, text},
		{"escaped by an exit", func(b *packet.SURB) []byte {
			return letter(text + quoted(strings.ReplaceAll(armored(b), "-----BEGIN", "- -----BEGIN")))
		}, text},
		{"both escaped", func(b *packet.SURB) []byte {
			return letter(text + quoted(strings.NewReplacer("-----BEGIN", "- -----BEGIN", "-----END", "- -----END").Replace(armored(b))))
		}, text},
		{"attached", func(b *packet.SURB) []byte {
			body, h := multi("mixed", "Content-Type: text/plain\n\n"+text,
				"Content-Type: application/octet-stream; name=block.asc\nContent-Disposition: attachment\n\n"+armored(b))
			return letter(body, h)
		}, text},
		{"attached as text", func(b *packet.SURB) []byte {
			body, h := multi("mixed", "\n"+text, "Content-Type: text/plain\nContent-Disposition: attachment; filename=block\n\nnotes\n"+armored(b))
			return letter(body, h)
		}, text},
		{"attached in binary", func(b *packet.SURB) []byte {
			body, h := multi("mixed", "\n"+text, "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"+
				base64.StdEncoding.EncodeToString(b.AppendBinary(nil)))
			return letter(body, h)
		}, text},
		{"forwarded", func(b *packet.SURB) []byte {
			body, h := multi("mixed", "\n"+text, "Content-Type: message/rfc822\n\nFrom: nobody@exit.example\nSubject: x\n\nOld text\n"+armored(b))
			return letter(body, h)
		}, text},
		{"with HTML", func(b *packet.SURB) []byte {
			body, h := multi("alternative", "Content-Type: text/plain\n\n"+text+armored(b), "Content-Type: text/html\n\n<p>"+armored(b))
			return letter(body, h)
		}, text},
		{"HTML alone", func(b *packet.SURB) []byte {
			return letter("<html><head><title>x</title><style>p > a {}</style></head><body><p>Dear stranger,<br>\n<br/>y&eacute;s\n&lt;b&gt;.</p><!-- <p>no -->"+
				"<blockquote>&gt; "+strings.ReplaceAll(strings.TrimSpace(armored(b)), "\n", "<br>\n&gt; ")+"</blockquote></body></html>", "Content-Type: text/html; charset=utf-8")
		}, "Dear stranger,\n \ny\u00e9s <b>.\n"},
		{"HTML alone, and a block as it is", func(b *packet.SURB) []byte {
			return letter("<DIV>yes</DIV><PRE>"+armored(b)+"</PRE>", "Content-Type: text/html")
		}, "yes\n"},
		{"quoted-printable", func(b *packet.SURB) []byte {
			return letter("Gr=C3=BC=C3=9Fe=\n!\n"+strings.ReplaceAll(armored(b), "=", "=3D"), "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable")
		}, "Gr\u00fc\u00dfe!\n"},
		{"latin 1", func(b *packet.SURB) []byte {
			return letter("Gr\xfc\xdfe\n"+armored(b), "Content-Type: text/plain; charset=iso-8859-1")
		}, "Gr\u00fc\u00dfe\n"},
		{"control characters", func(b *packet.SURB) []byte { return letter("a\x1b[2Jb\x00\n" + armored(b)) }, "a[2Jb\n"},
		{"the first good one", func(b *packet.SURB) []byte {
			return letter(text + armored(newBlock(t, start.AddDate(0, 0, -1)), b, goodBlock(t)))
		}, text},
		{"a block without end before", func(b *packet.SURB) []byte { return letter(text + beginBlock + "\n" + armored(b)) }, text + beginBlock + "\n"},
		{"damaged blocks before", func(b *packet.SURB) []byte {
			return letter(text + beginBlock + "\nVersion: 0.2\n\nAAAA\n" + endBlock + "\n" + armored(b))
		}, text},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, n := newGateway(t, nil)
			b := goodBlock(t)
			receive(t, g, c.letter(b))
			if len(n.replies) != 1 || len(n.replies[0].blocks) != 1 || n.replies[0].blocks[0].Header != b.Header {
				t.Fatalf("%d replies", len(n.replies))
			}
			if got := n.replies[0].said(t); got != preamble+c.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

// Marks without end cost no more than their bytes.
func TestHostileHTML(t *testing.T) {
	for _, page := range []string{"<", "<!--", "<style>", "<div", "<pre>", "</pre>", "<br>", "<!-- >", "<p>"} {
		fromHTML(strings.Repeat(page, 100_000))
	}
	rapid.Check(t, func(t *rapid.T) {
		fromHTML(strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"<", ">", "/", "pre", "style", "<!--", "-->", "&lt;", "\u0130", "\xff", " ", "x"})).Draw(t, "page"), ""))
	})
}

func TestNothingToSend(t *testing.T) {
	g, n := newGateway(t, nil)
	used, soon := goodBlock(t), goodBlock(t)
	soon.Expires = start.Add(2 * time.Hour)
	receive(t, g, letter("text\n"+armored(used)))
	for name, raw := range map[string][]byte{
		"no block": letter("text\n"), "no text": letter(armored(goodBlock(t))), "used": letter("other text\n" + armored(used)),
		"over": letter("text\n" + armored(newBlock(t, start.AddDate(0, 0, -1)))), "soon over": letter("text\n" + armored(soon)),
		"no end": letter("text\n" + beginBlock + "\n"), "empty": letter(""),
		"too long for one": letter(noise(100_000) + armored(goodBlock(t))),
	} {
		receive(t, g, raw)
		if len(n.replies) != 1 {
			t.Fatalf("%s: sent", name)
		}
	}
	if len(g.receipts) != 9 {
		t.Errorf("%d receipts for 9 mails", len(g.receipts))
	}
}

// noise is text that cannot be compressed much.
func noise(n int) string {
	b := make([]byte, n/2)
	rand.Read(b)
	var out strings.Builder
	for len(b) > 30 {
		fmt.Fprintf(&out, "%x\n", b[:30])
		b = b[30:]
	}
	return out.String()
}

func TestSeveralBlocks(t *testing.T) {
	g, n := newGateway(t, nil)
	var blocks []*packet.SURB
	for range 8 {
		blocks = append(blocks, goodBlock(t))
	}
	text := noise(100_000)
	receive(t, g, letter(text+armored(blocks...)))
	if len(n.replies) != 1 || len(n.replies[0].payloads) < 3 || len(n.replies[0].payloads) != len(n.replies[0].blocks) {
		t.Fatal("not sent through several blocks")
	}
	for i, b := range n.replies[0].blocks {
		if b.Header != blocks[i].Header {
			t.Error("blocks out of order")
		}
	}
	indexes := map[int]bool{}
	for i := range n.replies[0].payloads {
		d, err := message.DecodePayload(&n.replies[0].payloads[i])
		if err != nil || d.Fragment == nil {
			t.Fatal(err)
		}
		indexes[int(d.Fragment.Index)] = true
	}
	if len(indexes) != len(n.replies[0].payloads) {
		t.Error("a fragment was sent twice")
	}
}

// The same mail again uses no other block, whatever happened to the first answer.
func TestSameMailAgain(t *testing.T) {
	g, n := newGateway(t, nil)
	raw := letter("text\n" + armored(goodBlock(t), goodBlock(t)))
	receive(t, g, raw)
	receive(t, g, append([]byte("Received: from elsewhere\r\n"), raw...))
	if len(n.replies) != 1 {
		t.Errorf("sent %d times", len(n.replies))
	}
}

func TestPassedOver(t *testing.T) {
	g, n := newGateway(t, nil)
	text := "text\n" + armored(goodBlock(t))
	for _, h := range []string{"Auto-Submitted: auto-replied", "Precedence: bulk", "List-Id: <x>", "Return-Path: <>"} {
		receive(t, g, letter(text, h))
	}
	if err := g.Receive(context.Background(), letter(text), ""); err != nil {
		t.Error(err)
	}
	receive(t, g, bytes.Replace(letter(text), []byte("bob@example.com"), []byte(address), 1))
	if len(n.replies) != 0 || len(g.receipts) != 0 {
		t.Error("a program's mail was answered or sent")
	}
}

func TestMalformed(t *testing.T) {
	g, n := newGateway(t, nil)
	deep := "Content-Type: text/plain\n\n" + armored(goodBlock(t))
	for i := range 12 {
		b := fmt.Sprintf("b%d", i)
		deep = "Content-Type: multipart/mixed; boundary=" + b + "\n\n--" + b + "\n" + deep + "\n--" + b + "--\n"
	}
	header, deep, _ := strings.Cut(deep, "\n\n")
	many, manyHeader := multi("mixed", make([]string, 200)...)
	for name, raw := range map[string][]byte{
		"no mail":     []byte("hello"),
		"no From":     []byte("Subject: x\n\ntext"),
		"deep":        letter(deep, header),
		"many parts":  letter(many, manyHeader),
		"no boundary": letter("text", "Content-Type: multipart/mixed"),
		"cut off":     letter("--b\n\ntext", "Content-Type: multipart/mixed; boundary=b"),
		"base64":      letter("!!!!", "Content-Transfer-Encoding: base64"),
	} {
		if err := g.Receive(context.Background(), raw, "bob@example.com"); !errors.Is(err, inmail.ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(n.replies) != 0 || len(g.receipts) != 0 {
		t.Error("a malformed mail was answered or sent")
	}
}

func TestLimits(t *testing.T) {
	now := start
	g, n := newGateway(t, func(c *Config) { c.PerSender, c.PerDay, c.Now = 3, 5, func() time.Time { return now } })
	try := func(from string) error {
		raw := bytes.Replace(letter("text\n"+armored(goodBlock(t))), []byte("bob@example.com"), []byte(from), 1)
		return g.Receive(context.Background(), raw, from)
	}
	for i := range 5 {
		if err := try("Bob+x@example.com"); (err != nil) != (i >= 3) || err != nil && !errors.Is(err, ErrLater) {
			t.Errorf("mail %d: %v", i, err)
		}
	}
	n.fail = errors.New("no directory")
	if err := try("eve@example.com"); !errors.Is(err, ErrLater) {
		t.Errorf("trouble: %v", err)
	}
	n.fail = nil
	for i := range 4 {
		if err := try(fmt.Sprintf("eve%d@example.com", i)); (err != nil) != (i >= 2) {
			t.Errorf("mail %d of all: %v", i, err)
		}
	}
	now = now.AddDate(0, 0, 1)
	if err := try("bob@example.com"); err != nil {
		t.Errorf("the next day: %v", err)
	}
	if len(n.replies) != 6 {
		t.Errorf("%d replies", len(n.replies))
	}
}

type receiptSent struct {
	to   string
	data []byte
}

func TestReceipts(t *testing.T) {
	sent := make(chan receiptSent, 10)
	g, _ := newGateway(t, func(c *Config) {
		c.Receipt = func(_ context.Context, to string, data []byte) error {
			sent <- receiptSent{to, data}
			return nil
		}
		c.Unwilling = func(addr string) bool { return addr == "carol@example.com" }
	})
	clk := clock.NewManual(start)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- g.Run(ctx, "", clk) }()
	block := goodBlock(t)
	for _, raw := range [][]byte{letter("text\n" + armored(block)), letter("again\n" + armored(block)), letter("no block")} {
		if err := g.Receive(ctx, raw, "<bounces@example.com>"); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Receive(ctx, letter("text"), "carol@example.com"); err != nil {
		t.Fatal(err)
	}
	if err := g.Receive(ctx, letter("text"), "dave@example.com"); err != nil {
		t.Fatal(err)
	}
	if len(sent) > 0 || len(g.receipts) != 5 {
		t.Error("the time of a receipt tells how long its mail took")
	}
	var texts []string
	for len(texts) < 3 {
		select {
		case r := <-sent:
			if r.to != "bounces@example.com" {
				t.Errorf("sent to %s", r.to)
			}
			before, after, _ := strings.Cut(string(r.data), "Message-ID: ")
			_, after, _ = strings.Cut(after, "\r\n")
			texts = append(texts, before+after)
			m, err := inmail.Read(r.data)
			if err != nil || !m.Automatic(address) {
				t.Error("another program would answer the receipt", err)
			}
		default:
			clk.Advance(receiptsEvery)
			runtime.Gosched()
		}
	}
	if texts[0] != texts[1] || texts[0] != texts[2] {
		t.Error("the receipts differ")
	}
	if r := <-sent; r.to != "dave@example.com" {
		t.Error("a receipt for somebody who wants no mail")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Whether a mail is taken does not tell whether its block is good: while nothing can be sent, all mails wait.
func TestNotReady(t *testing.T) {
	g, n := newGateway(t, nil)
	used := goodBlock(t)
	receive(t, g, letter("text\n"+armored(used)))
	n.unready = errors.New("no directory")
	for name, raw := range map[string][]byte{
		"good": letter("text\n" + armored(goodBlock(t))), "used": letter("more\n" + armored(used)), "no block": letter("text"),
	} {
		if err := g.Receive(context.Background(), raw, "bob@example.com"); !errors.Is(err, ErrLater) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(g.receipts) != 1 {
		t.Errorf("%d receipts for one mail that was taken", len(g.receipts))
	}
}

// Two mails at once with the same block, of which one has another block too: both are sent.
func TestSameBlockAtOnce(t *testing.T) {
	g, n := newGateway(t, nil)
	same, other := goodBlock(t), goodBlock(t)
	n.before = func() {
		n.before = nil
		n.used[string(same.Header[:])] = true // by another mail, after this one has looked
	}
	receive(t, g, letter("text\n"+armored(same, other)))
	if len(n.replies) != 1 || n.replies[0].blocks[0].Header != other.Header {
		t.Errorf("%d replies", len(n.replies))
	}
}

// Receipts go to the sender in the envelope, so that name is limited as well as the one in From: else anybody could have many mails sent to one person.
func TestLimitOfEnvelope(t *testing.T) {
	g, _ := newGateway(t, func(c *Config) { c.PerSender = 3 })
	for i := range 5 {
		raw := bytes.Replace(letter("text\n"), []byte("bob@example.com"), fmt.Appendf(nil, "eve%d@example.com", i), 1)
		if err := g.Receive(context.Background(), raw, "<Victim+a@example.com>"); (err != nil) != (i >= 3) {
			t.Errorf("mail %d: %v", i, err)
		}
	}
	if len(g.receipts) != 3 {
		t.Errorf("%d receipts", len(g.receipts))
	}
	if err := g.Receive(context.Background(), []byte("From: eve4@example.com\nContent-Type: multipart/mixed\n\ntext"), "eve4@example.com"); !errors.Is(err, inmail.ErrMalformed) {
		t.Error(err)
	}
	if g.limits.total != 3 {
		t.Errorf("%d mails are counted", g.limits.total)
	}
}

// serve runs a gateway at a local socket.
func serve(t *testing.T, g *Gateway, maildir string, c clock.Clock) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw") // names of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	l, err := localsock.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- g.Run(ctx, maildir, c, Private(l)) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return socket
}

func TestLMTP(t *testing.T) {
	g, n := newGateway(t, func(c *Config) { c.MaxMail = 50_000 })
	socket := serve(t, g, "", clock.Real{})
	submit := func(to string, raw []byte) error {
		return Submit(context.Background(), socket, "bob@example.com", to, raw)
	}
	if err := submit("Answer+1@mix.example", letter("text\n.\n..\n"+armored(goodBlock(t)))); err != nil {
		t.Fatal(err)
	}
	if len(n.replies) != 1 || n.replies[0].said(t) != preamble+"text\n.\n..\n" {
		t.Error("the text has changed on its way")
	}
	if err := submit(address, letter(strings.Repeat("long ", 5000)+"\n"+armored(goodBlock(t)))); err != nil {
		t.Errorf("a line of 25 KB, as pipes of mail servers hand over: %v", err)
	}
	if err := submit("other@mix.example", letter("x")); err == nil || errors.Is(err, ErrLater) {
		t.Errorf("for somebody else: %v", err)
	}
	if err := submit(address, letter(strings.Repeat("x\n", 30_000))); err == nil || errors.Is(err, ErrLater) {
		t.Errorf("too large: %v", err)
	}
	if err := submit(address, []byte("no mail")); err != nil {
		t.Errorf("malformed: %v", err)
	}
	n.mu.Lock()
	n.fail = errors.New("full")
	n.mu.Unlock()
	if err := submit(address, letter("text\n"+armored(goodBlock(t)))); !errors.Is(err, ErrLater) || strings.Contains(err.Error(), "full") {
		t.Errorf("trouble: %v", err)
	}
	if err := Submit(context.Background(), socket+"x", "", address, nil); !errors.Is(err, ErrLater) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestMaildir(t *testing.T) {
	dir := t.TempDir()
	now := clock.NewManual(start)
	g, n := newGateway(t, func(c *Config) { c.PerSender = 1 })
	put := func(name string, raw []byte) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "new"), 0o700), os.WriteFile(filepath.Join(dir, "new", name), raw, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (names []string) {
		entries, err := os.ReadDir(filepath.Join(dir, "new"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	put("1", letter("one\n"+armored(goodBlock(t))))
	put("2", letter("one too many\n"+armored(goodBlock(t))))
	put("3", []byte("malformed"))
	put("4", bytes.Replace(letter("of others\n"+armored(goodBlock(t))), []byte("bob@"), []byte("eve@"), 1))
	ctx, cancel := context.WithCancel(context.Background())
	polled := &pollClock{Manual: now, waits: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go func() {
		g.poll(ctx, dir, polled)
		close(ended)
	}()
	<-polled.waits
	cancel()
	<-ended
	if got := left(); len(got) != 1 || got[0] != "2" || len(n.replies) != 2 {
		t.Errorf("left: %q; %d replies", got, len(n.replies))
	}
}

// pollClock says when somebody waits.
type pollClock struct {
	*clock.Manual
	waits chan struct{}
}

func (c *pollClock) After(d time.Duration) <-chan time.Time {
	c.waits <- struct{}{}
	return c.Manual.After(d)
}

// TestOnlyInText writes anything into a mail: it changes nothing but the text.
func TestOnlyInText(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g, n := newGateway(t, nil)
		subject := rapid.StringMatching(`[ -~]{0,50}`).Draw(rt, "subject")
		body := rapid.StringMatching(`[ -~\n]{1,200}`).Draw(rt, "body")
		b := goodBlock(t)
		raw := "From: bob@example.com\r\nSubject: " + subject + "\r\n\r\n" + body + "\n" + armored(b)
		if err := g.Receive(context.Background(), []byte(raw), "bob@example.com"); err != nil {
			return
		}
		if len(n.replies) == 0 {
			return // no text
		}
		said := n.replies[0].said(t)
		if !strings.HasPrefix(said, "This came by mail to answer@mix.example. Nobody has checked who wrote it.\nFrom: bob@example.com\nSubject: ") ||
			strings.Contains(said, beginBlock) || len(n.replies[0].blocks) != 1 {
			rt.Errorf("got %q", said)
		}
	})
}

func FuzzReceive(f *testing.F) {
	b := newBlock(f, start.AddDate(0, 0, 7))
	f.Add(letter("text\n" + armored(b)))
	body, h := multi("mixed", "\ntext", "Content-Type: message/rfc822\n\nSubject: x\n\n"+armored(b))
	f.Add(letter(body, h))
	f.Add(letter("=41", "Content-Transfer-Encoding: quoted-printable", "Content-Type: text/plain; charset=utf-16"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		g, _ := newGateway(t, nil)
		if err := g.Receive(context.Background(), raw, "bob@example.com"); err != nil && !errors.Is(err, inmail.ErrMalformed) {
			t.Error(err)
		}
	})
}

func BenchmarkReceive(b *testing.B) {
	g, n := newGateway(b, func(c *Config) { c.PerSender, c.PerDay = 1<<30, 1<<30 })
	for b.Loop() {
		receive(b, g, letter("Dear stranger,\nyes.\n"+quoted(armored(goodBlock(b)))))
		n.replies = nil
	}
}
