package path

import (
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"time"

	"mixminion/directory"
	"mixminion/packet"
)

var (
	start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	end   = start.Add(7 * 24 * time.Hour)
)

// testServer gives a descriptor as ParseDescriptor would, of a server with the given nickname that can do everything. Keys are only
// compared here, so any number serves.
func testServer(name string, change ...func(*directory.Descriptor)) *directory.Descriptor {
	n := new(big.Int).SetBytes([]byte(name))
	d := &directory.Descriptor{
		Fields: directory.Fields{
			Nickname:       name,
			Published:      start.Add(-time.Hour),
			ValidAfter:     start.Truncate(24 * time.Hour),
			ValidUntil:     start.Truncate(24 * time.Hour).Add(30 * 24 * time.Hour),
			PacketKey:      &rsa.PublicKey{N: n, E: 65537},
			PacketVersions: []string{packet.Version},
			Incoming:       &directory.Incoming{Hostname: "mix.example.net", Port: 48099, Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
			Outgoing:       &directory.Outgoing{Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
			SMTP:           &directory.Delivery{MaximumSize: 100, AllowFrom: true},
			MBOX:           &directory.Delivery{MaximumSize: 100, AllowFrom: true},
			Fragmented:     &directory.Fragmented{MaximumFragments: 66},
		},
		Identity: &rsa.PublicKey{N: n, E: 65537},
	}
	for _, c := range change {
		c(d)
	}
	return d
}

// testServers gives n servers named a, b, c, ...
func testServers(n int) []*directory.Descriptor {
	var out []*directory.Descriptor
	for i := range n {
		name := string(rune('a' + i%26))
		if i >= 26 {
			name += fmt.Sprint(i / 26)
		}
		out = append(out, testServer(name))
	}
	return out
}

func relayOnly(d *directory.Descriptor) { d.SMTP, d.MBOX, d.Fragmented = nil, nil, nil }
func exitOnly(d *directory.Descriptor)  { d.Outgoing = nil }

func seeded(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

func forward() Request {
	return Request{Kind: Forward, From: start, Until: end, Exit: packet.TypeSMTP, InfoLen: 20}
}

// A script is a random source that gives certain words and then fails.
type script struct{ words []uint64 }

func (s *script) Read(p []byte) (int, error) {
	if len(s.words) == 0 {
		return 0, errors.New("the script is over")
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], s.words[0])
	s.words = s.words[1:]
	return copy(p, b[:]), nil
}
