package packet_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/internal/crypt"
	"mixminion/internal/firstimpl"
	"mixminion/packet"
)

func oldNodes(leg []testNode) []firstimpl.Node {
	out := make([]firstimpl.Node, len(leg))
	for i, n := range leg {
		out[i] = firstimpl.Node{Host: n.Host, Port: n.Port, KeyID: bytes.Clone(n.KeyID[:]), Key: n.PacketKey}
	}
	return out
}

// both unwraps a packet with this program and with the second reading of the first implementation, which must agree in all they see.
// It goes on with the packet of one of them.
func both(t testing.TB, p *packet.Packet, key *rsa.PrivateKey, goOnWithOld bool) packet.Result {
	t.Helper()
	old, err := firstimpl.Unwrap(p[:], key)
	if err != nil {
		t.Fatal(err)
	}
	ours := *p
	res, err := unwrapper(t, key).Unwrap(&ours)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(res.Replay[:], old.Replay) {
		t.Error("the replay logs hold different values")
	}
	switch old.Fate {
	case firstimpl.Relayed:
		if next := (packet.Hop{Host: old.Host, Port: old.Port, KeyID: crypt.KeyID(old.KeyID)}); res.Action != packet.Relay || res.Next != next {
			t.Fatalf("goes to %v, by the other to %v", res, next)
		}
		if !bytes.Equal(ours[:], old.Packet) {
			t.Fatal("two packets were made of one")
		}
	case firstimpl.Delivered:
		if res.Action != packet.Deliver || uint16(res.Type) != old.Type || !bytes.Equal(res.Info, old.Info) ||
			!bytes.Equal(res.ApplicationKey[:], old.ApplicationKey) || !bytes.Equal(ours[2*packet.HeaderLen:], old.Payload) {
			t.Fatalf("%+v, by the other %d", res, old.Type)
		}
	default:
		if res.Action != packet.Drop {
			t.Fatalf("%+v, by the other %s", res, old.Fate)
		}
	}
	*p = ours
	if goOnWithOld && old.Packet != nil {
		*p = packet.Packet(old.Packet)
	}
	return res
}

// bothWalk takes a packet along its path.
func bothWalk(t testing.TB, p *packet.Packet, path []testNode, old int) packet.Result {
	t.Helper()
	for i, n := range path[:len(path)-1] {
		if res := both(t, p, n.key, old>>i&1 == 1); res.Action != packet.Relay || res.Next != path[i+1].Hop {
			t.Fatalf("server %d of %d: %+v", i+1, len(path), res)
		}
	}
	return both(t, p, path[len(path)-1].key, false)
}

func legOf(first, n int, host func(i int) string) []testNode {
	leg := make([]testNode, n)
	for i := range leg {
		leg[i] = newNode(first+i, host(i))
	}
	return leg
}

func shortHost(int) string { return "127.0.0.1" }

// longHost does not fit into the RSA block of a subheader.
func longHost(int) string { return strings.Repeat("long.", 48) + "example" }

// TestInteropOurPackets: what we build is what servers of 0.0.8 unwrap, in whatever order they and ours stand on the path.
func TestInteropOurPackets(t *testing.T) {
	tag := &packet.Tag{0x7f, 2, 3}
	address := []byte("dave@example.com")
	for _, c := range []struct {
		name       string
		leg1, leg2 []testNode
		exit       packet.Exit
		orders     []int // a bit for each server of 0.0.8
	}{
		{"smtp, every order", legOf(0, 2, shortHost), legOf(9, 2, shortHost), packet.Exit{Type: packet.TypeSMTP, Info: address, Tag: tag},
			[]int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"mbox", legOf(0, 1, shortHost), legOf(9, 2, shortHost), packet.Exit{Type: packet.TypeMBOX, Info: []byte("dave"), Tag: tag}, []int{1, 2}},
		{"dummy", legOf(0, 2, shortHost), legOf(9, 1, shortHost), packet.Exit{Type: packet.TypeDrop}, []int{1, 2}},
		{"fragment", legOf(0, 1, shortHost), legOf(9, 1, shortHost), packet.Exit{Type: packet.TypeFragment}, []int{0, 1}},
		{"ping", legOf(0, 1, shortHost), legOf(9, 1, shortHost), packet.Exit{Type: packet.TypePing, Info: make([]byte, 20)}, []int{1}},
		{"own type", legOf(0, 1, shortHost), legOf(9, 1, shortHost), packet.Exit{Type: 0xfffe, Info: address, Tag: tag}, []int{1}},
		{"long host names", legOf(0, 3, longHost), legOf(9, 3, longHost), packet.Exit{Type: packet.TypeSMTP, Info: address, Tag: tag}, []int{0x15, 0x0a}},
		{"long address", legOf(0, 1, longHost), legOf(9, 1, longHost),
			packet.Exit{Type: packet.TypeSMTP, Info: bytes.Repeat([]byte("a"), 900), Tag: tag}, []int{1}},
		{"sixteen servers in each leg", legOf(0, 16, shortHost), legOf(30, 16, shortHost),
			packet.Exit{Type: packet.TypeSMTP, Info: []byte("bob@example.com"), Tag: tag}, []int{0x55555555}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rnd := rand.NewChaCha8([32]byte{1})
			payload := randomPayload(rnd)
			built, err := packet.BuildForward(rnd, nodes(c.leg1), nodes(c.leg2), c.exit, payload)
			if err != nil {
				t.Fatal(err)
			}
			for _, order := range c.orders {
				p := *built
				res := bothWalk(t, &p, append(slices.Clone(c.leg1), c.leg2...), order)
				if c.exit.Type == packet.TypeDrop {
					continue
				}
				gotTag, info, err := packet.SplitTag(res.Type, res.Info)
				if err != nil || !bytes.Equal(info, c.exit.Info) || (gotTag != nil) != (c.exit.Tag != nil) {
					t.Errorf("delivered to %q: %v", info, err)
				}
				if !bytes.Equal(p[2*packet.HeaderLen:], payload[:]) {
					t.Error("another payload")
				}
			}
		})
	}
}

