package reassemble_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/reassemble"
	"mixminion/message"
	"mixminion/packet"
)

// mailbox is an exit that keeps what it gets.
type mailbox struct {
	got     []delivery.Item
	outcome delivery.Outcome
	err     error
}

func (m *mailbox) Deliver(_ context.Context, items iter.Seq[delivery.Item], done func(uint64, delivery.Outcome)) error {
	for it := range items {
		m.got = append(m.got, it)
		done(it.ID, m.outcome)
	}
	return m.err
}

var (
	rnd     = rand.NewChaCha8([32]byte{1})
	address = []byte("bob@example.com")
	today   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func fragments(t *testing.T, size int) (body []byte, items []delivery.Item) {
	t.Helper()
	body = make([]byte, size)
	rnd.Read(body)
	enc, err := message.EncodeForServer(rnd, body, packet.TypeSMTP, address)
	if err != nil || !enc.Fragmented {
		t.Fatalf("fragmented %v, %v", enc.Fragmented, err)
	}
	for i := range enc.Payloads {
		items = append(items, delivery.Item{ID: rnd.Uint64(), Type: packet.TypeFragment, Payload: &enc.Payloads[i], Queued: today})
	}
	return body, items
}

func deliver(t *testing.T, x *reassemble.Exit, items []delivery.Item) (map[uint64]delivery.Outcome, error) {
	t.Helper()
	out := map[uint64]delivery.Outcome{}
	err := x.Deliver(t.Context(), slices.Values(items), func(id uint64, o delivery.Outcome) {
		if _, twice := out[id]; twice {
			t.Error("an outcome was told twice")
		}
		out[id] = o
	})
	return out, err
}

func newExit(m *mailbox) *reassemble.Exit {
	return reassemble.New(reassemble.Config{
		Exits: map[packet.RoutingType]delivery.Exit{packet.TypeSMTP: m}, MaximumFragments: 66,
	})
}

func count(out map[uint64]delivery.Outcome, s delivery.Status) (n int) {
	for _, o := range out {
		if o.Status == s {
			n++
		}
	}
	return n
}

func TestReassemble(t *testing.T) {
	m := &mailbox{outcome: delivery.Outcome{Status: delivery.Delivered}}
	x := newExit(m)
	body, items := fragments(t, 100_000) // 4 of 6
	rnd := rand.New(rnd)
	rnd.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })

	out, err := deliver(t, x, items[:3])
	if err != nil || len(m.got) != 0 || count(out, delivery.Retry) != 3 {
		t.Fatalf("three fragments: %v, %v", out, err)
	}
	out, err = deliver(t, x, items[:5])
	if err != nil || len(m.got) != 1 || count(out, delivery.Delivered) != 5 {
		t.Fatalf("five fragments: %v, %v", out, err)
	}
	if d, err := message.DecodeReassembled(m.got[0].Reassembled); err != nil || !bytes.HasSuffix(body, d.Body) || !m.got[0].Queued.Equal(today) {
		t.Errorf("message differs: %v", err)
	}
	if m.got[0].Type != packet.TypeSMTP || !bytes.Equal(m.got[0].Info, address) {
		t.Errorf("goes to %v", m.got[0].Type)
	}
	if out, _ = deliver(t, x, items[5:]); count(out, delivery.Dropped) != 1 {
		t.Errorf("late fragment: %v", out)
	}
}

func TestRetryKeepsName(t *testing.T) {
	m := &mailbox{err: errors.New("mail server is down")}
	x := newExit(m)
	_, items := fragments(t, 40_000) // 2 of 3
	out, err := deliver(t, x, items)
	if err == nil || count(out, delivery.Delivered)+count(out, delivery.Dropped) != 0 {
		t.Fatalf("%v, %v", out, err)
	}
	m.err, m.outcome = nil, delivery.Outcome{Status: delivery.Delivered}
	slices.Reverse(items)
	if out, err = deliver(t, x, items); err != nil || count(out, delivery.Delivered) != 3 {
		t.Fatalf("%v, %v", out, err)
	}
	if len(m.got) != 2 || m.got[0].Nonce != m.got[1].Nonce || m.got[0].Nonce == [16]byte{} {
		t.Error("the two attempts have different names")
	}
}

