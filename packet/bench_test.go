package packet_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"mixminion/internal/crypt"
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

// BenchmarkUnwrapOverhead compares unwrapping with the sum of its parts: the RSA operation and the LIONESS passes of every packet, payload
// and second header twice each. The two take turns, so that a machine whose speed drifts does not blur the comparison.
func BenchmarkUnwrapOverhead(b *testing.B) {
	rnd := rand.NewChaCha8([32]byte{})
	nodes2 := []testNode{newNode(0, "alpha.example.org"), newNode(1, "bravo.example.org")}
	p, err := packet.BuildForward(rnd, nodes(nodes2[:1]), nodes(nodes2[1:]), packet.Exit{Type: packet.TypeDrop}, randomPayload(rnd))
	if err != nil {
		b.Fatal(err)
	}
	dec, err := crypt.StdProvider{}.Decrypter(nodes2[0].key)
	if err != nil {
		b.Fatal(err)
	}
	u := unwrapper(b, nodes2[0].key)
	var whole, parts time.Duration
	var q packet.Packet
	for b.Loop() {
		q = *p
		begun := time.Now()
		if _, err := u.Unwrap(&q); err != nil {
			b.Fatal(err)
		}
		whole += time.Since(begun)
		q = *p
		begun = time.Now()
		if _, err := dec.DecryptPK(q[:crypt.PKEncLen]); err != nil {
			b.Fatal(err)
		}
		for range 2 {
			crypt.SPRPDecrypt(crypt.SPRPKey{1}, q[packet.HeaderLen:2*packet.HeaderLen])
			crypt.SPRPDecrypt(crypt.SPRPKey{2}, q[2*packet.HeaderLen:])
		}
		parts += time.Since(begun)
	}
	b.ReportMetric(100*(float64(whole)/float64(parts)-1), "overhead-%")
}