// TestInteropTheirPackets: what the second reading of 0.0.8 builds goes through our servers, also with the routing types that have an
// address instead of a name, which old senders made.
func TestInteropTheirPackets(t *testing.T) {
	leg := func(first int) []testNode {
		return legOf(first, 3, func(i int) string { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}).String() })
	}
	for _, form := range []string{"names", "capitals", "addresses"} {
		leg1, leg2 := leg(0), leg(9)
		rnd := rand.NewChaCha8([32]byte{2})
		payload := randomPayload(rnd)
		old1, old2 := oldNodes(leg1), oldNodes(leg2)
		for i := range old1 {
			old1[i].IPv4, old2[i].IPv4 = form == "addresses", form == "addresses"
			if form == "capitals" {
				leg1[i].Host, leg2[i].Host = "mix.example", "mix.example"
				old1[i].Host, old2[i].Host = "MIX.Example", "mix.EXAMPLE"
			}
		}
		info := append(make([]byte, packet.TagLen), "dave@example.com"...)
		built, err := firstimpl.BuildForward(rnd, old1, old2, firstimpl.Exit{Type: 0x100, Info: info}, payload[:])
		if err != nil {
			t.Fatal(err)
		}
		for _, order := range []int{0, 0x15, 0x0a} {
			p := packet.Packet(built)
			res := bothWalk(t, &p, append(slices.Clone(leg1), leg2...), order)
			if res.Type != packet.TypeSMTP || !bytes.Equal(res.Info, info) || !bytes.Equal(p[2*packet.HeaderLen:], payload[:]) {
				t.Errorf("delivered %+v", res)
			}
		}
	}
}

// TestInteropTheirDummies: a dummy of 0.0.8 ends at the last server, whether or not there is a decoding handle in it.
func TestInteropTheirDummies(t *testing.T) {
	path := legOf(0, 2, shortHost)
	for _, info := range [][]byte{nil, make([]byte, packet.TagLen), []byte("twenty bytes and text")} {
		rnd := rand.NewChaCha8([32]byte{6})
		payload := randomPayload(rnd)
		p, err := firstimpl.BuildForward(rnd, oldNodes(path[:1]), oldNodes(path[1:]), firstimpl.Exit{Info: info}, payload[:])
		if err != nil {
			t.Fatal(err)
		}
		if res := bothWalk(t, (*packet.Packet)(p), path, 0); res.Action != packet.Drop {
			t.Errorf("with %d bytes: %+v", len(info), res)
		}
	}
}

// TestInteropVectorsMixed: the packets that the first implementation made go through paths of both kinds; and the
// second reading agrees with what its servers made of them, which is what makes it a judge of the rest.
func TestInteropVectorsMixed(t *testing.T) {
	known := servers(t)
	var cases []packetCase
	load(t, "packets.json", &cases)
	for _, c := range cases {
		for _, order := range []int{0, 0x5555555, 0xaaaaaaa, 0xfffffff} {
			t.Run(fmt.Sprintf("%s %x", c.Name, order), func(t *testing.T) {
				p := readPacket(t, c.Packet)
				for i, step := range c.Steps {
					both(t, p, known[step.Server].key, order>>i&1 == 1)
					if sum := sha1.Sum(p[:]); step.Action == "relay" && !bytes.Equal(sum[:], step.PacketSHA1) {
						t.Fatalf("step %d makes another packet", i)
					}
				}
			})
		}
	}
}