// TestServed: addresses that a whole message has reached are not tried again.
func TestServed(t *testing.T) {
	m := &mailbox{outcome: delivery.Outcome{Status: delivery.Retry, Served: 5}}
	x := newExit(m)
	_, items := fragments(t, 40_000) // 2 of 3
	for i, want := range []uint8{0, 5} {
		if out, err := deliver(t, x, items); err != nil || count(out, delivery.Retry) != 3 || m.got[i].Served != want {
			t.Fatalf("%v, %v; %d", out, err, m.got[i].Served)
		}
		heir := newExit(m) // after a reload
		heir.Inherit(x)
		x = heir
	}
	m.outcome = delivery.Outcome{Status: delivery.Delivered}
	if out, err := deliver(t, x, items); err != nil || count(out, delivery.Delivered) != 3 {
		t.Fatalf("%v, %v", out, err)
	}
}

func TestRefuses(t *testing.T) {
	m := &mailbox{outcome: delivery.Outcome{Status: delivery.Delivered}}
	_, large := fragments(t, 1<<21)
	_, mixed := fragments(t, 40_000)
	_, other := fragments(t, 40_000)
	junk := delivery.Item{ID: 1, Payload: new(packet.Payload)}
	addressed := mixed[0]
	addressed.Info = []byte("x")
	forged := mixed[1]
	forged.ID++
	forged.Payload = resealed(t, mixed[1].Payload, other[1].Payload)
	for name, items := range map[string][]delivery.Item{
		"junk": {junk}, "too many fragments": large[:2], "with an address": {addressed},
		"contradiction": {mixed[1], forged},
	} {
		out, err := deliver(t, newExit(m), items)
		if err != nil || count(out, delivery.Dropped) != len(items) || len(m.got) != 0 {
			t.Errorf("%s: %v, %v", name, out, err)
		}
	}
}

// resealed returns the fragment a with the data of b and a hash that fits.
func resealed(t *testing.T, a, b *packet.Payload) *packet.Payload {
	t.Helper()
	out := *b
	copy(out[:message.FragmentHeaderLen], a[:message.FragmentHeaderLen])
	sum := sha1.Sum(out[23:])
	copy(out[3:], sum[:])
	return &out
}

// TestSmallMemory: what may be put together at one time bounds memory, not what can be delivered.
func TestSmallMemory(t *testing.T) {
	m := &mailbox{outcome: delivery.Outcome{Status: delivery.Delivered}}
	x := reassemble.New(reassemble.Config{
		Exits: map[packet.RoutingType]delivery.Exit{packet.TypeSMTP: m}, MaximumFragments: 66, MaximumMemory: 60_000,
	})
	var items []delivery.Item
	for range 3 {
		_, some := fragments(t, 50_000)
		items = append(items, some...)
	}
	out, err := deliver(t, x, items)
	if err != nil || len(m.got) != 3 || count(out, delivery.Delivered) != len(items) {
		t.Errorf("%d messages, %v, %v", len(m.got), out, err)
	}
}

// TestSurplusAfterRefusal: a message whose delivery was put off survives its surplus fragments.
func TestSurplusAfterRefusal(t *testing.T) {
	m := &mailbox{} // Retry
	x := newExit(m)
	_, items := fragments(t, 40_000) // 2 of 3
	for range 3 {
		out, err := deliver(t, x, items)
		if err != nil || count(out, delivery.Retry) != len(items) {
			t.Fatalf("%v, %v", out, err)
		}
	}
	m.outcome = delivery.Outcome{Status: delivery.Delivered}
	if out, err := deliver(t, x, items); err != nil || count(out, delivery.Delivered) != len(items) {
		t.Errorf("%v, %v", out, err)
	}
}
