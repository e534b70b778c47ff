package message

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"mixminion/internal/crypt"
	"mixminion/message/internal/fec"
	"mixminion/packet"
)

// Encoded is a message ready to be put into packets.
type Encoded struct {
	// Payloads are to be sent in this order or any other. With an overhead, the last bytes of each are zero and EncryptForward fills
	// them; such payloads must not be sent as they are.
	Payloads []packet.Payload
	// Fragmented tells that there is more than one payload, and so that an exit needs the type FRAGMENT if it is to reassemble.
	Fragmented bool
	// MessageLen and CompressedLen are the lengths of the message before and after compression.
	MessageLen, CompressedLen int
}

// Overcompressed reports whether the recipient may get the message in compressed form only, because it expands too much.
func (e *Encoded) Overcompressed() bool {
	if e.Fragmented {
		return e.MessageLen > ReassembledLimit(e.CompressedLen)
	}
	return e.MessageLen > SingletonLimit(e.CompressedLen)
}

// Encode compresses a message, headers included, and packs it into one payload or into fragments that the recipient puts together:
// PACKETIZE_MESSAGE of E2E-spec 2.2.1.2. overhead is 0, or ForwardOverhead when EncryptForward follows. rnd gives the padding and
// the message's ID.
func Encode(rnd io.Reader, msg []byte, overhead int) (*Encoded, error) {
	return encode(rnd, msg, nil, overhead)
}

// EncodeForServer does the same for a plaintext message that, if it needs more than one payload, the exit puts together and delivers: t
// and info are the type and address of the delivery, without a decoding handle. When the result is Fragmented, its packets go to
// the type FRAGMENT with empty routing information, all through the same exit (E2E-spec 2.2.2.1); otherwise its packet goes to t and info.
func EncodeForServer(rnd io.Reader, msg []byte, t packet.RoutingType, info []byte) (*Encoded, error) {
	if !t.IsExit() || t == packet.TypeFragment || len(info) > math.MaxUint16 {
		return nil, fmt.Errorf("%w: impossible delivery of type %v with an address of %d bytes", ErrPayload, t, len(info))
	}
	prefix := binary.BigEndian.AppendUint16(nil, uint16(t))
	prefix = binary.BigEndian.AppendUint16(prefix, uint16(len(info)))
	return encode(rnd, msg, append(prefix, info...), 0)
}

func encode(rnd io.Reader, msg, prefix []byte, overhead int) (*Encoded, error) {
	if overhead != 0 && overhead != ForwardOverhead {
		return nil, fmt.Errorf("%w: impossible overhead %d", ErrPayload, overhead)
	}
	compressed := Compress(msg)
	e := &Encoded{MessageLen: len(msg), CompressedLen: len(compressed)}
	var err error
	if len(compressed) <= singletonCapacity-overhead {
		err = e.singleton(rnd, compressed, overhead)
	} else {
		err = e.fragments(rnd, prefix, compressed, overhead)
	}
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return e, nil
}

func (e *Encoded) singleton(rnd io.Reader, data []byte, overhead int) error {
	e.Payloads = make([]packet.Payload, 1)
	p := e.Payloads[0][:packet.PayloadLen-overhead]
	if _, err := io.ReadFull(rnd, p[SingletonHeaderLen+len(data):]); err != nil {
		return err
	}
	putSingleton(p, data)
	return nil
}

func (e *Encoded) fragments(rnd io.Reader, prefix, data []byte, overhead int) error {
	e.Fragmented = true
	size := len(prefix) + len(data)
	g, err := NewGeometry(int64(size), overhead)
	if err != nil {
		return err
	}
	var id ID
	if _, err := io.ReadFull(rnd, id[:]); err != nil {
		return err
	}
	whitened := append(append(make([]byte, 0, size), prefix...), data...)
	crypt.Whiten(whitened)
	code, err := fec.New(g.K, g.N)
	if err != nil {
		return err
	}
	e.Payloads = make([]packet.Payload, g.Packets())
	last := make([]byte, g.chunkLen())
	blocks, packets := make([][]byte, g.K), make([][]byte, g.N)
	for chunk := range g.Chunks {
		data := whitened[chunk*g.chunkLen():]
		if len(data) >= g.chunkLen() {
			data = data[:g.chunkLen()]
		} else {
			n := copy(last, data)
			if _, err := io.ReadFull(rnd, last[n:]); err != nil {
				return err
			}
			data = last
		}
		for i := range blocks {
			blocks[i] = data[i*g.Capacity : (i+1)*g.Capacity]
		}
		payloads := e.Payloads[chunk*g.N : (chunk+1)*g.N]
		for i := range payloads {
			packets[i] = payloads[i][FragmentHeaderLen : packet.PayloadLen-overhead]
		}
		if err := code.Encode(packets, blocks); err != nil {
			return err
		}
		for i := range payloads {
			putFragment(payloads[i][:packet.PayloadLen-overhead], uint32(chunk*g.N+i), id, uint32(size))
		}
	}
	return nil
}

// PlainTag returns the decoding handle of a plaintext forward packet: 159 random bits behind a zero bit (E2E-spec 2.2.2).
func PlainTag(rnd io.Reader) (packet.Tag, error) {
	var tag packet.Tag
	if _, err := io.ReadFull(rnd, tag[:]); err != nil {
		return tag, fmt.Errorf("draw decoding handle: %w", err)
	}
	tag[0] &= 0x7f
	return tag, nil
}

// Destination is where the exit sends a message that it put together.
type Destination struct {
	Type packet.RoutingType
	Info []byte
}

// ParseServerSide splits a message that was put together from fragments for an exit into its destination and the compressed message. Both
// share memory with msg. The error wraps ErrPayload.
func ParseServerSide(msg []byte) (Destination, []byte, error) {
	const fixed = 4
	if len(msg) < fixed {
		return Destination{}, nil, fmt.Errorf("%w: routing information of a reassembled message is cut off", ErrPayload)
	}
	n := int(binary.BigEndian.Uint16(msg[2:]))
	if len(msg)-fixed < n {
		return Destination{}, nil, fmt.Errorf("%w: routing information of a reassembled message is cut off", ErrPayload)
	}
	t := packet.RoutingType(binary.BigEndian.Uint16(msg))
	if !t.IsExit() || t == packet.TypeFragment {
		return Destination{}, nil, fmt.Errorf("%w: a reassembled message cannot go to type %v", ErrPayload, t)
	}
	return Destination{Type: t, Info: msg[fixed : fixed+n : fixed+n]}, msg[fixed+n:], nil
}
