package reassemble_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/reassemble"
	"mixminion/message"
	"mixminion/packet"

	"pgregory.net/rapid"
)

func TestWhole(t *testing.T) {
	s := newShelf(1, ample)
	body, parts := s.split(t, 100_000) // 4 of 6
	for i, p := range []int{5, 0, 5, 3} {
		v := s.add(parts[p])
		if want := i != 2; v.Keep != want || v.Why != delivery.None {
			t.Fatalf("%d: %+v", i, v)
		}
		s.check(t)
	}
	if len(s.Ready()) != 0 {
		t.Fatal("three fragments are enough")
	}
	if v := s.add(parts[1]); !v.Keep {
		t.Fatal("the fourth is not kept")
	}
	if n, held := s.Held(); n != 0 || held != 0 {
		t.Errorf("a whole message counts as one that is not: %d, %d bytes", n, held)
	}
	mustNot(t, s.add(parts[2]), delivery.None) // not needed
	got := s.takeReady(t)
	if len(got) != 1 || !bytes.HasSuffix(body, got[0]) {
		t.Fatal("the message differs")
	}
	mustNot(t, s.add(parts[4]), delivery.None) // late
	if len(s.held) != 0 || len(s.Unsaved()) != 1 {
		t.Errorf("%d fragments, %d IDs", len(s.held), len(s.Unsaved()))
	}
}

// A message waits for its exit, and keeps its name and what is needed of it.
func TestPlaced(t *testing.T) {
	s := newShelf(2, ample)
	_, parts := s.split(t, 40_000) // 2 of 3
	s.add(parts[0])
	s.add(parts[2])
	m := s.Ready()[0]
	s.Place(m, packet.TypeSMTP)
	s.Place(m, packet.TypeMBOX) // too late
	if len(s.Ready()) != 0 || len(s.Placed(packet.TypeSMTP)) != 1 || len(s.Placed(packet.TypeMBOX)) != 0 {
		t.Fatal("it is not where it should be")
	}
	mustNot(t, s.add(parts[1]), delivery.None)
	if gone := s.Expire(today.AddDate(1, 0, 0)); len(gone) != 0 {
		t.Error("a whole message expires")
	}
	s.SetLimits(reassemble.Limits{})
	if gone := s.Shrink(); len(gone) != 0 {
		t.Error("a whole message is given up for space")
	}
	name := m.Name()
	s.restart(t, ample)
	if m = s.Ready()[0]; m.Name() != name || name == [16]byte{} {
		t.Error("the name has changed")
	}
	delete(s.held, m.Refs()[1])
	if _, err := m.Open(s.read); !errors.Is(err, errGone) {
		t.Errorf("%v", err)
	}
	s.held[m.Refs()[1]] = parts[1]
	if _, err := m.Open(s.read); !errors.Is(err, message.ErrCorrupt) {
		t.Errorf("another fragment in the place of one: %v", err)
	}
	s.Finish(m)
	s.Finish(m)
	if len(s.Unsaved()) != 1 || len(s.Placed(packet.TypeSMTP)) != 0 {
		t.Error("it is not finished")
	}
}

// The same fragment under the same name is the one that is kept already.
func TestAddedAgain(t *testing.T) {
	s := newShelf(3, ample)
	_, parts := s.split(t, 40_000)
	for range 3 {
		if v := s.Add(reassemble.Fragment{Ref: 7, Since: today, Payload: parts[0]}); !v.Keep {
			t.Fatalf("%+v", v)
		}
	}
	if n, held := s.Held(); n != 1 || held != packet.PayloadLen {
		t.Errorf("%d, %d bytes", n, held)
	}
	s.Add(reassemble.Fragment{Ref: 8, Since: today, Payload: parts[1]})
	for _, ref := range []uint64{7, 8} {
		if v := s.Add(reassemble.Fragment{Ref: ref, Since: today, Payload: parts[ref-7]}); !v.Keep {
			t.Errorf("after it is whole: %+v", v)
		}
	}
}

// changed returns a fragment with a field replaced and a hash that fits.
func changed(p *packet.Payload, change func(*packet.Payload)) *packet.Payload {
	out := *p
	change(&out)
	sum := sha1.Sum(out[23:])
	copy(out[3:], sum[:])
	return &out
}

