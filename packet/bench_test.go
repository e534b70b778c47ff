package packet_test

import (
	"math/rand/v2"
	"testing"

	"mixminion/packet"
)

// benchUnwrap measures one layer of a packet, copied anew each time.
func benchUnwrap(b *testing.B, layers int) {
	rnd := rand.NewChaCha8([32]byte{})
	path := []testNode{newNode(0, "alpha.example.org"), newNode(1, "bravo.example.org"), newNode(2, "charlie.example.org")}
	p, err := packet.BuildForward(rnd, nodes(path[:2]), nodes(path[2:]),
		packet.Exit{Type: packet.TypeSMTP, Info: []byte("bob@example.com"), Tag: &packet.Tag{}}, randomPayload(rnd))
	if err != nil {
		b.Fatal(err)
	}
	for i := range layers {
		if _, err := unwrapper(b, path[i].key).Unwrap(p); err != nil {
			b.Fatal(err)
		}
	}
	u := unwrapper(b, path[layers].key)
	b.SetBytes(packet.Size)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var q packet.Packet
		for pb.Next() {
			q = *p
			if _, err := u.Unwrap(&q); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkUnwrapRelay(b *testing.B)   { benchUnwrap(b, 0) }
func BenchmarkUnwrapSwap(b *testing.B)    { benchUnwrap(b, 1) }
func BenchmarkUnwrapDeliver(b *testing.B) { benchUnwrap(b, 2) }

func BenchmarkUnwrapJunk(b *testing.B) {
	u := unwrapper(b, newNode(0, "a").key)
	var p packet.Packet
	for b.Loop() {
		if _, err := u.Unwrap(&p); err == nil {
			b.Fatal("junk accepted")
		}
	}
}

func benchBuild(b *testing.B, leg int) {
	rnd := rand.NewChaCha8([32]byte{})
	var path []testNode
	for i := range 2 * leg {
		path = append(path, newNode(i, "alpha.example.org"))
	}
	exit := packet.Exit{Type: packet.TypeSMTP, Info: []byte("bob@example.com"), Tag: &packet.Tag{}}
	payload := randomPayload(rnd)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := packet.BuildForward(rnd, nodes(path[:leg]), nodes(path[leg:]), exit, payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuild2and2(b *testing.B) { benchBuild(b, 2) }
func BenchmarkBuild8and8(b *testing.B) { benchBuild(b, 8) }
