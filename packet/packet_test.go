package packet_test

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/internal/crypt"
	"mixminion/packet"

	"pgregory.net/rapid"
)

// testKeys are made once: a key costs tens of milliseconds.
var testKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, 4)
	for i := range keys {
		k, err := crypt.GenerateKey(2048)
		if err != nil {
			panic(err)
		}
		keys[i] = k
	}
	return keys
})

type testNode struct {
	packet.Node
	key *rsa.PrivateKey
}

func newNode(i int, host string) testNode {
	k := testKeys()[i%len(testKeys())]
	id := crypt.KeyID{byte(i), byte(i >> 8), 1}
	return testNode{packet.Node{Hop: packet.Hop{Host: host, Port: uint16(40000 + i), KeyID: id}, PacketKey: &k.PublicKey}, k}
}

func nodes(leg []testNode) []packet.Node {
	out := make([]packet.Node, len(leg))
	for i, n := range leg {
		out[i] = n.Node
	}
	return out
}

func hops(leg []testNode) []packet.Hop {
	out := make([]packet.Hop, len(leg))
	for i, n := range leg {
		out[i] = n.Hop
	}
	return out
}

func drawLeg(t *rapid.T, label string, first int) []testNode {
	n := rapid.IntRange(1, 16).Draw(t, label)
	leg := make([]testNode, n)
	for i := range leg {
		host := strings.Repeat("h", rapid.IntRange(1, 60).Draw(t, "host length"))
		leg[i] = newNode(first+i, host)
	}
	return leg
}

// walk unwraps p at each node in turn and checks that it is sent along the path.
func walk(t rapid.TB, p *packet.Packet, path []testNode) packet.Result {
	t.Helper()
	seen := map[crypt.Digest]bool{}
	for i, n := range path {
		dec, err := crypt.StdProvider{}.Decrypter(n.key)
		if err != nil {
			t.Fatal(err)
		}
		u, err := packet.NewUnwrapper(dec)
		if err != nil {
			t.Fatal(err)
		}
		res, err := u.Unwrap(p)
		if err != nil {
			t.Fatalf("hop %d of %d: %v", i+1, len(path), err)
		}
		if seen[res.Replay] {
			t.Fatal("two hops share a replay value")
		}
		seen[res.Replay] = true
		if i == len(path)-1 {
			return res
		}
		if res.Action != packet.Relay || res.Next != path[i+1].Hop {
			t.Fatalf("hop %d of %d: %+v", i+1, len(path), res)
		}
	}
	return packet.Result{}
}

func randomPayload(rnd *rand.ChaCha8) *packet.Payload {
	var p packet.Payload
	rnd.Read(p[:])
	return &p
}

// TestForwardRoundTrip builds packets for random paths, up to the longest that fit and beyond, and unwraps them hop by hop.
func TestForwardRoundTrip(t *testing.T) {
	built, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.NewChaCha8([32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed")))
		leg1, leg2 := drawLeg(t, "leg 1", 0), drawLeg(t, "leg 2", 100)
		exit := packet.Exit{Type: packet.RoutingType(rapid.IntRange(0x100, 0xfffe).Draw(t, "type"))}
		exit.Info = rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "info")
		if exit.Type.HasTag() {
			exit.Tag = &packet.Tag{1, 2, 3}
		}
		payload := randomPayload(rnd)
		fits := packet.CheckForward(hops(leg1), hops(leg2), exit)
		p, err := packet.BuildForward(rnd, nodes(leg1), nodes(leg2), exit, payload)
		if fits != nil {
			refused++
			if !errors.Is(fits, packet.ErrTooLong) || !errors.Is(err, packet.ErrTooLong) {
				t.Fatalf("check says %v, build says %v", fits, err)
			}
			return
		}
		built++
		if err != nil {
			t.Fatal(err)
		}
		res := walk(t, p, append(leg1, leg2...))
		if res.Action != packet.Deliver || res.Type != exit.Type {
			t.Fatalf("%+v", res)
		}
		tag, info, err := packet.SplitTag(res.Type, res.Info)
		if err != nil || !bytes.Equal(info, exit.Info) || (exit.Tag != nil && *tag != *exit.Tag) {
			t.Fatalf("routing information differs: %v", err)
		}
		if !bytes.Equal(p[2*packet.HeaderLen:], payload[:]) {
			t.Fatal("payload differs")
		}
	})
	if built == 0 || refused == 0 {
		t.Errorf("%d paths built, %d refused: the test must see both", built, refused)
	}
}