// surbCase reads the reply blocks that the first implementation made, with the servers of their path.
func surbCase(t *testing.T) (blocks []byte, secret, address []byte, path []testNode) {
	t.Helper()
	var want struct {
		Address, Secret string
		Path            []string
	}
	load(t, "surbs.json", &want)
	blocks, err := os.ReadFile("testdata/surbs.bin")
	if err != nil {
		t.Fatal(err)
	}
	if secret, err = hex.DecodeString(want.Secret); err != nil {
		t.Fatal(err)
	}
	known := servers(t)
	for _, name := range want.Path {
		path = append(path, testNode{known[name].node(), known[name].key})
	}
	return blocks, secret, []byte(want.Address), path
}

// TestInteropTheirSURBs: our packets through reply blocks of the first implementation, and through those of the second reading of it.
func TestInteropTheirSURBs(t *testing.T) {
	blocks, secret, address, path := surbCase(t)
	surbs, err := packet.ParseSURBs(blocks)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.NewChaCha8([32]byte{3})
	payload := randomPayload(rnd)
	putDigest(payload)
	for i, s := range surbs {
		checkReply(t, s, path, secret, address, payload, i)
	}

	long := legOf(50, 16, shortHost)
	const atNoMidnight = 1800000000
	made, err := firstimpl.BuildSURB(rnd, oldNodes(long), 0x100, []byte("a@b.example"), secret, time.Unix(atNoMidnight, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	if surbs, err = packet.ParseSURBs(made.Bytes()); err != nil || len(surbs) != 1 {
		t.Fatalf("%d blocks: %v", len(surbs), err)
	}
	// Both programs write the digest of all of a block into the log of used ones.
	if s := surbs[0]; s.Expires.Unix() != atNoMidnight || s.ID() != crypt.Hash(made.Bytes()) {
		t.Errorf("expires %v, ID %x", s.Expires, s.ID())
	}
	checkReply(t, surbs[0], long, secret, []byte("a@b.example"), payload, 0x5555)
}

func checkReply(t *testing.T, s *packet.SURB, path []testNode, secret, address []byte, payload *packet.Payload, order int) {
	t.Helper()
	leg1 := legOf(0, 2, shortHost)
	p, err := packet.BuildReply(rand.NewChaCha8([32]byte{4}), nodes(leg1), s, payload)
	if err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, p, append(leg1, path...), len(path), secret, address, payload, order)
}

// checkAnswer takes an answer along its path and opens it as its recipient, one who uses 0.0.8.
func checkAnswer(t *testing.T, p *packet.Packet, path []testNode, hidden int, secret, address []byte, payload *packet.Payload, order int) {
	t.Helper()
	res := bothWalk(t, p, path, order)
	tag, info, err := packet.SplitTag(res.Type, res.Info)
	if err != nil || !bytes.Equal(info, address) {
		t.Fatalf("delivered to %q: %v", info, err)
	}
	got, keys, err := firstimpl.OpenReply(tag[:], secret, p[2*packet.HeaderLen:])
	if err != nil || keys != hidden+1 || !bytes.Equal(got, payload[:]) {
		t.Errorf("opened with %d keys: %v", keys, err)
	}
}

// putDigest makes a payload a message of no bytes.
func putDigest(p *packet.Payload) {
	p[0], p[1] = 0, 0
	sum := sha1.Sum(p[22:])
	copy(p[2:22], sum[:])
}

// TestInteropOurSURBs: answers of 0.0.8 through reply blocks that we made, up to sixteen servers.
func TestInteropOurSURBs(t *testing.T) {
	secret, address := bytes.Repeat([]byte{7}, 20), []byte("a@b.example")
	rnd := rand.NewChaCha8([32]byte{5})
	payload := randomPayload(rnd)
	putDigest(payload)
	for n, host := range map[int]func(int) string{1: shortHost, 4: longHost, 16: shortHost} {
		hidden := legOf(50, n, host)
		ours, _, err := packet.BuildSURB(rnd, nodes(hidden), packet.TypeSMTP, address, secret, time.Unix(1800000000, 0))
		if err != nil {
			t.Fatal(err)
		}
		read, err := firstimpl.ParseSURB(ours.AppendBinary(nil))
		if err != nil || read.Expires != ours.Expires {
			t.Fatalf("expires %v: %v", read.Expires, err)
		}
		leg1 := legOf(0, 2, shortHost)
		built, err := firstimpl.BuildReply(rnd, oldNodes(leg1), read, payload[:])
		if err != nil {
			t.Fatal(err)
		}
		p := packet.Packet(built)
		checkAnswer(t, &p, append(leg1, hidden...), n, secret, address, payload, 0x2aaa)
	}
}