func setSize(size uint32) func(*packet.Payload) {
	return func(p *packet.Payload) { binary.BigEndian.PutUint32(p[43:], size) }
}

// Fragments that contradict what is there end their message: none of it can be trusted.
func TestContradiction(t *testing.T) {
	for name, change := range map[string]func(*packet.Payload){
		"another text":          func(p *packet.Payload) { p[100]++ },
		"another size":          setSize(99_000),
		"a size of more chunks": setSize(900_000),
		"a size of fewer parts": setSize(50_000),
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(4, ample)
			_, parts := s.split(t, 100_000)
			_, others := s.split(t, 100_000)
			s.add(others[0])
			s.add(parts[0])
			s.add(parts[1])
			v := s.add(changed(parts[1], change))
			mustNot(t, v, delivery.Corrupt)
			if len(v.Erase) != 2 || len(s.held) != 1 {
				t.Errorf("%d are erased, %d held", len(v.Erase), len(s.held))
			}
			s.check(t)
			mustNot(t, s.add(parts[2]), delivery.None)
		})
	}
}

func TestRefused(t *testing.T) {
	s := newShelf(5, reassemble.Limits{Size: 200_000, Bytes: 1 << 30, Messages: 10})
	_, parts := s.split(t, 100_000)
	_, large := s.split(t, 300_000)
	flipped := *parts[0]
	flipped[5000]++
	for name, c := range map[string]struct {
		f   reassemble.Fragment
		why delivery.Reason
	}{
		"damaged":            {reassemble.Fragment{Payload: &flipped}, delivery.Malformed},
		"empty":              {reassemble.Fragment{Payload: new(packet.Payload)}, delivery.Malformed},
		"with an address":    {reassemble.Fragment{Payload: parts[0], Info: address}, delivery.Malformed},
		"too many fragments": {reassemble.Fragment{Payload: large[0]}, delivery.TooLarge},
		"largest size":       {reassemble.Fragment{Payload: changed(parts[0], setSize(1<<32-1))}, delivery.TooLarge},
		"no such index":      {reassemble.Fragment{Payload: changed(parts[0], func(p *packet.Payload) { p[2] = 6 })}, delivery.Malformed},
		"needs no fragments": {reassemble.Fragment{Payload: changed(parts[0], setSize(28_625))}, delivery.Malformed},
	} {
		t.Run(name, func(t *testing.T) { mustNot(t, s.Add(c.f), c.why) })
	}
	if n, _ := s.Held(); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestExpire(t *testing.T) {
	s := newShelf(6, ample)
	_, a := s.split(t, 100_000)
	_, b := s.split(t, 100_000)
	later := today.AddDate(0, 0, 1)
	s.Add(reassemble.Fragment{Ref: 1, Since: later, Payload: a[0]})
	s.Add(reassemble.Fragment{Ref: 2, Since: today, Payload: a[1]})
	s.Add(reassemble.Fragment{Ref: 3, Since: later, Payload: b[0]})
	if gone := s.Expire(today); len(gone) != 0 {
		t.Errorf("%v", gone)
	}
	if gone := s.Expire(later); len(gone) != 2 || gone[0] != 1 || gone[1] != 2 {
		t.Errorf("%v: the earliest fragment counts", gone)
	}
	// An expired message is not remembered as finished: somebody may be sending it only now.
	if v := s.Add(reassemble.Fragment{Ref: 4, Since: later, Payload: a[2]}); !v.Keep {
		t.Errorf("%+v", v)
	}
}

func TestFinished(t *testing.T) {
	s := newShelf(7, ample)
	_, parts := s.split(t, 40_000)
	s.add(parts[0])
	s.add(parts[1])
	s.takeReady(t)
	ids := s.Unsaved()
	s.Remember(today, ids)
	if len(ids) != 1 || len(s.Unsaved()) != 0 {
		t.Fatal("the ID is not stored once")
	}
	s.restart(t, ample)
	s.Remember(today, ids)
	mustNot(t, s.add(parts[2]), delivery.None)
	s.Forget(today)
	mustNot(t, s.add(parts[2]), delivery.None)
	s.Forget(today.Add(time.Hour))
	if v := s.add(parts[2]); !v.Keep {
		t.Errorf("%+v", v)
	}
}

// TestProperties: whatever order fragments of several messages come in, with copies, losses and restarts at any point, each message comes
// out once and whole if enough of its fragments came, and the account agrees with what is held.
func TestProperties(t *testing.T) {
	seed := byte(0)
	rapid.Check(t, func(r *rapid.T) {
		seed++
		s := newShelf(seed, ample)
		type sent struct {
			body []byte
			need int
			came map[int]bool
		}
		var all []sent
		var line [][2]int
		var parts [][]*packet.Payload
		for i, size := range rapid.SliceOfN(rapid.SampledFrom([]int{30_000, 57_300, 100_000, 120_000}), 1, 3).Draw(r, "sizes") {
			body, p := s.split(t, size)
			g, err := message.NewGeometry(int64(size), 0)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, sent{body, g.K, map[int]bool{}})
			parts = append(parts, p)
			for j := range p {
				for range rapid.SampledFrom([]int{1, 1, 1, 0, 2}).Draw(r, "copies") {
					line = append(line, [2]int{i, j})
				}
			}
		}
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "order"), 0))
		rnd.Shuffle(len(line), func(i, j int) { line[i], line[j] = line[j], line[i] })
		var saved []message.ID
		out := map[int]int{}
		take := func() {
			for _, got := range s.takeReady(t) {
				for i := range all {
					if bytes.HasSuffix(all[i].body, got) {
						out[i]++
					}
				}
			}
		}
		for _, at := range line {
			s.add(parts[at[0]][at[1]])
			all[at[0]].came[at[1]] = true
			if rapid.IntRange(0, 4).Draw(r, "then") == 0 {
				saved = append(saved, s.Unsaved()...)
				s.restart(t, ample)
				s.Remember(today, saved)
			}
			if rapid.Bool().Draw(r, "take") {
				take()
			}
		}
		take()
		for i := range all {
			want := 0
			if len(all[i].came) >= all[i].need {
				want = 1
			}
			if out[i] != want {
				r.Fatalf("message %d came out %d times; %d of %d fragments came", i, out[i], len(all[i].came), all[i].need)
			}
		}
		s.check(t)
	})
}

