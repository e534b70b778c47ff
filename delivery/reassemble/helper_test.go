package reassemble_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/reassemble"
	"mixminion/message"
	"mixminion/packet"
)

var (
	address = []byte("bob@example.com")
	today   = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	ample   = reassemble.Limits{Size: 1 << 20, Bytes: 1 << 30, Messages: 1000}
)

// A shelf keeps fragments as a mix does, and does with them what the account says.
type shelf struct {
	*reassemble.Pool
	rnd  *rand.ChaCha8
	next uint64
	held map[uint64]*packet.Payload
}

func newShelf(seed byte, l reassemble.Limits) *shelf {
	return &shelf{Pool: reassemble.New(l), rnd: rand.NewChaCha8([32]byte{seed}), held: map[uint64]*packet.Payload{}}
}

// split makes the fragments of a message of size incompressible bytes.
func (s *shelf) split(t testing.TB, size int) (body []byte, payloads []*packet.Payload) {
	t.Helper()
	body = make([]byte, size)
	_, _ = s.rnd.Read(body) // never fails
	enc, err := message.EncodeForServer(s.rnd, body, packet.TypeSMTP, address)
	if err != nil || !enc.Fragmented {
		t.Fatalf("fragmented %v, %v", enc.Fragmented, err)
	}
	for i := range enc.Payloads {
		payloads = append(payloads, &enc.Payloads[i])
	}
	return body, payloads
}

// add adds a fragment under a new name.
func (s *shelf) add(p *packet.Payload) reassemble.Verdict {
	s.next++
	v := s.Add(reassemble.Fragment{Ref: s.next, Since: today, Payload: p})
	if v.Keep {
		s.held[s.next] = p
	}
	s.erase(v.Erase)
	return v
}

func (s *shelf) erase(refs []uint64) {
	for _, ref := range refs {
		delete(s.held, ref)
	}
}

var errGone = errors.New("not on the shelf")

func (s *shelf) read(ref uint64) (*packet.Payload, error) {
	if p := s.held[ref]; p != nil {
		return p, nil
	}
	return nil, errGone
}

// restart begins a new account of what is held.
func (s *shelf) restart(t testing.TB, l reassemble.Limits) {
	t.Helper()
	s.Pool = reassemble.New(l)
	for ref, p := range s.held {
		if v := s.Add(reassemble.Fragment{Ref: ref, Since: today, Payload: p}); !v.Keep {
			t.Fatalf("a fragment that was kept is not any more: %v", v.Why)
		}
	}
}

// takeReady opens the messages that are ready, and finishes them.
func (s *shelf) takeReady(t testing.TB) (bodies [][]byte) {
	t.Helper()
	for _, m := range s.Ready() {
		w, err := m.Open(s.read)
		if err != nil {
			t.Fatal(err)
		}
		d, err := message.DecodeReassembled(w.Compressed)
		if err != nil || w.To.Type != packet.TypeSMTP || string(w.To.Info) != string(address) {
			t.Fatalf("to %v, %v", w.To.Type, err)
		}
		bodies = append(bodies, d.Body)
		s.Finish(m)
		s.erase(m.Refs())
	}
	return bodies
}

// check compares the account with what is held.
func (s *shelf) check(t testing.TB) {
	t.Helper()
	if n, bytes := s.Held(); bytes != int64(len(s.held))*packet.PayloadLen || n > len(s.held) {
		t.Fatalf("%d messages, %d bytes; %d fragments are held", n, bytes, len(s.held))
	}
}

func mustNot(t testing.TB, v reassemble.Verdict, why delivery.Reason) {
	t.Helper()
	if v.Keep || v.Why != why {
		t.Fatalf("%+v, not %v", v, why)
	}
}
