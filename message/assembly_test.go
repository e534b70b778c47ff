package message_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"mixminion/message"
	"mixminion/packet"
)

// fragmentsOf returns a message that does not compress and its fragments.
func fragmentsOf(t interface{ Fatal(...any) }, seed byte, n int) ([]byte, []*message.Fragment) {
	msg := incompressible(seed, n)
	e, err := message.Encode(newRand(seed), msg, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []*message.Fragment
	for i := range e.Payloads {
		d, err := message.DecodePayload(&e.Payloads[i])
		if err != nil || d.Kind != message.KindFragment {
			t.Fatal(d.Kind, err)
		}
		list = append(list, d.Fragment)
	}
	return msg, list
}

// Any K of the N packets of each chunk give the message, in any order, among duplicates.
func TestAnyKOfN(t *testing.T) {
	type example struct {
		msg []byte
		all []*message.Fragment
	}
	var examples []example
	for _, n := range []int{28700, 60000, 120000, 235000, 470000} {
		msg, all := fragmentsOf(t, 5, n)
		examples = append(examples, example{msg, all})
	}
	rapid.Check(t, func(t *rapid.T) {
		ex := rapid.SampledFrom(examples).Draw(t, "example")
		msg, all := ex.msg, ex.all
		g, err := all[0].Geometry()
		if err != nil {
			t.Fatal(err)
		}
		var some []*message.Fragment
		for chunk := range g.Chunks {
			some = append(some, rapid.Permutation(all[chunk*g.N:(chunk+1)*g.N]).Draw(t, "subset")[:g.K]...)
		}
		order := rapid.Permutation(some).Draw(t, "order")
		twice := slices.Insert(slices.Clone(order), len(order)/2, order[:len(order)/2]...)
		compressed, err := reassemble(twice)
		if err != nil {
			t.Fatal(err)
		}
		got, err := message.Decompress(compressed, message.ReassembledLimit(len(compressed)))
		if err != nil || !bytes.Equal(got, msg) {
			t.Fatal("another message", err)
		}
		if _, err := reassemble(order[1:]); !errors.Is(err, message.ErrIncomplete) {
			t.Fatal("one packet less:", err)
		}
	})
}

func TestAssemblyAccount(t *testing.T) {
	_, all := fragmentsOf(t, 5, 470000) // two chunks of 16 of 22
	by := message.Opener{Via: message.ViaIdentity, Name: "x"}
	a, err := message.NewAssembly(all[40], by)
	if err != nil {
		t.Fatal(err)
	}
	g := a.Geometry()
	if a.ID() != all[0].ID || a.Size() != all[0].Size || a.Opener() != by || g.Chunks != 2 || g.Packets() != len(all) {
		t.Errorf("%+v", g)
	}
	if a.Ready() || a.Missing() != 32 {
		t.Error("something is there before anything was added")
	}
	kept := 0
	for i, f := range all {
		keep, err := a.Add(f, by)
		if err != nil {
			t.Fatal(err)
		}
		if want := i%22 < 16; keep != want {
			t.Errorf("fragment %d: keep is %v", i, keep)
		}
		if keep {
			kept++
			if again, err := a.Add(f, by); again || err != nil {
				t.Error("kept twice", err)
			}
		}
		if i == 20 {
			if d := a.Progress(); !slices.Equal(d, []message.Progress{{Have: 16, Need: 16}, {Have: 0, Need: 16}}) || a.Ready() {
				t.Error(d)
			}
		}
	}
	if kept != 32 || !a.Ready() || a.Missing() != 0 {
		t.Error(kept, a.Missing())
	}
	if _, err := a.Reassemble(func(uint32) ([]byte, error) { return nil, errors.New("disk") }); err == nil || errors.Is(err, message.ErrCorrupt) {
		t.Error("failing store:", err)
	}
	if _, err := a.Reassemble(func(uint32) ([]byte, error) { return all[0].Data, nil }); !errors.Is(err, message.ErrCorrupt) {
		t.Error("store that mixes things up:", err)
	}
	if _, err := a.Reassemble(func(i uint32) ([]byte, error) { return all[i].Data, nil }); err != nil {
		t.Error("after failures:", err)
	}
}

func TestAssemblyPoisoned(t *testing.T) {
	_, all := fragmentsOf(t, 5, 60000)
	_, others := fragmentsOf(t, 6, 60000)
	change := func(edit func(f *message.Fragment)) *message.Fragment {
		f := *all[1]
		f.Data = bytes.Clone(f.Data)
		edit(&f)
		return &f
	}
	by := message.Opener{Via: message.ViaKey, Name: "k"}
	for name, tc := range map[string]struct {
		f    *message.Fragment
		by   message.Opener
		want error
	}{
		"other message":        {others[1], by, message.ErrOtherMessage},
		"other size":           {change(func(f *message.Fragment) { f.Size++ }), by, message.ErrInconsistent},
		"other payload size":   {change(func(f *message.Fragment) { f.Data = f.Data[message.ForwardOverhead:] }), by, message.ErrInconsistent},
		"no data":              {change(func(f *message.Fragment) { f.Data = nil }), by, message.ErrInconsistent},
		"index out of range":   {change(func(f *message.Fragment) { f.Index = 6 }), by, message.ErrInconsistent},
		"index far out":        {change(func(f *message.Fragment) { f.Index = 1<<32 - 1 }), by, message.ErrInconsistent},
		"second version":       {change(func(f *message.Fragment) { f.Data[0] ^= 1 }), by, message.ErrInconsistent},
		"other recipient":      {all[1], message.Opener{Via: message.ViaKey, Name: "l"}, message.ErrInconsistent},
		"not encrypted at all": {all[1], message.Opener{}, message.ErrInconsistent},
	} {
		a, err := message.NewAssembly(all[0], by)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all[:4] {
			if _, err := a.Add(f, by); err != nil {
				t.Fatal(err)
			}
		}
		if !a.Ready() {
			t.Fatal("not ready")
		}
		if keep, err := a.Add(tc.f, tc.by); keep || !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, %v", name, keep, err)
		}
		poisoned := errors.Is(tc.want, message.ErrInconsistent)
		if _, err := a.Add(all[4], by); errors.Is(err, message.ErrInconsistent) != poisoned {
			t.Errorf("%s, then a good one: %v", name, err)
		}
		if a.Ready() == poisoned {
			t.Errorf("%s: ready is %v", name, a.Ready())
		}
		_, err = a.Reassemble(func(i uint32) ([]byte, error) { return all[i].Data, nil })
		if errors.Is(err, message.ErrInconsistent) != poisoned {
			t.Errorf("%s, then Reassemble: %v", name, err)
		}
	}
}

