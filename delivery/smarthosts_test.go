package delivery_test

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"mixminion/delivery"
	"mixminion/internal/logging"
)

func clockOf(now *time.Time) func() time.Time { return func() time.Time { return *now } }

// recipientsOf lists who got mail, in order.
func recipientsOf(mails []received) (all []string) {
	for _, m := range mails {
		all = append(all, m.to...)
	}
	return all
}

// Mail goes to the first server that takes it. One that does not is left alone for a while, and then preferred again.
func TestFailOver(t *testing.T) {
	wanted := false
	first := startServer(t, nil, func(m *mailServer) {
		m.onMail = func(string) error {
			if !wanted {
				return smtpError(550, "not from you")
			}
			return nil
		}
	})
	second := startServer(t, nil, nil)
	now := queued
	cfg := config(first.addr)
	cfg.Servers = append(cfg.Servers, second.addr)
	cfg.Now = clockOf(&now)
	x := newSMTP(t, cfg)
	send := func(firstConns, secondMails int) {
		t.Helper()
		got, err := deliver(t.Context(), t, x, batch(t, "a@example.com", "b@example.com", "c@example.com"))
		if err != nil {
			t.Error(err)
		}
		wantOutcomes(t, got, ok, ok, ok)
		if n := first.connections(); n != firstConns {
			t.Errorf("%d connections to the first server, want %d", n, firstConns)
		}
		if n := len(second.received()); n != secondMails {
			t.Errorf("%d mails to the second server, want %d", n, secondMails)
		}
	}
	send(1, 3)
	if n := second.connections(); n != 1 {
		t.Errorf("%d connections to the second server", n)
	}
	send(1, 6)
	now = now.Add(16 * time.Minute)
	wanted = true
	send(2, 6)
	send(3, 6)
	if n := len(first.received()); n != 6 {
		t.Errorf("%d mails to the first server", n)
	}
}

// Whatever is wrong with a server beside the mail, the next one gets it at once.
func TestReasonsToFailOver(t *testing.T) {
	for name, first := range map[string]func(talk){
		"down":           nil,
		"greeting 554":   func(c talk) { c.say("554 no service for you") },
		"greeting 421":   func(c talk) { c.say("421 too busy") },
		"hangs up":       func(talk) {},
		"EHLO refused":   func(c talk) { c.say("220 hi"); c.hear("EHLO "); c.say("550 bad name") },
		"sender refused": func(c talk) { c.hello(); c.hear("MAIL"); c.say("550 sender unknown") },
		"sender put off": func(c talk) { c.hello(); c.hear("MAIL"); c.say("452 too many mails") },
		"closes":         func(c talk) { c.hello(); c.hear("MAIL"); c.say("421 enough") },
		"closes at RCPT": func(c talk) { c.hello(); c.hear("MAIL"); c.say("250 ok"); c.hear("RCPT"); c.say("421 enough") },
		"wants a log-in": func(c talk) { c.hello(); c.hear("MAIL"); c.say("250 ok"); c.hear("RCPT"); c.say("530 log in") },
	} {
		t.Run(name, func(t *testing.T) {
			var talks []func(talk)
			if first != nil {
				talks = append(talks, first)
			}
			bad, good := startScript(t, talks...), startServer(t, nil, nil)
			if first == nil {
				bad.stop()
			}
			cfg := config(bad.addr)
			cfg.Servers = append(cfg.Servers, good.addr)
			got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com", "b@example.com"))
			if err != nil {
				t.Error(err)
			}
			wantOutcomes(t, got, ok, ok)
			if n := len(good.received()); n != 2 || good.connections() != 1 {
				t.Errorf("%d mails over %d connections", n, good.connections())
			}
		})
	}
}

// Nobody is lost when all servers are in trouble, and those set aside are asked all the same.
func TestAllServersInTrouble(t *testing.T) {
	down := startScript(t)
	down.stop()
	busy := startServer(t, nil, func(m *mailServer) { m.onMail = func(string) error { return smtpError(550, "not from you") } })
	cfg := config(down.addr)
	cfg.Servers = append(cfg.Servers, busy.addr)
	x := newSMTP(t, cfg)
	for i := range 2 {
		got, err := deliver(t.Context(), t, x, batch(t, "a@example.com", "b@example.com"))
		wantOutcomes(t, got, unavailable)
		if err == nil {
			t.Error("no error")
		}
		// The operator's log names the servers, which are addresses here.
		var line bytes.Buffer
		logging.New(&line, &logging.Settings{}).Error("trouble", "error", err)
		for _, server := range cfg.Servers {
			if !strings.Contains(line.String(), "mail server "+server+": ") {
				t.Errorf("the log does not name %s: %s", server, &line)
			}
		}
		if n := busy.connections(); n != i+1 {
			t.Errorf("%d connections", n)
		}
	}
}