func FuzzAdd(f *testing.F) {
	s := newShelf(8, ample)
	_, parts := s.split(f, 100_000)
	for _, p := range parts[:2] {
		f.Add(p[:message.FragmentHeaderLen], false)
		f.Add(p[:message.FragmentHeaderLen], true)
	}
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, head []byte, fit bool) {
		s := newShelf(9, ample)
		s.add(parts[0])
		p := new(packet.Payload)
		copy(p[:], head)
		if fit {
			p = changed(p, func(p *packet.Payload) { p[0] |= 0x80 })
		}
		s.add(p)
		s.erase(s.Shrink())
		s.check(t)
	})
}

func BenchmarkAdd(b *testing.B) {
	s := newShelf(10, reassemble.Limits{Size: 1 << 20, Bytes: 256 << 20, Messages: 10_000})
	_, parts := s.split(b, 40_000)
	p := *parts[0]
	b.ReportAllocs()
	b.SetBytes(packet.PayloadLen)
	for ref := uint64(0); b.Loop(); ref++ {
		binary.BigEndian.PutUint64(p[23:], ref)
		sum := sha1.Sum(p[23:]) // a third of the work; a fragment of a new message each time
		copy(p[3:], sum[:])
		s.Add(reassemble.Fragment{Ref: ref, Since: today, Payload: &p})
		s.Shrink()
	}
}

func BenchmarkOpen(b *testing.B) {
	s := newShelf(11, ample)
	_, parts := s.split(b, 1_000_000)
	for _, p := range parts[22-16:] { // without some that need no decoding
		s.add(p)
	}
	m := s.Ready()[0]
	b.SetBytes(1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Open(s.read); err != nil {
			b.Fatal(err)
		}
	}
}
