package message_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"mixminion/message"
	"mixminion/packet"
)

// incompressible returns n bytes that compression makes no shorter.
func incompressible(seed byte, n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(newRand(seed), b); err != nil {
		panic(err)
	}
	return b
}

// craft makes a payload with a right hash from a header without hash (2 or 3 bytes) and what follows the hash.
func craft(head, rest []byte) *packet.Payload {
	var p packet.Payload
	n := copy(p[:], head)
	copy(p[n+20:], rest)
	sum := sha1.Sum(p[n+20:])
	copy(p[n:], sum[:])
	return &p
}

func craftFragment(index, size uint32) *packet.Payload {
	rest := binary.BigEndian.AppendUint32(bytes.Repeat([]byte("i"), message.IDLen), size)
	return craft([]byte{0x80 | byte(index>>16), byte(index >> 8), byte(index)}, rest)
}

func TestDecodePayloadTable(t *testing.T) {
	damaged := craftFragment(0, 60000)
	damaged[1000] ^= 1
	for name, tc := range map[string]struct {
		p    *packet.Payload
		kind message.Kind
		err  error
	}{
		"all zero":               {new(packet.Payload), message.KindEncrypted, nil},
		"damaged":                {damaged, message.KindEncrypted, nil},
		"empty singleton":        {craft([]byte{0, 0}, nil), message.KindSingleton, nil},
		"full singleton":         {craft([]byte{0x6f, 0xea}, nil), message.KindSingleton, nil},
		"too long singleton":     {craft([]byte{0x6f, 0xeb}, nil), 0, message.ErrPayload},
		"far too long singleton": {craft([]byte{0x7f, 0xff}, nil), 0, message.ErrPayload},
		"fragment":               {craftFragment(2, 57250), message.KindFragment, nil},
		"smallest message":       {craftFragment(0, 28626), message.KindFragment, nil},
		"no need of fragments":   {craftFragment(0, 28625), 0, message.ErrPayload},
		"empty message":          {craftFragment(0, 0), 0, message.ErrPayload},
		"index at end":           {craftFragment(3, 57250), 0, message.ErrPayload},
		"largest index":          {craftFragment(1<<23-1, math.MaxUint32), 0, message.ErrPayload},
		"index above 2^16":       {craftFragment(70000, 2_000_000_000), message.KindFragment, nil},
	} {
		d, err := message.DecodePayload(tc.p)
		if d.Kind != tc.kind || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, %v", name, d.Kind, err)
		}
		if name == "index above 2^16" && d.Fragment.Index != 70000 {
			t.Error("index", d.Fragment.Index)
		}
	}
}

func TestGeometryBounds(t *testing.T) {
	for _, n := range []int64{-1, 0, 1 << 32, math.MaxInt64} {
		if _, err := message.NewGeometry(n, 0); !errors.Is(err, message.ErrLength) {
			t.Errorf("%d: %v", n, err)
		}
	}
	g, err := message.NewGeometry(2_000_000_000, message.ForwardOverhead)
	if err != nil || g.Packets() > 1<<23 || g.Packets() <= 1<<16 {
		t.Errorf("%+v, %v", g, err)
	}
}

// edgeLengths are around every change of geometry.
var edgeLengths = []int{0, 1, 28000, 28600, 28612, 28613, 28650, 28651, 57000, 57400, 114300, 115000, 230000, 460000}

func TestEncodeDecode(t *testing.T) {
	for _, n := range edgeLengths {
		for _, overhead := range []int{0, message.ForwardOverhead} {
			msg := incompressible(7, n)
			e, err := message.Encode(newRand(1), msg, overhead)
			if err != nil {
				t.Fatal(err)
			}
			if e.MessageLen != n || e.CompressedLen < n || e.Overcompressed() {
				t.Errorf("%d bytes: %d, compressed %d", n, e.MessageLen, e.CompressedLen)
			}
			if fits := e.CompressedLen <= packet.PayloadLen-message.SingletonHeaderLen-overhead; e.Fragmented == fits || fits != (len(e.Payloads) == 1) {
				t.Errorf("%d compressed bytes, overhead %d: %d payloads", e.CompressedLen, overhead, len(e.Payloads))
			}
			if overhead != 0 {
				for _, p := range e.Payloads {
					if bytes.Trim(p[packet.PayloadLen-overhead:], "\x00") != nil {
						t.Error("room for encryption is not empty")
					}
				}
				continue // read back in TestEncryptedForward
			}
			got, err := decodeAll(e.Payloads)
			if err != nil || !bytes.Equal(got, msg) {
				t.Errorf("%d bytes do not come back: %v", n, err)
			}
		}
	}
}

