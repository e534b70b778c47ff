package delivery_test

import (
	"bytes"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mixminion/delivery"
	"mixminion/message"
	"mixminion/packet"
)

func newMBOX(t *testing.T, cfg delivery.SMTPConfig, users map[string]string) *delivery.MBOX {
	t.Helper()
	x, err := delivery.NewMBOX(delivery.MBOXConfig{
		Users: func(name []byte) (string, bool) {
			addr, ok := users[string(name)]
			return addr, ok
		},
		Mail: cfg.Mail, MaximumSize: cfg.MaximumSize, Blocked: cfg.Blocked, TransportConfig: cfg.TransportConfig,
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Mail goes to users of the address file; for others the log has a line in an hour, without their names.
func TestMBOX(t *testing.T) {
	m := startServer(t, nil, nil)
	cfg := config(m.addr)
	var log bytes.Buffer
	now := queued
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Now = func() time.Time { return now }
	cfg.Blocked = func(addr string) bool { return addr == "unwilling@home.example" }
	x := newMBOX(t, cfg, map[string]string{
		"bob": "bob@home.example", "wrong": "two@home.example, three@home.example", "unwilling": "unwilling@home.example",
	})
	items := batch(t, "bob", "Bob", "", "bob@home.example", "wrong", "unwilling", "nobody1")
	for i := range items {
		items[i].Type = packet.TypeMBOX
	}
	short := items[0]
	short.Info = short.Info[:packet.TagLen-1]
	want := []delivery.Outcome{
		{Status: delivery.Delivered},
		{Status: delivery.Dropped, Reason: delivery.NoUser},
		{Status: delivery.Dropped, Reason: delivery.Malformed},
		{Status: delivery.Dropped, Reason: delivery.NoUser},
		{Status: delivery.Dropped, Reason: delivery.Malformed},
		{Status: delivery.Dropped, Reason: delivery.Blocked},
		{Status: delivery.Dropped, Reason: delivery.NoUser},
		{Status: delivery.Dropped, Reason: delivery.Malformed},
	}
	got, err := deliver(t.Context(), t, x, append(items, short))
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
	mails := m.received()
	if len(mails) != 1 || !cmp.Equal(mails[0].to, []string{"bob@home.example"}) || !strings.Contains(mails[0].data, "To: bob@home.example\r\n") ||
		!strings.Contains(mails[0].data, "message 1") {
		t.Errorf("%+v", mails)
	}
	if n := strings.Count(log.String(), "not in the address file"); n != 1 || strings.Contains(log.String(), "nobody1") {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	now = now.Add(time.Hour)
	if _, err := deliver(t.Context(), t, x, items[6:]); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "not in the address file"); n != 2 {
		t.Errorf("%d lines after an hour", n)
	}
}

// A message that was put together here has no decoding handle.
func TestMBOXReassembled(t *testing.T) {
	m := startServer(t, nil, nil)
	x := newMBOX(t, config(m.addr), map[string]string{"bob": "bob@home.example"})
	body := []byte("\n")
	for i := range 100 {
		body = fmt.Appendf(body, "%d: many words make a long message\n", i*i)
	}
	it := delivery.Item{
		ID: 1, Type: packet.TypeMBOX, Info: []byte("bob"), Reassembled: message.Compress(body), Nonce: [16]byte{1}, Queued: queued,
	}
	got, err := deliver(t.Context(), t, x, []delivery.Item{it})
	if err != nil || got[0].Status != delivery.Delivered {
		t.Fatalf("%v, %v", got, err)
	}
	if mails := m.received(); len(mails) != 1 || strings.Count(mails[0].data, "many words") != 100 {
		t.Errorf("%d mails", len(mails))
	}
	if err := x.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMBOXConfig(t *testing.T) {
	if _, err := delivery.NewMBOX(delivery.MBOXConfig{TransportConfig: config("localhost").TransportConfig}); err == nil {
		t.Error("without users")
	}
	cfg := delivery.MBOXConfig{Users: func([]byte) (string, bool) { return "", false }}
	if _, err := delivery.NewMBOX(cfg); err == nil {
		t.Error("without a mail server")
	}
}

// Whatever stands where a name should, mail goes to the addresses in the file and nowhere else.
func FuzzMBOXName(f *testing.F) {
	f.Add([]byte("bob"))
	f.Add([]byte("bob\x00eve@example.com"))
	f.Add([]byte("eve@example.com"))
	rnd := mrand.NewChaCha8([32]byte{1})
	encoded, err := message.Encode(rnd, []byte("\nhello\n"), 0)
	if err != nil {
		f.Fatal(err)
	}
	var to []string
	cfg := config("localhost")
	cfg.Blocked = func(addr string) bool {
		to = append(to, addr)
		return true
	}
	x, err := delivery.NewMBOX(delivery.MBOXConfig{
		Users: func(name []byte) (string, bool) { return "bob@home.example", string(name) == "bob" },
		Mail:  cfg.Mail, Blocked: cfg.Blocked, TransportConfig: cfg.TransportConfig,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		to = nil
		it := delivery.Item{ID: 1, Type: packet.TypeMBOX, Info: append(make([]byte, packet.TagLen), name...), Payload: &encoded.Payloads[0]}
		if _, err := deliver(t.Context(), t, x, []delivery.Item{it}); err != nil {
			t.Fatal(err)
		}
		if want := string(name) == "bob"; (len(to) == 1) != want || want && to[0] != "bob@home.example" {
			t.Errorf("%q goes to %q", name, to)
		}
	})
}
