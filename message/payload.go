package message

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// Kind tells what was found in a payload.
type Kind uint8

// The kinds of contents.
const (
	KindSingleton Kind = iota + 1 // a whole message, compressed
	KindFragment                  // a part of a message
	KindEncrypted                 // something for the owner of a key: a reply, an encrypted forward message, or a corrupt payload
	KindText                      // a whole body as an exit decompressed it; never in a payload
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case KindSingleton:
		return "singleton"
	case KindFragment:
		return "fragment"
	case KindEncrypted:
		return "encrypted"
	case KindText:
		return "text"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A Fragment is the contents of a fragment payload (E2E-spec 2.2.1.2).
type Fragment struct {
	Index uint32 // the position among the packets of the message
	ID    ID
	Size  uint32 // of the whole message: compressed, whitened, without padding
	Data  []byte
}

const (
	fragmentFlag = 0x80
	maxIndex     = 1<<23 - 1
)

// Geometry returns how the message of the fragment was cut, as the fragment tells. Check Packets against what you are willing to store
// before anything is stored.
func (f *Fragment) Geometry() (Geometry, error) { return newGeometry(int64(f.Size), len(f.Data)) }

// Decoded is what a payload holds.
type Decoded struct {
	Kind     Kind
	Data     []byte    // KindSingleton: the compressed message; KindText: the body; KindEncrypted: the payload
	Fragment *Fragment // KindFragment
}

// Message returns the message that d holds whole. A limit of 0 stands for the protocol's bound on expansion, SingletonLimit; a higher one
// is for users who confirmed that they want an overcompressed message. A fragment or an encrypted payload has no message: ErrIncomplete.
func (d *Decoded) Message(limit int) ([]byte, error) {
	switch d.Kind {
	case KindText:
		return d.Data, nil
	case KindSingleton:
		if limit == 0 {
			limit = SingletonLimit(len(d.Data))
		}
		return Decompress(d.Data, limit)
	}
	return nil, ErrIncomplete
}

// DecodePayload tells what an exit can see in a payload: DECODE_PLAINTEXT_PAYLOAD of E2E-spec 2.3.1. A wrong hash means
// KindEncrypted. The result shares memory with p. The error, if any, wraps ErrPayload.
func DecodePayload(p *packet.Payload) (Decoded, error) { return decode(p[:]) }

func decode(p []byte) (Decoded, error) {
	if !hashMatches(p) {
		return Decoded{Kind: KindEncrypted, Data: p}, nil
	}
	if p[0]&fragmentFlag != 0 {
		return decodeFragment(p)
	}
	n := int(binary.BigEndian.Uint16(p))
	body := p[SingletonHeaderLen:]
	if n > len(body) {
		return Decoded{}, fmt.Errorf("%w: %d bytes of data are said to be there, %d can be", ErrPayload, n, len(body))
	}
	return Decoded{Kind: KindSingleton, Data: body[:n:n]}, nil
}

func decodeFragment(p []byte) (Decoded, error) {
	f := &Fragment{
		Index: uint32(p[0]&^fragmentFlag)<<16 | uint32(p[1])<<8 | uint32(p[2]),
		ID:    ID(p[23:]),
		Size:  binary.BigEndian.Uint32(p[43:]),
		Data:  p[FragmentHeaderLen:len(p):len(p)],
	}
	if int64(f.Size) <= int64(len(f.Data)) {
		return Decoded{}, fmt.Errorf("%w: fragment of a message that needs none", ErrPayload)
	}
	g, err := f.Geometry()
	if err != nil {
		return Decoded{}, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	if int(f.Index) >= g.Packets() {
		return Decoded{}, fmt.Errorf("%w: fragment %d of %d", ErrPayload, f.Index, g.Packets())
	}
	return Decoded{Kind: KindFragment, Fragment: f}, nil
}

// hashMatches reports whether a payload is plain. Shorter ones than a fragment header never are.
func hashMatches(p []byte) bool {
	if len(p) < FragmentHeaderLen {
		return false
	}
	at := hashOffset(p)
	sum := sha1.Sum(p[at+crypt.HashLen:])
	return subtle.ConstantTimeCompare(sum[:], p[at:at+crypt.HashLen]) == 1
}

// hashOffset is where the hash stands: behind the length of a singleton or the index of a fragment.
func hashOffset(p []byte) int {
	if p[0]&fragmentFlag != 0 {
		return 3
	}
	return 2
}

// setHash completes a payload whose other fields are in place.
func setHash(p []byte) {
	at := hashOffset(p)
	sum := sha1.Sum(p[at+crypt.HashLen:])
	copy(p[at:], sum[:])
}

// putSingleton writes the header and the data of a singleton payload; the padding is in place.
func putSingleton(p, data []byte) {
	binary.BigEndian.PutUint16(p, uint16(len(data)))
	copy(p[SingletonHeaderLen:], data)
	setHash(p)
}

// putFragment writes the header of a fragment payload; the data is in place.
func putFragment(p []byte, index uint32, id ID, size uint32) {
	p[0], p[1], p[2] = byte(index>>16)|fragmentFlag, byte(index>>8), byte(index)
	copy(p[23:], id[:])
	binary.BigEndian.PutUint32(p[43:], size)
	setHash(p)
}
