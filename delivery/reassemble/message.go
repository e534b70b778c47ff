package reassemble

import (
	"container/list"
	"fmt"
	"slices"
	"time"

	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/packet"
)

// state is how far a message is.
type state uint8

const (
	gathering state = iota
	ready           // enough fragments are there
	placed          // and the message waits for an exit
)

// Message is one message of a Pool. What its methods tell does not change any more once it is Ready.
type Message struct {
	assembly *message.Assembly
	refs     map[uint32]uint64 // of the fragments that are kept, by index

	// Guarded by Pool.mu.
	since time.Time
	state state
	exit  packet.RoutingType
	class int // in whose order it is
	place *list.Element
}

// ID is the message's ID, which all its fragments have.
func (m *Message) ID() message.ID { return m.assembly.ID() }

// Refs are the fragments that are kept, in ascending order.
func (m *Message) Refs() []uint64 {
	out := make([]uint64, 0, len(m.refs))
	for _, ref := range m.refs {
		out = append(out, ref)
	}
	slices.Sort(out)
	return out
}

// Name is the public name of the message in all attempts at delivery, after a restart, too. Its sender can compute it, and nobody else.
func (m *Message) Name() (name [16]byte) {
	id := m.ID()
	h := crypt.Hash([]byte("mail of a reassembled message"), id[:])
	copy(name[:], h[:])
	return name
}

// Whole is a message that was put together.
type Whole struct {
	To         message.Destination
	Compressed []byte
}

// Open puts together a message that is Ready. read returns the payload of a fragment, and may use the same memory for the next one. An
// error of read is returned as it is; any other one wraps message.ErrCorrupt or message.ErrPayload: the message cannot be delivered.
func (m *Message) Open(read func(ref uint64) (*packet.Payload, error)) (Whole, error) {
	// A chunk is put together of all its fragments at once, so each needs memory of its own for so long.
	var bufs [][]byte
	next := 0
	chunk := uint32(0)
	perChunk := uint32(m.assembly.Geometry().N)
	var failed error
	whole, err := m.assembly.Reassemble(func(index uint32) ([]byte, error) {
		if c := index / perChunk; c != chunk {
			chunk, next = c, 0
		}
		p, err := read(m.refs[index])
		if err != nil {
			failed = err
			return nil, err
		}
		d, err := message.DecodePayload(p)
		if err != nil || d.Kind != message.KindFragment {
			return nil, fmt.Errorf("%w: fragment %d is none any more", message.ErrCorrupt, index)
		}
		if next == len(bufs) {
			bufs = append(bufs, nil)
		}
		bufs[next] = append(bufs[next][:0], d.Fragment.Data...)
		next++
		return bufs[next-1], nil
	})
	if failed != nil {
		return Whole{}, failed
	}
	if err != nil {
		return Whole{}, err
	}
	to, compressed, err := message.ParseServerSide(whole)
	if err != nil {
		return Whole{}, err
	}
	return Whole{To: to, Compressed: compressed}, nil
}
