package packet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"mixminion/internal/crypt"
)

// countingOperations records each operation with the length that it works on.
type countingOperations struct {
	realOperations
	log []string
}

func (c *countingOperations) note(what string, n int) {
	c.log = append(c.log, fmt.Sprint(what, " ", n))
}

func (c *countingOperations) subDigest(master []byte, label crypt.Label) crypt.Digest {
	c.note(string(label), len(master))
	return c.realOperations.subDigest(master, label)
}

func (c *countingOperations) hash(b []byte) crypt.Digest {
	c.note("hash", len(b))
	return c.realOperations.hash(b)
}

func (c *countingOperations) xorStream(key crypt.Key, b []byte) {
	c.note("stream", len(b))
	c.realOperations.xorStream(key, b)
}

func (c *countingOperations) sprpDecrypt(key crypt.SPRPKey, b []byte) {
	c.note("LIONESS", len(b))
	c.realOperations.sprpDecrypt(key, b)
}

// countingKey stands in for a packet key and counts its private operations.
type countingKey struct {
	plain []byte // nil: the packet is not for this key
	calls int
}

func (k *countingKey) DecryptPK([]byte) ([]byte, error) {
	k.calls++
	if k.plain == nil {
		return nil, crypt.ErrDecryption
	}
	return k.plain, nil
}

// TestSameOperations: whatever a packet is, the operations after RSA are the same, over the same lengths.
func TestSameOperations(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{})
	var p Packet
	rnd.Read(p[:])
	digest := crypt.Hash(p[crypt.PKEncLen:HeaderLen])
	hop := Hop{Host: "next.example", Port: 1}.AppendRoutingInfo(nil)
	sub := func(t RoutingType, info []byte, change func(*subheader)) []byte {
		sh := subheader{minor: versionMinor, secret: crypt.Key{1}, digest: digest, routingSize: uint16(len(info)), routingType: t}
		if change != nil {
			change(&sh)
		}
		plain := append(sh.appendTo(nil), info...)
		return append(plain, make([]byte, crypt.PKMaxDataLen)...)[:crypt.PKMaxDataLen]
	}
	cases := map[string]struct {
		plain []byte
		want  error
	}{
		"relay":        {sub(TypeFwdHost, hop, nil), nil},
		"swap":         {sub(TypeSwapFwdHost, hop, nil), nil},
		"deliver":      {sub(TypeSMTP, make([]byte, 100), nil), nil},
		"drop":         {sub(TypeDrop, nil, nil), nil},
		"not for us":   {nil, ErrNotForUs},
		"short":        {make([]byte, 10), ErrNotForUs},
		"version":      {sub(TypeDrop, nil, func(s *subheader) { s.minor = 9 }), ErrVersion},
		"digest":       {sub(TypeDrop, nil, func(s *subheader) { s.digest[0] ^= 1 }), ErrDigest},
		"type":         {sub(9, nil, nil), ErrRoutingType},
		"long info":    {sub(TypeSMTP, nil, func(s *subheader) { s.routingSize = 60000 }), ErrRoutingInfo},
		"bad next hop": {sub(TypeFwdHost, nil, nil), ErrRoutingInfo},
	}
	var want []string
	for name, c := range cases {
		key, ops := &countingKey{plain: c.plain}, &countingOperations{}
		u := &Unwrapper{keys: []crypt.Decrypter{key}, ops: ops}
		q := p
		if _, err := u.Unwrap(&q); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if key.calls != 1 {
			t.Errorf("%s: %d RSA operations", name, key.calls)
		}
		if want == nil {
			want = ops.log
		}
		if !reflect.DeepEqual(ops.log, want) {
			t.Errorf("%s: operations differ:\n%v\n%v", name, ops.log, want)
		}
	}
}

// TestJunkCost: junk costs one RSA operation per key in use.
func TestJunkCost(t *testing.T) {
	a, b := &countingKey{}, &countingKey{}
	u, err := NewUnwrapper(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Unwrap(new(Packet)); !errors.Is(err, ErrNotForUs) {
		t.Fatal(err)
	}
	if a.calls != 1 || b.calls != 1 {
		t.Errorf("%d and %d RSA operations", a.calls, b.calls)
	}
}

func FuzzSubheader(f *testing.F) {
	f.Add(make([]byte, minSubheaderLen))
	f.Add(subheader{minor: 3, secret: crypt.Key{5}, routingSize: 7, routingType: TypeSMTP}.appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < minSubheaderLen {
			return
		}
		if got := parseSubheader(b).appendTo(nil); string(got) != string(b[:minSubheaderLen]) {
			t.Error("round trip differs")
		}
	})
}

// FuzzUnwrapPlain lets the fuzzer write what an RSA block holds, which random packets never reach.
func FuzzUnwrapPlain(f *testing.F) {
	var p Packet
	digest := crypt.Hash(p[crypt.PKEncLen:HeaderLen])
	for _, t := range []RoutingType{TypeDrop, TypeFwdIPv4, TypeFwdHost, TypeSwapFwdHost, TypeSMTP, 0x42} {
		info := Hop{Host: "h.example", Port: 9}.AppendRoutingInfo(nil)
		sh := subheader{minor: versionMinor, digest: digest, routingSize: uint16(len(info)), routingType: t}
		f.Add(append(sh.appendTo(nil), info...), true)
	}
	f.Fuzz(func(t *testing.T, plain []byte, fixDigest bool) {
		block := make([]byte, crypt.PKMaxDataLen)
		copy(block, plain)
		if fixDigest {
			copy(block[18:], digest[:])
		}
		u, err := NewUnwrapper(&countingKey{plain: block})
		if err != nil {
			t.Fatal(err)
		}
		q := p
		res, err := u.Unwrap(&q)
		if err == nil && res.Action == Relay && !ValidHost(res.Next.Host) {
			t.Error("relays to a bad host")
		}
	})
}
