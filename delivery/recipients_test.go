package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mixminion/delivery"
)

// A packet with several addresses becomes one mail, which names them all.
func TestSeveralRecipients(t *testing.T) {
	server := startServer(t, nil, nil)
	cfg := config(server.addr)
	cfg.MaximumRecipients = 8
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), []delivery.Item{item(t, 1, "c@x.org\x00a@x.org\x00b@x.org\x00a@x.org", "\nhello\n")})
	if err != nil {
		t.Fatal(err)
	}
	wantOutcomes(t, got, ok)
	mails := server.received()
	if len(mails) != 1 || !slices.Equal(mails[0].to, []string{"a@x.org", "b@x.org", "c@x.org"}) ||
		!strings.HasPrefix(mails[0].data, "To: a@x.org,\r\n b@x.org,\r\n c@x.org\r\n") {
		t.Errorf("mails %v", mails)
	}
}

// Only those recipients are tried again that a mail server has put off, and the mail is the same then.
func TestSomeRecipientsAgain(t *testing.T) {
	answers := map[string]error{
		"b@x.org": smtpError(450, "b@x.org greylisted"),
		"c@x.org": smtpError(550, "c@x.org unknown"),
		"e@x.org": smtpError(450, "e@x.org greylisted"),
	}
	server := startServer(t, nil, func(m *mailServer) { m.onRcpt = func(to string) error { return answers[to] } })
	cfg := config(server.addr)
	cfg.MaximumRecipients = 8
	cfg.Blocked = func(addr string) bool { return addr == "d@x.org" }
	x := newSMTP(t, cfg)
	it := item(t, 1, "a@x.org\x00b@x.org\x00c@x.org\x00d@x.org\x00e@x.org", "\nhello\n")
	attempt := func(want delivery.Outcome, to ...string) {
		t.Helper()
		before := len(server.received())
		got, err := deliver(t.Context(), t, x, []delivery.Item{it})
		if err != nil {
			t.Error(err)
		}
		wantOutcomes(t, got, want)
		it.Served = got[0].Served
		mails := server.received()
		switch {
		case len(to) == 0 && len(mails) == before:
		case len(mails) != before+1 || !slices.Equal(mails[before].to, to) || mails[before].data != mails[0].data:
			t.Errorf("mails %v", mails)
		}
	}
	again := func(served uint8) delivery.Outcome {
		return delivery.Outcome{Status: delivery.Retry, Reason: delivery.Deferred, Served: served}
	}
	attempt(again(0b01101), "a@x.org")
	attempt(again(0b01101))
	delete(answers, "e@x.org")
	attempt(again(0b11101), "e@x.org")
	delete(answers, "b@x.org")
	attempt(ok, "b@x.org")
}

func TestTooManyRecipients(t *testing.T) {
	cfg := config("127.0.0.1:1")
	cfg.MaximumRecipients = 2
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), []delivery.Item{item(t, 1, "a@x.org\x00b@x.org\x00c@x.org", "\nhello\n")})
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, malformed)
	for _, n := range []int{-1, 9} {
		cfg.MaximumRecipients = n
		if _, err := delivery.NewSMTP(cfg); err == nil || !strings.Contains(fmt.Sprint(err), "recipients") {
			t.Errorf("%d recipients: %v", n, err)
		}
	}
}