// decodeAll gets the message out of plain payloads.
func decodeAll(payloads []packet.Payload) ([]byte, error) {
	var fragments []*message.Fragment
	for i := range payloads {
		d, err := message.DecodePayload(&payloads[i])
		if err != nil {
			return nil, err
		}
		if d.Kind != message.KindFragment {
			return d.Message(0)
		}
		fragments = append(fragments, d.Fragment)
	}
	slices.Reverse(fragments)
	compressed, err := reassemble(fragments)
	if err != nil {
		return nil, err
	}
	return message.Decompress(compressed, message.ReassembledLimit(len(compressed)))
}

// The bytes of a payload depend on nothing but the message and the randomness, and all padding is random.
func TestEncodeUsesItsRandomness(t *testing.T) {
	for _, n := range []int{100, 60000} {
		msg := incompressible(3, n)
		encode := func(seed byte) *message.Encoded {
			e, err := message.Encode(newRand(seed), msg, 0)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		a, b, c := encode(1), encode(1), encode(2)
		if !slices.Equal(a.Payloads, b.Payloads) {
			t.Error("same randomness, other payloads")
		}
		last, other := a.Payloads[len(a.Payloads)-1], c.Payloads[len(c.Payloads)-1]
		if bytes.Equal(last[len(last)-1000:], other[len(other)-1000:]) {
			t.Error("padding is the same")
		}
		d, _ := message.DecodePayload(&a.Payloads[0])
		d2, _ := message.DecodePayload(&c.Payloads[0])
		if n == 60000 && d.Fragment.ID == d2.Fragment.ID {
			t.Error("message ID is the same")
		}
	}
}

type failing struct{ n int }

func (f *failing) Read(p []byte) (int, error) {
	if f.n < len(p) {
		return 0, errors.New("no randomness")
	}
	f.n -= len(p)
	return len(p), nil
}

func TestNoRandomnessNoPayload(t *testing.T) {
	for _, n := range []int{100, 60000} {
		for _, given := range []int{0, 20, 1000} {
			if e, err := message.Encode(&failing{given}, incompressible(3, n), 0); err == nil || e != nil {
				t.Errorf("%d bytes with %d random ones", n, given)
			}
		}
	}
	if _, err := message.PlainTag(&failing{19}); err == nil {
		t.Error("tag")
	}
	if _, err := message.EncryptForward(&failing{15}, new(packet.Payload), &testKey().PublicKey); err == nil {
		t.Error("session key")
	}
}

func TestImpossibleEncodings(t *testing.T) {
	if _, err := message.Encode(newRand(1), nil, 1); !errors.Is(err, message.ErrPayload) {
		t.Error("overhead:", err)
	}
	for _, typ := range []packet.RoutingType{packet.TypeDrop, packet.TypeFwdHost, packet.TypeFragment} {
		if _, err := message.EncodeForServer(newRand(1), nil, typ, nil); !errors.Is(err, message.ErrPayload) {
			t.Error(typ, err)
		}
	}
	if _, err := message.EncodeForServer(newRand(1), nil, packet.TypeSMTP, make([]byte, 1<<16)); !errors.Is(err, message.ErrPayload) {
		t.Error("long address:", err)
	}
}

func TestPlainTag(t *testing.T) {
	rnd := newRand(1)
	seen := map[packet.Tag]bool{}
	for range 100 {
		tag, err := message.PlainTag(rnd)
		if err != nil || tag[0]&0x80 != 0 || seen[tag] {
			t.Fatal(tag, err)
		}
		seen[tag] = true
	}
}

func TestServerSide(t *testing.T) {
	for _, n := range []int{10, 28650, 28651, 500000} {
		msg := append([]byte("SUBJECT:s\n\n"), incompressible(1, n)...)
		e, err := message.EncodeForServer(newRand(1), msg, packet.TypeMBOX, []byte("fred"))
		if err != nil {
			t.Fatal(err)
		}
		if !e.Fragmented {
			got, err := decodeAll(e.Payloads)
			if err != nil || !bytes.Equal(got, msg) {
				t.Error("a single payload has no prefix:", err)
			}
			continue
		}
		var fragments []*message.Fragment
		for i := range e.Payloads {
			d, err := message.DecodePayload(&e.Payloads[i])
			if err != nil {
				t.Fatal(err)
			}
			fragments = append(fragments, d.Fragment)
		}
		whole, err := reassemble(fragments)
		if err != nil {
			t.Fatal(err)
		}
		to, compressed, err := message.ParseServerSide(whole)
		if err != nil || to.Type != packet.TypeMBOX || string(to.Info) != "fred" {
			t.Error(to, err)
		}
		d, err := message.DecodeReassembled(compressed)
		if err != nil || d.Form != message.FormBinary || d.Headers.Subject != "s" || !bytes.HasSuffix(msg, d.Body) {
			t.Error(d.Form, err)
		}
	}
}

func TestParseServerSideTable(t *testing.T) {
	for in, ok := range map[string]bool{
		"":                     false,
		"\x01\x00\x00":         false,
		"\x01\x00\x00\x00":     true,
		"\x01\x00\x00\x02a":    false,
		"\x01\x00\x00\x02ab":   true,
		"\x01\x01\x00\x02abc":  true,
		"\x01\x03\x00\x00abc":  false, // a fragment inside a fragment
		"\x00\x04\x00\x02abc":  false,
		"\x00\x00\x00\x00":     false,
		"\x01\x00\xff\xffabcd": false,
	} {
		if _, _, err := message.ParseServerSide([]byte(in)); (err == nil) != ok || err != nil && !errors.Is(err, message.ErrPayload) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestOvercompressed(t *testing.T) {
	for _, tc := range []struct {
		n    int
		want bool
	}{{20480, false}, {20481, true}, {1 << 20, true}} {
		e, err := message.Encode(newRand(1), make([]byte, tc.n), 0)
		if err != nil || e.Overcompressed() != tc.want {
			t.Error(tc.n, err)
		}
		d, err := message.DecodeForExit(&e.Payloads[0], packet.Tag{})
		if err != nil || (d.Form == message.FormOvercompressed) != tc.want {
			t.Error(tc.n, d.Form, err)
		}
	}
	// Reassembled messages have no free allowance.
	if d, err := message.DecodeReassembled(message.Compress(make([]byte, 2000))); err != nil || d.Form != message.FormOvercompressed {
		t.Error(d.Form, err)
	}
	for _, factor := range []int{19, 21} {
		msg := make([]byte, factor*3000)
		if _, err := io.ReadFull(newRand(2), msg[:2900]); err != nil {
			t.Fatal(err)
		}
		d, err := message.DecodeReassembled(message.Compress(msg))
		if err != nil || (d.Form == message.FormOvercompressed) != (factor > 20) {
			t.Error(factor, len(message.Compress(msg)), d.Form, err)
		}
	}
}

func TestMessageOfIncomplete(t *testing.T) {
	for _, p := range []*packet.Payload{craftFragment(0, 60000), new(packet.Payload)} {
		d, err := message.DecodePayload(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Message(0); !errors.Is(err, message.ErrIncomplete) {
			t.Error(d.Kind, err)
		}
	}
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := message.KindSingleton; k <= message.KindText+1; k++ {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d is called %q", int(k), name)
		}
		seen[k.String()] = true
	}
}

func TestAnyMessageRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msg := incompressible(rapid.Byte().Draw(t, "seed"), rapid.IntRange(0, 70000).Draw(t, "length"))
		e, err := message.Encode(newRand(1), msg, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeAll(e.Payloads); err != nil || !bytes.Equal(got, msg) {
			t.Fatal(err)
		}
	})
}

func FuzzDecodePayload(f *testing.F) {
	f.Add([]byte{0, 3}, []byte("abc"), true)
	f.Add([]byte{0x6f, 0xeb}, []byte{}, true)
	f.Add([]byte{0x80, 0, 0}, []byte("iiiiiiiiiiiiiiiiiiii\x00\x00\xff\xffdata"), true)
	f.Add([]byte{0xff, 0xff, 0xff}, []byte("iiiiiiiiiiiiiiiiiiii\xff\xff\xff\xffdata"), true)
	f.Add([]byte{}, []byte{}, false)
	f.Fuzz(func(t *testing.T, head, rest []byte, hashed bool) {
		var p packet.Payload
		if hashed {
			size := 2
			if len(head) > 0 && head[0]&0x80 != 0 {
				size = 3
			}
			p = *craft(append(head, 0, 0, 0)[:size], rest[:min(len(rest), packet.PayloadLen-23)])
		} else {
			copy(p[:], head)
			copy(p[min(len(head), packet.PayloadLen):], rest)
		}
		d, err := message.DecodePayload(&p)
		if err != nil {
			if !errors.Is(err, message.ErrPayload) {
				t.Fatal(err)
			}
			return
		}
		if hashed == (d.Kind == message.KindEncrypted) && hashed {
			t.Fatal("hash not recognised")
		}
		if d.Kind == message.KindFragment {
			if _, err := message.NewAssembly(d.Fragment, message.Opener{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := message.DecodeForExit(&p, packet.Tag{}); err != nil && !errors.Is(err, message.ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
