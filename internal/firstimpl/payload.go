package firstimpl

import (
	"bytes"
	"compress/zlib"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	singletonOverhead = 22
	fragmentOverhead  = 47
)

// A Part is what a payload holds: a whole message that is compressed, or a fragment.
type Part struct {
	Whole []byte // compressed; nil for a fragment

	Index int
	ID    []byte
	Size  int
	Data  []byte
}

// ParsePayload reads a payload, one of an encrypted forward message when so told (E2E-spec 2.2.1.2). Its digest must be right.
func ParsePayload(p []byte, encryptedForward bool) (*Part, error) {
	overhead := 0
	if encryptedForward {
		overhead = 38
	}
	if len(p) != packetLen-payloadAt-overhead {
		return nil, fmt.Errorf("%w: a payload of %d bytes", ErrRefused, len(p))
	}
	if p[0]&0x80 == 0 {
		n := int(binary.BigEndian.Uint16(p))
		if !bytes.Equal(hash(p[singletonOverhead:]), p[2:singletonOverhead]) || singletonOverhead+n > len(p) {
			return nil, fmt.Errorf("%w: digest or length of a payload", ErrRefused)
		}
		return &Part{Whole: p[singletonOverhead : singletonOverhead+n]}, nil
	}
	if !bytes.Equal(hash(p[23:]), p[3:23]) {
		return nil, fmt.Errorf("%w: digest of a fragment", ErrRefused)
	}
	part := &Part{
		Index: int(p[0]&0x7f)<<16 | int(p[1])<<8 | int(p[2]), ID: p[23:43],
		Size: int(binary.BigEndian.Uint32(p[43:])), Data: p[fragmentOverhead:],
	}
	if part.Size <= len(part.Data) {
		return nil, fmt.Errorf("%w: a fragment of a message that needs none", ErrRefused)
	}
	return part, nil
}

// Decompress expands a message as an exit does, which delivers it compressed if it grows more than factor times beyond the floor.
func Decompress(data []byte, floor int) ([]byte, error) {
	if len(data) < 2 || data[0] != 0x78 || data[1] != 0xda {
		return nil, fmt.Errorf("%w: invalid zlib header", ErrRefused)
	}
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	limit := max(floor, 20*len(data))
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(out) > limit {
		err = fmt.Errorf("%w: overcompressed", ErrRefused)
	}
	return out, err
}

// OpenForward opens an encrypted forward message (E2E-spec 2.2.3): its tag is the start of an RSA block.
func OpenForward(tag, payload []byte, key *rsa.PrivateKey) ([]byte, error) {
	if tag[0]&0x80 != 0 {
		return nil, fmt.Errorf("%w: the first bit of the tag is set", ErrRefused)
	}
	n := rsaLen - len(tag)
	plain, err := unseal(key, append(append([]byte{}, tag...), payload[:n]...))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if len(plain) < 16 {
		return nil, fmt.Errorf("%w: the RSA block has %d bytes", ErrRefused, len(plain))
	}
	return append(plain[16:], lioness(plain[:16], "END-TO-END ENCRYPT", payload[n:], false)...), nil
}

// Reassemble puts a message together from its fragments (E2E-spec 2.2.2). For a message to be reassembled by the exit
// it returns the routing type and address that stand in front, and in any case the compressed message.
func Reassemble(parts []*Part, atExit bool) (exit Exit, compressed []byte, err error) {
	first := parts[0]
	k, n, chunks := geometry(first.Size, len(first.Data))
	have := make([]map[int][]byte, chunks)
	for _, p := range parts {
		if p.Size != first.Size || !bytes.Equal(p.ID, first.ID) || len(p.Data) != len(first.Data) || p.Index >= chunks*n {
			return exit, nil, fmt.Errorf("%w: fragment %d is of another message", ErrRefused, p.Index)
		}
		c := p.Index / n
		if have[c] == nil {
			have[c] = map[int][]byte{}
		}
		if len(have[c]) < k {
			have[c][p.Index%n] = p.Data
		}
	}
	var whole []byte
	for _, c := range have {
		blocks, err := fecDecode(c, k, n)
		if err != nil {
			return exit, nil, err
		}
		whole = append(whole, blocks...)
	}
	whole = lioness([]byte("WHITEN"), "WHITEN", whole[:first.Size], false)
	if !atExit {
		return exit, whole, nil
	}
	if len(whole) < 4 {
		return exit, nil, errors.New("no room for an address")
	}
	exit.Type = binary.BigEndian.Uint16(whole)
	size := int(binary.BigEndian.Uint16(whole[2:]))
	if size > len(whole)-4 {
		return exit, nil, fmt.Errorf("%w: %d bytes of address", ErrRefused, size)
	}
	exit.Info = whole[4 : 4+size]
	return exit, whole[4+size:], nil
}

// geometry is how a string of so many bytes is cut (E2E-spec 2.2.2).
func geometry(size, capacity int) (k, n, chunks int) {
	m := max((size+capacity-1)/capacity, 2)
	k = 2
	for k < m && k < 16 {
		k *= 2
	}
	return k, (4*k + 2) / 3, (m + k - 1) / k
}
