package message

import (
	"fmt"
	"math"
)

// Geometry says how a message is cut into fragments (DIVIDE of E2E-spec 2.1.2): into chunks of K blocks, each of which becomes N packets.
type Geometry struct {
	Capacity int // bytes of the message in one packet
	K, N     int
	Chunks   int
}

const maxK = 16

// NewGeometry returns the geometry of a message of length bytes after compression, routing prefix included, in payloads of which
// overhead bytes are lost to encryption. It returns ErrLength if the length is not positive or does not fit the size field of a fragment.
func NewGeometry(length int64, overhead int) (Geometry, error) {
	return newGeometry(length, fragmentCapacity-overhead)
}

func newGeometry(length int64, capacity int) (Geometry, error) {
	if length <= 0 || length > math.MaxUint32 || capacity <= 0 {
		return Geometry{}, fmt.Errorf("%w: %d bytes", ErrLength, length)
	}
	blocks := ceilDiv(length, int64(capacity))
	k := 2
	for int64(k) < blocks && k < maxK {
		k *= 2
	}
	g := Geometry{
		Capacity: capacity,
		K:        k,
		N:        int(ceilDiv(int64(k)*4, 3)), // the expansion factor is 4/3 for everyone
		Chunks:   int(ceilDiv(blocks, int64(k))),
	}
	if g.PaddedLen() > math.MaxInt { // on 32-bit machines
		return Geometry{}, fmt.Errorf("%w: %d bytes", ErrLength, length)
	}
	return g, nil
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// Packets is how many packets carry the message. It is what a server's Maximum-Fragments bounds (E2E-spec 3.4.1).
func (g Geometry) Packets() int { return g.Chunks * g.N }

// chunkLen is how many bytes of the padded message a chunk has.
func (g Geometry) chunkLen() int { return g.K * g.Capacity }

// PaddedLen is the length of the message with its padding.
func (g Geometry) PaddedLen() int64 { return int64(g.Chunks) * int64(g.chunkLen()) }
