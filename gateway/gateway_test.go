package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"mixminion/delivery/inmail"
	"mixminion/internal/clock"
	"mixminion/message"
	"mixminion/packet"

	"pgregory.net/rapid"
)

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

// What is no mark, or has no end, is kept: a mail may not lose what its writer has written.
func TestHTMLLosesNoText(t *testing.T) {
	for page, want := range map[string]string{
		"<p>1 < 2 and 3 > 2": "\n1 < 2 and 3 > 2", "I <3 you<br>all": "I <3 you\nall", "yes<": "yes<", "yes <!-- no": "yes <!-- no",
		"a <b and <i>more</i>": "a more", "end <of": "end <of", "<!DOCTYPE html><?x?>yes": "yes", "< br>": "< br>",
	} {
		if got := fromHTML(page); got != want {
			t.Errorf("%q became %q, not %q", page, got, want)
		}
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

// Receipts go to the sender in the envelope, so that name is limited as well as the one in From: else anybody could
// have many mails sent to one person.
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