func TestNewAssemblyRefuses(t *testing.T) {
	_, all := fragmentsOf(t, 5, 60000)
	for name, f := range map[string]*message.Fragment{
		"no data":     {Size: 60000},
		"odd data":    {Size: 60000, Data: all[0].Data[1:]},
		"no message":  {Data: all[0].Data},
		"needs one":   {Size: uint32(len(all[0].Data)), Data: all[0].Data},
		"tiny pieces": {Size: 1<<32 - 1, Data: []byte{1}},
	} {
		if _, err := message.NewAssembly(f, message.Opener{}); !errors.Is(err, message.ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzAssembly plays fragments, good and altered ones, as the bytes of script tell.
func FuzzAssembly(f *testing.F) {
	msg, all := fragmentsOf(f, 5, 60000)
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte{5, 0, 3, 0, 1})
	f.Add([]byte{0, 0x41, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		a, err := message.NewAssembly(all[0], message.Opener{})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[uint32]bool{}
		broken := false
		for _, c := range script {
			fragment := *all[int(c&0x0f)%len(all)]
			var by message.Opener
			switch c >> 5 {
			case 1:
				fragment.Size += uint32(c)
			case 2:
				fragment.Data = append(bytes.Clone(fragment.Data[1:]), c)
			case 3:
				fragment.Index += uint32(c) << 16
			case 4:
				by.Name = "x"
			case 5:
				fragment.ID[0]++
			}
			keep, err := a.Add(&fragment, by)
			switch {
			case errors.Is(err, message.ErrOtherMessage):
			case errors.Is(err, message.ErrInconsistent):
				broken = true
			case err != nil:
				t.Fatal(err)
			case broken:
				t.Fatal("taken although the message is given up")
			case keep:
				if seen[fragment.Index] {
					t.Fatal("kept twice")
				}
				seen[fragment.Index] = true
			}
			if broken && a.Ready() || !broken && a.Ready() != (len(seen) == 4) {
				t.Fatal("ready is", a.Ready(), len(seen), broken)
			}
		}
		altered := slices.ContainsFunc(script, func(c byte) bool { return c>>5 == 2 })
		if a.Ready() && !altered {
			compressed, err := a.Reassemble(func(i uint32) ([]byte, error) { return all[i].Data, nil })
			if err != nil {
				t.Fatal(err)
			}
			if got, err := message.Decompress(compressed, 60000); err != nil || !bytes.Equal(got, msg) {
				t.Fatal("another message", err)
			}
		}
	})
}

func BenchmarkEncode1MB(b *testing.B) {
	msg := incompressible(1, 1<<20)
	rnd := newRand(1)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message.Encode(rnd, msg, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompress1MB is the part of BenchmarkEncode1MB that package zlib takes.
func BenchmarkCompress1MB(b *testing.B) {
	msg := incompressible(1, 1<<20)
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		message.Compress(msg)
	}
}

func BenchmarkReassemble1MB(b *testing.B) {
	_, all := fragmentsOf(b, 1, 1<<20)
	slices.Reverse(all) // so that all parity packets are used
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := reassemble(all); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeForExit(b *testing.B) {
	e, err := message.Encode(newRand(1), append([]byte("\n"), bytes.Repeat([]byte("some text "), 1000)...), 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message.DecodeForExit(&e.Payloads[0], packet.Tag{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenReply is what a reply costs that belongs to the last of many identities, with a path of the greatest length.
func BenchmarkOpenReply(b *testing.B) {
	list, err := message.ParseDelivered(read(b, "reply-marktwain.asc"))
	if err != nil {
		b.Fatal(err)
	}
	keys := message.Keys{Identities: keyringIdentities(b)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := list[0].Open(keys); err != nil {
			b.Fatal(err)
		}
	}
}
