package testnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/internal/clock"
	"mixminion/internal/testnet"
	"mixminion/message"
	"mixminion/message/keyring"
	"mixminion/mix"
	"mixminion/path"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// evening is when networks begin.
var evening = time.Date(2026, 11, 21, 21, 30, 0, 0, time.UTC)

// network starts mixes and authorities, and a client with the directory on which they agree. Their time moves only as
// far as await moves it.
func network(t *testing.T, mixes int, rule mix.Rule) (*testnet.Sink, *client.Client, *clock.Manual) {
	t.Helper()
	sink, err := testnet.NewSink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
	clk := clock.NewManual(evening)
	net, err := testnet.Start(context.Background(), testnet.Options{
		Dir: t.TempDir(), Mixes: mixes, Authorities: 3, SMTP: sink.Addr, Rule: rule, Interval: 5 * time.Minute, Clock: clk,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := net.AwaitPublished(t.Context()); err != nil {
		t.Fatal(err)
	}
	ballots, err := net.Vote(t.Context(), clk.Advance)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range ballots {
		if b.Votes != mixes || b.Counted != 3 || b.Current == nil || len(b.Current.Signers) != 3 {
			t.Errorf("%+v", b)
		}
	}
	user, err := client.Open(t.TempDir(), client.Options{Clock: clk, Directories: net.Trust()})
	if err != nil {
		t.Fatal(err)
	}
	up, err := user.UpdateServers(t.Context())
	if err != nil || up.Consensus.Quorum.Signed != 3 || len(up.Consensus.Servers) != mixes {
		t.Fatalf("%+v: %v", up, err)
	}
	return sink, user, clk
}

// await lets time pass until a mail arrives.
func await(t *testing.T, sink *testnet.Sink, clk *clock.Manual) testnet.Mail {
	t.Helper()
	step := time.NewTicker(20 * time.Millisecond)
	defer step.Stop()
	for {
		select {
		case m := <-sink.Mails:
			return m
		case <-step.C:
			clk.Advance(time.Minute)
		case <-t.Context().Done():
			t.Fatal("the mail did not arrive")
		}
	}
}

func send(t *testing.T, user *client.Client, to string, m client.Message) {
	t.Helper()
	var err error
	if m.To, err = client.ParseAddress(to); err != nil {
		t.Fatal(err)
	}
	p, err := user.Prepare(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := user.Deliver(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
}

func delivered(t *testing.T, m testnet.Mail) message.Delivered {
	t.Helper()
	all, err := message.ParseDelivered(m.Data)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d armored messages: %v\n%s", len(all), err, m.Data)
	}
	return all[0]
}

// Three recipients get a mail each, over paths of their own; or one mail together, which one packet carries.
func TestRecipients(t *testing.T) {
	sink, user, clk := network(t, 5, mix.Rule{Algorithm: mix.Timed})
	list, err := client.ParseAddresses("carol@example.com,bob@Example.com,alice@example.com,bob@example.COM")
	if err != nil {
		t.Fatal(err)
	}
	if list, err = client.Recipients(list); err != nil || len(list) != 3 {
		t.Fatalf("%d recipients: %v", len(list), err)
	}
	names := []string{"alice@example.com", "bob@example.com", "carol@example.com"}
	long := strings.Repeat("0123456789abcdef", 10) + strings.Repeat("fedcba9876543210", 10)
	for _, c := range []struct {
		name    string
		to      []client.Address
		body    string
		packets int
		mailTo  func(i int) string
	}{
		{"a packet each", list, long, 3, func(i int) string { return names[i] }},
		{"one packet", client.Share(list), long, 1, func(int) string { return strings.Join(names, ", ") }},
	} {
		messages := make([]client.Message, len(c.to))
		for i, a := range c.to {
			messages[i] = client.Message{To: a, Body: []byte(c.body)}
		}
		p, err := user.PrepareAll(t.Context(), messages, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Packets) != c.packets {
			t.Errorf("%s: %d packets", c.name, len(p.Packets))
		}
		if err := user.Deliver(t.Context(), p, nil); err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for range names {
			m := await(t, sink, clk)
			i := slices.Index(names, m.To)
			if i < 0 {
				t.Fatalf("%s: mail for %q", c.name, m.To)
			}
			got[m.To] = true
			parsed, err := netmail.ReadMessage(bytes.NewReader(m.Data))
			if err != nil {
				t.Fatal(err)
			}
			if to := parsed.Header.Get("To"); to != c.mailTo(i) {
				t.Errorf("%s: mail for %s is addressed to %s", c.name, m.To, to)
			}
			if d := delivered(t, m); strings.TrimSpace(string(d.Body)) != c.body {
				t.Errorf("%s: body %q", c.name, d.Body)
			}
		}
		if len(got) != len(names) {
			t.Errorf("%s: mails for %v", c.name, got)
		}
	}
}

func TestMailAndReply(t *testing.T) {
	sink, user, clk := network(t, 5, mix.Rule{Algorithm: mix.Timed})
	send(t, user, "bob@example.com", client.Message{
		Headers: message.Headers{Subject: "Meeting", From: "A friend"},
		Body:    []byte("Hello through the mixes.\n"),
	})
	m := await(t, sink, clk)
	if m.To != "bob@example.com" {
		t.Errorf("mail for %q", m.To)
	}
	if d := delivered(t, m); string(d.Body) != "Hello through the mixes.\n" {
		t.Errorf("body %q", d.Body)
	}
	for _, want := range []string{"Subject: Meeting\r\n", `From: "[Anon] A friend" <`} {
		if !bytes.Contains(m.Data, []byte(want)) {
			t.Errorf("no %q in\n%s", want, m.Data)
		}
	}

	ring := new(keyring.Keyring)
	key, err := ring.Generate(rand.Reader, "", clk.Now(), clk.Now().Add(client.SURBLifetime))
	if err != nil {
		t.Fatal(err)
	}
	home, err := client.ParseAddress("alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	made, err := user.GenerateSURBs(t.Context(), 2, home, key.Secret, path.Spec{}, client.SURBLifetime)
	if err != nil {
		t.Fatal(err)
	}
	p, used, err := user.PrepareReply(t.Context(), client.Reply{Body: []byte("An answer.\n")}, made.SURBs, nil)
	if err != nil || used != 1 {
		t.Fatalf("%d reply blocks used: %v", used, err)
	}
	if err := user.Deliver(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	m = await(t, sink, clk)
	d := delivered(t, m)
	if m.To != "alice@example.com" || d.Form != message.FormEncrypted {
		t.Errorf("%s mail for %q", d.Form, m.To)
	}
	opened, err := d.Open(user.Keys(ring))
	if err != nil {
		t.Fatal(err)
	}
	text, err := opened.Message(message.SingletonLimit(len(opened.Data)))
	if err != nil || string(text) != "\nAn answer.\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// Mixes download the directory as well.
func TestMixHoldsDirectory(t *testing.T) {
	clk := clock.NewManual(evening)
	net, err := testnet.Start(context.Background(), testnet.Options{
		Dir: t.TempDir(), Mixes: 1, Authorities: 3, SMTP: "127.0.0.1:9", Rule: mix.Rule{Algorithm: mix.Timed}, Interval: time.Hour, Clock: clk,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := net.AwaitPublished(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Vote(t.Context(), clk.Advance); err != nil {
		t.Fatal(err)
	}
	step := time.NewTicker(20 * time.Millisecond)
	defer step.Stop()
	for {
		d, err := net.Nodes[0].Mix.Directory()
		if err != nil {
			t.Fatal(err)
		}
		if d != nil {
			if d.Quorum.Signed != 3 || len(d.Servers) != 1 {
				t.Errorf("%+v", d.Quorum)
			}
			break
		}
		select {
		case <-step.C:
			clk.Advance(time.Minute)
		case <-t.Context().Done():
			t.Fatal("no directory")
		}
	}
	if err := net.Close(); err != nil {
		t.Error(err)
	}
}

func TestNight(t *testing.T) {
	n := testnet.NewNight()
	if left := time.Until(n.Now()); left > 0 || left < -48*time.Hour {
		t.Errorf("the night is at %v", n.Now())
	}
	began := n.Now()
	soon, past, now := n.After(time.Minute), n.After(30*time.Minute), n.After(0)
	later := n.After(time.Since(began) + time.Hour)
	if got := <-now; !got.Equal(began) {
		t.Error(got)
	}
	n.Advance(time.Minute)
	<-soon
	n.Wake()
	<-past
	<-n.After(0)
	if now := n.Now(); time.Since(now) > time.Hour {
		t.Errorf("it is awake at %v", now)
	}
	n.Advance(time.Hour) // moves nothing any more
	n.Wake()
	select {
	case <-later:
		t.Error("too early")
	default:
	}
}

func TestPoolsKeepSome(t *testing.T) {
	sink, user, clk := network(t, 4, mix.Rule{Algorithm: mix.Cottrell, MinSize: 2, Rate: 0.6})
	const n = 24
	for i := range n {
		send(t, user, "bob@example.com", client.Message{Body: fmt.Appendf(nil, "message %d\n", i)})
	}
	seen := map[string]bool{}
	for range n / 2 {
		seen[string(delivered(t, await(t, sink, clk)).Body)] = true
	}
	if len(seen) != n/2 {
		t.Errorf("%d different messages of %d", len(seen), n/2)
	}
}

func TestLongMessage(t *testing.T) {
	sink, user, clk := network(t, 5, mix.Rule{Algorithm: mix.Timed})
	var text strings.Builder
	for line := make([]byte, 45); text.Len() < 200_000; {
		rand.Read(line)
		text.WriteString(base64.StdEncoding.EncodeToString(line) + "\n")
	}
	body := text.String()
	send(t, user, "bob@example.com", client.Message{Body: []byte(body)})
	if d := delivered(t, await(t, sink, clk)); string(d.Body) != body {
		t.Errorf("%d bytes arrived, %d were sent", len(d.Body), len(body))
	}
}
