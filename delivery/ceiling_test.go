package delivery_test

import (
	"slices"
	"testing"

	"mixminion/delivery"
	"mixminion/delivery/ceiling"
)

// limited is an exit that lets a recipient have so many readable and encrypted mails in a day.
func limited(t *testing.T, cfg delivery.SMTPConfig, readable, opaque int) *delivery.SMTP {
	t.Helper()
	limits := ceiling.Limits{}
	limits.PerDay[ceiling.Readable], limits.PerDay[ceiling.Opaque] = readable, opaque
	var err error
	if cfg.Ceiling, err = ceiling.New(limits, nil, cfg.Now); err != nil {
		t.Fatal(err)
	}
	return newSMTP(t, cfg)
}

func held(served, rest uint8) delivery.Outcome {
	return delivery.Outcome{Status: delivery.Retry, Reason: delivery.Ceiling, Served: served, Held: rest}
}

// What is too much for a recipient waits. Plain text and what the exit cannot read are counted apart, and tomorrow is another day.
func TestCeiling(t *testing.T) {
	server := startServer(t, nil, nil)
	cfg := config(server.addr)
	now := queued
	cfg.Now = clockOf(&now)
	x := limited(t, cfg, 2, 3)
	items := batch(t, "a@x.org", "A+tag@x.org", "a@x.org", "b@x.org", "a@x.org", "a@x.org", "a@x.org", "a@x.org")
	for i := range items[4:] {
		items[4+i].Payload[100] ^= 1 // encrypted, as far as the exit can tell
	}
	deliverAll := func(want ...delivery.Outcome) {
		t.Helper()
		got, err := deliver(t.Context(), t, x, items)
		if err != nil {
			t.Error(err)
		}
		wantOutcomes(t, got, want...)
	}
	deliverAll(ok, ok, held(0, 1), ok, ok, ok, ok, held(0, 1))
	items = []delivery.Item{items[2], items[7]}
	deliverAll(held(0, 1), held(0, 1))
	if n := server.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}

	// The exit that takes the place of this one after a reload counts on.
	heir := limited(t, cfg, 2, 4)
	heir.Inherit(x)
	x = heir
	deliverAll(held(0, 1), ok)
	now = now.AddDate(0, 0, 1)
	deliverAll(ok, ok)
}

// Of several recipients only those wait who have had enough.
func TestCeilingOfOneRecipient(t *testing.T) {
	answers := map[string]error{"c@x.org": smtpError(450, "later")}
	server := startServer(t, nil, func(m *mailServer) { m.onRcpt = func(to string) error { return answers[to] } })
	cfg := config(server.addr)
	cfg.MaximumRecipients = 8
	now := queued
	cfg.Now = clockOf(&now)
	x := limited(t, cfg, 1, 1)
	it := item(t, 2, "a@x.org\x00b@x.org\x00c@x.org", "\nhello\n")
	attempt := func(want delivery.Outcome) {
		t.Helper()
		got, err := deliver(t.Context(), t, x, []delivery.Item{it})
		if err != nil {
			t.Error(err)
		}
		wantOutcomes(t, got, want)
		it.Served = got[0].Served
	}
	if got, err := deliver(t.Context(), t, x, batch(t, "b@x.org")); err != nil || got[0] != ok {
		t.Fatal(got, err)
	}
	// c is not charged for what did not arrive.
	attempt(delivery.Outcome{Status: delivery.Retry, Reason: delivery.Deferred, Served: 0b001, Held: 0b010})
	delete(answers, "c@x.org")
	attempt(held(0b101, 0b010))
	attempt(held(0b101, 0b010))
	now = now.AddDate(0, 0, 1)
	attempt(ok)
	if to := recipientsOf(server.received()); !slices.Equal(to, []string{"b@x.org", "a@x.org", "c@x.org", "b@x.org"}) {
		t.Errorf("mail for %v", to)
	}
}

// Somebody who may have got a mail has had it, as far as the ceiling goes.
func TestCeilingCountsWhatMayHaveArrived(t *testing.T) {
	lost := func(c talk) { c.hello(); c.upToData() }
	server := startScript(t, lost)
	x := limited(t, config(server.addr), 1, 1)
	got, err := deliver(t.Context(), t, x, batch(t, "a@example.com", "a@example.com"))
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, unsure, held(0, 1))
}