// An address that one server will not relay to goes to the next, and only that address: the others have the mail already.
func TestFailOverOfOneRecipient(t *testing.T) {
	first := startServer(t, nil, refusing(&smtp.SMTPError{Code: 550, EnhancedCode: smtp.NoEnhancedCode, Message: "relay not permitted"}))
	second := startServer(t, nil, nil)
	cfg := config(first.addr)
	cfg.Servers, cfg.MaximumRecipients = append(cfg.Servers, second.addr), 8
	it := item(t, 1, "a@example.com\x00b@example.com\x00c@example.com", "\nhello\n")
	var settled []uint8
	it.Settle = func(served uint8) {
		settled = append(settled, served)
		if len(second.received()) > 0 {
			t.Error("told too late")
		}
	}
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), []delivery.Item{it})
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, ok)
	if to := recipientsOf(first.received()); !slices.Equal(to, []string{"a@example.com", "c@example.com"}) {
		t.Errorf("the first server has mail for %v", to)
	}
	if to := recipientsOf(second.received()); !slices.Equal(to, []string{"b@example.com"}) {
		t.Errorf("the second server has mail for %v", to)
	}
	if len(settled) == 0 || settled[len(settled)-1] != 0b101 {
		t.Errorf("settled %b", settled)
	}
	if a, b := first.received()[0].data, second.received()[0].data; a != b {
		t.Errorf("the mails differ:\n%s\n%s", a, b)
	}
}

// A server that only ever refuses recipients is asked last after a while.
func TestServerThatRefusesEverybody(t *testing.T) {
	first := startServer(t, nil, func(m *mailServer) { m.onRcpt = func(string) error { return smtpError(550, "no") } })
	second := startServer(t, nil, nil)
	cfg := config(first.addr)
	cfg.Servers = append(cfg.Servers, second.addr)
	x := newSMTP(t, cfg)
	for range 2 {
		got, err := deliver(t.Context(), t, x, batch(t, "a@example.com", "a@example.com", "a@example.com", "a@example.com"))
		if err != nil {
			t.Error(err)
		}
		wantOutcomes(t, got, ok, ok, ok, ok)
	}
	if got, err := deliver(t.Context(), t, x, batch(t, "a@example.com")); err != nil || got[0] != ok {
		t.Error(got, err)
	}
	if n := first.connections(); n != 2 {
		t.Errorf("%d connections to the server that refuses, want 2", n)
	}
}

// A mail whose answer was lost is not sent once more through another server: it may have arrived.
func TestNoFailOverWithoutAnswer(t *testing.T) {
	first := startScript(t, func(c talk) { c.hello(); c.upToData() })
	second := startServer(t, nil, nil)
	cfg := config(first.addr)
	cfg.Servers = append(cfg.Servers, second.addr)
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com", "b@example.com"))
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, unsure, ok)
	if to := recipientsOf(second.received()); !slices.Equal(to, []string{"b@example.com"}) {
		t.Errorf("the second server has mail for %v", to)
	}
}

func TestSmartHostOverIPv6(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "[::1]:0")
	if err != nil {
		missing(t, "IPv6 on loopback is missing")
	}
	server := serve(t, ln, nil, nil)
	got, err := deliver(t.Context(), t, newSMTP(t, config(server.addr)), batch(t, "a@example.com"))
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, ok)
}

// Nobody asks for notifications of delivery, even if the server offers them.
func TestNoNotifications(t *testing.T) {
	var lines []string
	server := startScript(t, func(c talk) {
		c.hello("DSN", "SIZE 1000000")
		for range 2 {
			line, _ := c.line()
			lines = append(lines, line)
			c.say("250 ok")
		}
	})
	_, _ = deliver(t.Context(), t, newSMTP(t, config(server.addr)), batch(t, "a@example.com"))
	server.stop()
	if len(lines) != 2 || lines[1] != "RCPT TO:<a@example.com>" {
		t.Fatalf("commands %q", lines)
	}
	for _, l := range lines {
		for _, word := range []string{"NOTIFY", "RET=", "ENVID", "ORCPT"} {
			if strings.Contains(l, word) {
				t.Errorf("%q asks for notifications", l)
			}
		}
	}
}