func TestLongestPath(t *testing.T) {
	leg := func(n, first int) (leg []testNode) {
		for i := range n {
			leg = append(leg, newNode(first+i, "127.0.0.1"))
		}
		return leg
	}
	exit := packet.Exit{Type: packet.TypeSMTP, Info: []byte("bob@example.com"), Tag: &packet.Tag{}}
	rnd := rand.NewChaCha8([32]byte{})
	p, err := packet.BuildForward(rnd, nodes(leg(16, 0)), nodes(leg(16, 16)), exit, randomPayload(rnd))
	if err != nil {
		t.Fatal(err)
	}
	walk(t, p, append(leg(16, 0), leg(16, 16)...))
	for _, c := range [][2]int{{17, 1}, {1, 17}} {
		if _, err := packet.BuildForward(rnd, nodes(leg(c[0], 0)), nodes(leg(c[1], 0)), exit, new(packet.Payload)); !errors.Is(err, packet.ErrTooLong) {
			t.Errorf("%d+%d hops: %v", c[0], c[1], err)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{})
	good := []packet.Node{newNode(0, "a.example").Node}
	exit := packet.Exit{Type: packet.TypeSMTP, Info: []byte("x@y"), Tag: &packet.Tag{}}
	badHost := []packet.Node{newNode(0, "a..example").Node}
	noKey := []packet.Node{{Hop: good[0].Hop}}
	for name, c := range map[string]struct {
		leg1, leg2 []packet.Node
		want       error
	}{
		"empty first leg":  {nil, good, packet.ErrEmptyLeg},
		"empty second leg": {good, nil, packet.ErrEmptyLeg},
		"bad host, leg 1":  {badHost, good, packet.ErrHost},
		"bad host, leg 2":  {good, badHost, packet.ErrHost},
		"no packet key":    {noKey, good, crypt.ErrKey},
	} {
		if _, err := packet.BuildForward(rnd, c.leg1, c.leg2, exit, new(packet.Payload)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := packet.BuildForward(strings.NewReader("dry"), good, good, exit, new(packet.Payload)); err == nil {
		t.Error("a dry random source goes unnoticed")
	}
}

// TestReplyRoundTrip makes reply blocks, sends through them and undoes the layers as their owner does.
func TestReplyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.NewChaCha8([32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed")))
		leg1, hidden := drawLeg(t, "leg 1", 0), drawLeg(t, "hidden path", 100)
		secret := rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "secret")
		address := []byte("dave@example.com")
		fits := packet.CheckSURB(hops(hidden), packet.TypeSMTP, address)
		expires := time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC)
		s, handle, err := packet.BuildSURB(rnd, nodes(hidden), packet.TypeSMTP, address, secret, expires)
		if fits != nil {
			if !errors.Is(err, packet.ErrTooLong) {
				t.Fatal(err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC); !s.Expires.Equal(want) {
			t.Fatalf("expires %v", s.Expires)
		}
		parsed, err := packet.ParseArmoredSURBs(packet.ArmorSURBs([]*packet.SURB{s}))
		if err != nil || parsed[0].ID() != s.ID() {
			t.Fatalf("armor: %v", err)
		}
		payload := randomPayload(rnd)
		p, err := packet.BuildReply(rnd, nodes(leg1), s, payload)
		if packet.CheckReply(hops(leg1), s) != nil {
			if !errors.Is(err, packet.ErrTooLong) {
				t.Fatal(err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		res := walk(t, p, append(leg1, hidden...))
		tag, info, err := packet.SplitTag(res.Type, res.Info)
		if err != nil || !bytes.Equal(info, address) || *tag != handle || !crypt.IsSURBSeed(*tag, secret) {
			t.Fatalf("delivered to %q: %v", info, err)
		}
		got := p[2*packet.HeaderLen:]
		for _, key := range crypt.SURBKeys(*tag, secret, len(hidden)+1) {
			crypt.SPRPEncrypt(crypt.SubSPRPKey(key[:], crypt.LabelPayloadEncrypt), got)
		}
		if !bytes.Equal(got, payload[:]) {
			t.Fatal("payload differs")
		}
	})
}

func TestDropAndTwoKeys(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{7})
	a, b := newNode(0, "a.example"), newNode(1, "b.example")
	for i, order := range [][]*rsa.PrivateKey{{b.key, a.key}, {a.key, b.key}} {
		p, err := packet.BuildForward(rnd, []packet.Node{a.Node}, []packet.Node{b.Node}, packet.Exit{Type: packet.TypeDrop}, randomPayload(rnd))
		if err != nil {
			t.Fatal(err)
		}
		u := unwrapper(t, order...)
		res, err := u.Unwrap(p)
		if err != nil || res.Action != packet.Relay || res.Key != 1-i {
			t.Fatalf("%+v, %v", res, err)
		}
		res, err = u.Unwrap(p)
		if err != nil || res.Action != packet.Drop || res.Key != i {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	for _, n := range []int{0, 4} {
		if _, err := packet.NewUnwrapper(make([]crypt.Decrypter, n)...); err == nil {
			t.Errorf("%d keys accepted", n)
		}
	}
}

func TestUnwrapRefuses(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{9})
	a, b := newNode(0, "a.example"), newNode(1, "b.example")
	build := func() *packet.Packet {
		p, err := packet.BuildForward(rnd, []packet.Node{a.Node}, []packet.Node{b.Node},
			packet.Exit{Type: packet.TypeSMTP, Info: []byte("x@y.example"), Tag: &packet.Tag{}}, randomPayload(rnd))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// forge puts a subheader of our making in front of a header whose digest is right.
	forge := func(change func(sub []byte)) *packet.Packet {
		p := build()
		digest := crypt.Hash(p[crypt.PKEncLen:packet.HeaderLen])
		plain := make([]byte, crypt.PKMaxDataLen)
		plain[1] = 3
		copy(plain[18:], digest[:])
		change(plain)
		block, err := crypt.EncryptPK(a.PacketKey, plain)
		if err != nil {
			t.Fatal(err)
		}
		copy(p[:], block)
		return p
	}
	shortBlock := func() *packet.Packet {
		p := build()
		block, err := crypt.EncryptPK(a.PacketKey, make([]byte, crypt.PKMaxDataLen-1))
		if err != nil {
			t.Fatal(err)
		}
		copy(p[:], block)
		return p
	}
	flipped := func(i int) *packet.Packet {
		p := build()
		p[i] ^= 1
		return p
	}
	routing := func(t packet.RoutingType, info string) func([]byte) {
		return func(sub []byte) {
			sub[39], sub[40], sub[41] = byte(len(info)), byte(t>>8), byte(t)
			copy(sub[42:], info)
		}
	}
	keyid := strings.Repeat("k", 20)
	for name, c := range map[string]struct {
		p    *packet.Packet
		want error
	}{
		"zeros":               {new(packet.Packet), packet.ErrNotForUs},
		"RSA block changed":   {flipped(17), packet.ErrNotForUs},
		"short plaintext":     {shortBlock(), packet.ErrNotForUs},
		"header changed":      {flipped(300), packet.ErrDigest},
		"major version":       {forge(func(s []byte) { s[0] = 1 }), packet.ErrVersion},
		"minor version":       {forge(func(s []byte) { s[1] = 2 }), packet.ErrVersion},
		"unknown relay type":  {forge(routing(5, "")), packet.ErrRoutingType},
		"info beyond header":  {forge(func(s []byte) { s[38], s[39] = 0xff, 0xff }), packet.ErrRoutingInfo},
		"empty host info":     {forge(routing(packet.TypeFwdHost, "")), packet.ErrRoutingInfo},
		"no host name":        {forge(routing(packet.TypeFwdHost, "\x00\x01"+keyid)), packet.ErrRoutingInfo},
		"bad host name":       {forge(routing(packet.TypeFwdHost, "\x00\x01"+keyid+"a/b")), packet.ErrRoutingInfo},
		"underscore":          {forge(routing(packet.TypeFwdHost, "\x00\x01"+keyid+"a_b")), packet.ErrRoutingInfo},
		"two dots":            {forge(routing(packet.TypeFwdHost, "\x00\x01"+keyid+"a..b")), packet.ErrRoutingInfo},
		"leading dot":         {forge(routing(packet.TypeSwapFwdHost, "\x00\x01"+keyid+".b")), packet.ErrRoutingInfo},
		"port zero":           {forge(routing(packet.TypeSwapFwdHost, "\x00\x00"+keyid+"b")), packet.ErrRoutingInfo},
		"short IPv4 info":     {forge(routing(packet.TypeFwdIPv4, "\x01\x02\x03\x04\x00\x01")), packet.ErrRoutingInfo},
		"long IPv4 info":      {forge(routing(packet.TypeSwapFwdIPv4, "\x01\x02\x03\x04\x00\x01"+keyid+"x")), packet.ErrRoutingInfo},
		"host of 300 letters": {forge(func(s []byte) { s[38], s[39], s[41] = 1, 0x50, 3 }), packet.ErrRoutingInfo},
	} {
		if res, err := unwrapper(t, a.key).Unwrap(c.p); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	p := forge(routing(packet.TypeFwdIPv4, "\x01\x02\x03\x04\x00\x01"+keyid))
	if res, err := unwrapper(t, a.key).Unwrap(p); err != nil || res.Next.Host != "1.2.3.4" || res.Next.Port != 1 {
		t.Errorf("IPv4 hop: %+v, %v", res, err)
	}
}

// TestTampering: a payload that is changed before the swap point leaves neither payload nor second header usable.
func TestTampering(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{11})
	a, b := newNode(0, "a.example"), newNode(1, "b.example")
	p, err := packet.BuildForward(rnd, []packet.Node{a.Node}, []packet.Node{b.Node}, packet.Exit{Type: packet.TypeDrop}, randomPayload(rnd))
	if err != nil {
		t.Fatal(err)
	}
	p[packet.Size-1] ^= 1
	if _, err := unwrapper(t, a.key).Unwrap(p); err != nil {
		t.Fatal(err)
	}
	if _, err := unwrapper(t, b.key).Unwrap(p); !errors.Is(err, packet.ErrNotForUs) {
		t.Errorf("second hop: %v", err)
	}
}

func TestSplitTag(t *testing.T) {
	if _, _, err := packet.SplitTag(packet.TypeSMTP, make([]byte, 19)); !errors.Is(err, packet.ErrRoutingInfo) {
		t.Errorf("short: %v", err)
	}
	for _, typ := range []packet.RoutingType{packet.TypeDrop, packet.TypeFragment, packet.TypePing} {
		if tag, info, err := packet.SplitTag(typ, []byte("x")); tag != nil || string(info) != "x" || err != nil {
			t.Errorf("%v: %v %q %v", typ, tag, info, err)
		}
	}
	whole := append(make([]byte, packet.TagLen), 'x')
	for _, typ := range []packet.RoutingType{packet.TypeSMTP, packet.TypeMBOX, 0x0102, 0xfffe} {
		if tag, info, err := packet.SplitTag(typ, whole); tag == nil || string(info) != "x" || err != nil {
			t.Errorf("%v: %v %q %v", typ, tag, info, err)
		}
	}
}

func TestParseSURBsRefuses(t *testing.T) {
	surbs, _, err := packet.BuildSURB(rand.NewChaCha8([32]byte{}), nodes([]testNode{newNode(0, "a.example")}), packet.TypeSMTP,
		[]byte("x@y.example"), []byte("secret"), time.Unix(1900022400, 0))
	if err != nil {
		t.Fatal(err)
	}
	good := surbs.AppendBinary(nil)
	change := func(i int, b byte) []byte {
		c := bytes.Clone(good)
		c[i] = b
		return c
	}
	for name, b := range map[string][]byte{
		"empty": nil, "magic": change(0, 'X'), "version": change(4, 1), "truncated": good[:len(good)-1],
		"long info": change(2058, 0xff), "exit type": change(2060, 1), "drop": change(2061, 0),
		"trailing byte": append(bytes.Clone(good), 'S'), "bad host": change(len(good)-1, '/'),
	} {
		if _, err := packet.ParseSURBs(b); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !errors.Is(err, packet.ErrSURB) && !errors.Is(err, packet.ErrRoutingInfo) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if two, err := packet.ParseSURBs(append(bytes.Clone(good), good...)); err != nil || len(two) != 2 {
		t.Errorf("two blocks: %d, %v", len(two), err)
	}
}
