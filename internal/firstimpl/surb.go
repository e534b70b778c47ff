package firstimpl

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// A SURB is a reply block in parts.
type SURB struct {
	Expires time.Time
	Header  []byte
	Key     []byte
	First   Exit // how the last server of the first leg reaches the hidden path
}

// BuildSURB makes a reply block whose keys come from the secret of an identity (E2E-spec 2.2.5).
func BuildSURB(rnd io.Reader, path []Node, kind uint16, address, secret []byte, expires time.Time) (*SURB, error) {
	seed := make([]byte, 20)
	for {
		if _, err := io.ReadFull(rnd, seed); err != nil {
			return nil, err
		}
		seed[0] &= 0x7f
		if hash(seed, secret, []byte("Validate"))[19] == 0 {
			break
		}
	}
	keys := surbKeys(seed, secret, len(path)+1)
	secrets := make([][]byte, len(path))
	for i := range path {
		secrets[i] = keys[len(path)-1-i]
	}
	h, err := header(rnd, path, secrets, Exit{kind, append(append([]byte{}, seed...), address...)})
	if err != nil {
		return nil, err
	}
	first, err := path[0].routing(true)
	return &SURB{Expires: expires, Header: h, Key: keys[len(path)], First: first}, err
}

func surbKeys(seed, secret []byte, n int) [][]byte {
	all := stream(hash(seed, secret, []byte("Generate"))[:16], 16*n)
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = all[16*i : 16*(i+1)]
	}
	return keys
}

// Bytes is the binary form (minion-spec 3.3).
func (s *SURB) Bytes() []byte {
	b := append([]byte("SURB"), 0, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Expires.Unix()))
	b = append(b, s.Header...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.First.Info)))
	b = binary.BigEndian.AppendUint16(b, s.First.Type)
	return append(append(b, s.Key...), s.First.Info...)
}

// ParseSURB reads one reply block in binary form.
func ParseSURB(b []byte) (*SURB, error) {
	const fixed = 6 + 4 + headerLen + 4 + 16
	if len(b) < fixed || string(b[:6]) != "SURB\x00\x01" {
		return nil, fmt.Errorf("%w: no reply block of its version", ErrRefused)
	}
	s := &SURB{Expires: time.Unix(int64(binary.BigEndian.Uint32(b[6:])), 0).UTC(), Header: b[10 : 10+headerLen]}
	b = b[10+headerLen:]
	size := int(binary.BigEndian.Uint16(b))
	s.First.Type, s.Key, s.First.Info = binary.BigEndian.Uint16(b[2:]), b[4:20], b[20:]
	if len(s.First.Info) != size || s.First.Type != 4 {
		return nil, fmt.Errorf("%w: routing information of the first server", ErrRefused)
	}
	return s, nil
}

// OpenReply undoes the layers of a reply with the secret of the identity that made the reply block (E2E-spec 2.2.5). It returns the payload
// and how many keys that took.
func OpenReply(tag, secret, payload []byte) ([]byte, int, error) {
	if hash(tag, secret, []byte("Validate"))[19] != 0 {
		return nil, 0, fmt.Errorf("%w: the reply is for another identity", ErrRefused)
	}
	for i, k := range surbKeys(tag, secret, 17) {
		payload = lioness(k, "PAYLOAD ENCRYPT", payload, true)
		if _, err := ParsePayload(payload, false); err == nil {
			return payload, i + 1, nil
		}
	}
	return nil, 0, fmt.Errorf("%w: no key fits", ErrRefused)
}
