package reassemble_test

import (
	"crypto/sha1"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"mixminion/delivery/reassemble"
	"mixminion/message"
	"mixminion/packet"

	"pgregory.net/rapid"
)

// forge makes fragment index of a message of size bytes that nobody has: zeros under an ID that begins with id.
func forge(id uint64, index, size uint32) *packet.Payload {
	p := new(packet.Payload)
	p[0], p[1], p[2] = 0x80, byte(index>>8), byte(index)
	binary.BigEndian.PutUint64(p[23:], id)
	binary.BigEndian.PutUint32(p[43:], size)
	sum := sha1.Sum(p[23:])
	copy(p[3:], sum[:])
	return p
}

// sizeOf is a size that makes a message of K fragments per chunk and so many chunks.
func sizeOf(k, chunks int) uint32 { return uint32(k*chunks*28_625 - 100) }

// floodedDay simulates a day of a mix whose store holds room fragments, with a mix every five minutes: messages of k
// fragments per chunk arrive, each at random times over the day, among a flood of perHour fragments in the hour of
// messages that stop at depth fragments each and never become whole. It returns how many messages became whole.
func floodedDay(seed uint64, messages, k, chunks, room, perHour, depth int) (whole int) {
	const batches = 24 * 12
	rnd := rand.New(rand.NewPCG(seed, 1))
	p := reassemble.New(reassemble.Limits{Size: 4 << 20, Bytes: int64(room) * packet.PayloadLen, Messages: 1 << 20})
	g, err := message.NewGeometry(int64(sizeOf(k, chunks)), 0)
	if err != nil {
		panic(err)
	}
	arrivals := make([][]*packet.Payload, batches)
	for m := range messages {
		for i := range g.Packets() {
			at := rnd.IntN(batches)
			arrivals[at] = append(arrivals[at], forge(uint64(m), uint32(i), sizeOf(k, chunks)))
		}
	}
	ref, flooding, deep := uint64(0), uint64(1<<40), 0
	for b, batch := range arrivals {
		for range perHour*(b+1)/12 - perHour*b/12 {
			if deep == depth {
				flooding, deep = flooding+1, 0
			}
			batch = append(batch, forge(flooding, uint32(deep), sizeOf(16, 2)))
			deep++
		}
		rnd.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		for _, f := range batch {
			ref++
			p.Add(reassemble.Fragment{Ref: ref, Since: today, Payload: f})
		}
		p.Shrink()
		for _, m := range p.Ready() {
			p.Finish(m)
			whole++
		}
	}
	return whole
}

// TestFlood: honest messages that come in over a day survive floods of fragments of messages that never become whole.
// docs/spec/reassembly.md has a table of more.
func TestFlood(t *testing.T) {
	const room, messages = 160, 3
	for name, c := range map[string]struct {
		k, chunks      int
		perHour, depth int
	}{
		"16 of 22, half the room in an hour of singles":           {16, 1, room / 2, 1},
		"8 of 11, a third of the room in an hour of singles":      {8, 1, room / 3, 1},
		"4 of 6, an eighth of the room in an hour of singles":     {4, 1, room / 8, 1},
		"2 of 3, a twenty-fourth of the room in an hour":          {2, 1, room / 24, 1},
		"16 of 22, a tenth in an hour of messages half there":     {16, 1, room / 10, 7},
		"16 of 22, a tenth in an hour of messages nearly whole":   {16, 1, room / 10, 15},
		"4 of 6, half the room in an hour of messages half there": {4, 1, room / 2, 15},
	} {
		t.Run(name, func(t *testing.T) {
			if got := floodedDay(1, messages, c.k, c.chunks, room, c.perHour, c.depth); got != messages {
				t.Errorf("%d of %d messages survive", got, messages)
			}
		})
	}
}

// TestShare checks the promise of Shrink under random loads: what is left keeps to the limits, and nothing is given up
// as long as its class keeps to its reserve.
func TestShare(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		room := rapid.IntRange(16, 60).Draw(r, "room")
		most := rapid.IntRange(4, 60).Draw(r, "messages")
		p := reassemble.New(reassemble.Limits{Size: 4 << 20, Bytes: int64(room) * packet.PayloadLen, Messages: most})
		held := map[uint64][]uint64{} // by message: its fragments
		owner := map[uint64]uint64{}
		ref := uint64(0)
		class := func(n int) int {
			switch {
			case n < 2:
				return 0
			case n < 4:
				return 1
			case n < 8:
				return 2
			}
			return 3
		}
		for range rapid.IntRange(1, 200).Draw(r, "fragments") {
			id := uint64(rapid.IntRange(0, 2*most).Draw(r, "id"))
			index := len(held[id])
			if index == 20 {
				continue
			}
			if index >= 16 {
				index += 6 // in the second chunk
			}
			ref++
			if v := p.Add(reassemble.Fragment{Ref: ref, Since: today, Payload: forge(id, uint32(index), sizeOf(16, 2))}); !v.Keep {
				r.Fatalf("%+v", v)
			}
			held[id] = append(held[id], ref)
			owner[ref] = id
			bytes, count := [4]int{}, [4]int{}
			for _, refs := range held {
				bytes[class(len(refs))] += len(refs)
				count[class(len(refs))]++
			}
			for gone := p.Shrink(); len(gone) > 0; {
				id := owner[gone[0]]
				n := len(held[id])
				c := class(n)
				if !slices.Equal(gone[:n], held[id]) {
					r.Fatal("a part of a message is given up")
				}
				if 4*bytes[c] <= room && count[c] <= most/4 {
					r.Fatalf("a message of class %d is given up, which keeps to its reserve", c)
				}
				bytes[c] -= n
				count[c]--
				delete(held, id)
				gone = gone[n:]
			}
			if n, b := p.Held(); b > int64(room)*packet.PayloadLen || n > most || n != len(held) {
				r.Fatalf("%d messages, %d bytes", n, b)
			}
		}
	})
}
