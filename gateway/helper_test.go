package gateway

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/message"
	"mixminion/packet"

	"go.uber.org/goleak"
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
