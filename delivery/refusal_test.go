package delivery_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"mixminion/delivery"
)

// refusing answers RCPT for mailboxes that begin with "b" by what the function returns.
func refusing(answer *smtp.SMTPError) func(*mailServer) {
	return func(m *mailServer) {
		m.onRcpt = func(to string) error {
			if strings.HasPrefix(to, "b") {
				return answer
			}
			return nil
		}
	}
}

// Which permanent refusals mean the recipient, and which may mean this exit: nothing is lost for the latter until the server has shown that
// it takes mail from us, and never when it speaks of relaying.
func TestWhomARefusalMeans(t *testing.T) {
	const first, later = 0, 1
	plain := smtp.NoEnhancedCode
	for _, tt := range []struct {
		name   string
		answer *smtp.SMTPError
		want   [2]delivery.Outcome // before and after the server has taken a mail
	}{
		{"Exim does not relay", &smtp.SMTPError{Code: 550, EnhancedCode: plain, Message: "relay not permitted"}, [...]delivery.Outcome{unavailable, unavailable}},
		{"Postfix does not relay", &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "<b@example.com>: Relay access denied"}, [...]delivery.Outcome{unavailable, unavailable}},
		{"Sendmail does not relay", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Relaying denied"}, [...]delivery.Outcome{unavailable, unavailable}},
		{"policy", &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "b@example.com: no"}, [...]delivery.Outcome{unavailable, refused}},
		{"no code, no reason", &smtp.SMTPError{Code: 550, EnhancedCode: plain, Message: "b@example.com: no"}, [...]delivery.Outcome{unavailable, refused}},
		{"not allowed", &smtp.SMTPError{Code: 553, EnhancedCode: plain, Message: "not in my list"}, [...]delivery.Outcome{unavailable, refused}},
		{"our address", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 8}, Message: "sender's domain unknown"}, [...]delivery.Outcome{unavailable, refused}},
		{"unknown", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such relay-user"}, [...]delivery.Outcome{refused, refused}},
		{"mailbox closed", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 2, 1}, Message: "closed"}, [...]delivery.Outcome{refused, refused}},
		{"mailbox full", &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 2, 2}, Message: "full"}, [...]delivery.Outcome{refused, refused}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := config(startServer(t, nil, refusing(tt.answer)).addr)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			x := newSMTP(t, cfg)
			got, err := deliver(t.Context(), t, x, batch(t, "b@example.com", "b@example.com", "a@example.com", "b@example.com"))
			if err != nil {
				t.Error(err)
			}
			// Anybody can send to an address that is refused; that shall not fill the log.
			if _, err := deliver(t.Context(), t, x, batch(t, "b@example.com")); err != nil {
				t.Error(err)
			}
			wantOutcomes(t, got, tt.want[first], tt.want[first], ok, tt.want[later])
			warnings := 0
			if tt.want[first] == unavailable {
				warnings = 1
			}
			if text := log.String(); strings.Count(text, "does it relay") != warnings || strings.Contains(text, "example.com") {
				t.Errorf("log:\n%s", text)
			}
		})
	}
}

// What a server takes for one address of a mail shows that it means the others whom it refuses, unless it speaks of relaying.
func TestRefusalBesideAcceptance(t *testing.T) {
	for _, tt := range []struct {
		text string
		want delivery.Outcome
	}{
		{"no", ok},
		{"relay not permitted", delivery.Outcome{Status: delivery.Retry, Reason: delivery.Unavailable, Served: 1}},
	} {
		server := startServer(t, nil, refusing(&smtp.SMTPError{Code: 550, EnhancedCode: smtp.NoEnhancedCode, Message: tt.text}))
		cfg := config(server.addr)
		cfg.MaximumRecipients = 2
		got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com\x00b@example.com"))
		if err != nil {
			t.Error(err)
		}
		wantOutcomes(t, got, tt.want)
	}
}

// A server that took mail long ago and refuses everything now loses nothing: what came since is kept.
func TestServerThatTurns(t *testing.T) {
	server := startServer(t, nil, refusing(&smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "not from you any more"}))
	now := queued
	cfg := config(server.addr)
	cfg.Now = clockOf(&now)
	x := newSMTP(t, cfg)
	if got, err := deliver(t.Context(), t, x, batch(t, "a@example.com")); err != nil || got[0] != ok {
		t.Fatal(got, err)
	}
	items := batch(t, "b@example.com", "b@example.com")
	items[0].Queued = queued.AddDate(0, 0, 1)
	got, err := deliver(t.Context(), t, x, items)
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, unavailable, refused)
}

// A message as a whole that is refused is judged like a recipient.
func TestMessageRefused(t *testing.T) {
	server := startServer(t, nil, func(m *mailServer) {
		n := 0
		m.onData = func(*smtp.Conn) error {
			if n++; n != 2 {
				return smtpError(554, "not this")
			}
			return nil
		}
	})
	got, err := deliver(t.Context(), t, newSMTP(t, config(server.addr)), batch(t, "a@example.com", "a@example.com", "a@example.com"))
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, unavailable, ok, refused)
}
