package message

import (
	"crypto/sha1"
	"fmt"

	"mixminion/internal/crypt"
	"mixminion/message/internal/fec"
)

// Assembly keeps account of the fragments of one message until there are enough of them (E2E-spec 2.3.3). It holds no data:
// the caller keeps the fragments that Add tells it to keep, wherever it likes, and gives them back to Reassemble. After a restart the
// caller makes a new Assembly and adds what it kept, in any order. An Assembly is not for concurrent use.
type Assembly struct {
	id       ID
	size     uint32
	opener   Opener
	geometry Geometry
	kept     map[uint32]crypt.Digest // of the data of the fragments that are kept
	have     []int                   // for each chunk, how many fragments are kept; never above K
	missing  int                     // over all chunks
	broken   bool
}

// NewAssembly starts the account of the message that f belongs to. It does not add f. by tells who could open the fragment: all
// fragments of a message must be for the same recipient. Memory is bounded by the geometry of the fragment, which the caller has to check
// first. The error wraps ErrPayload.
func NewAssembly(f *Fragment, by Opener) (*Assembly, error) {
	g, err := f.Geometry()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	if n := len(f.Data); n != fragmentCapacity && n != fragmentCapacity-ForwardOverhead || int64(f.Size) <= int64(n) {
		return nil, fmt.Errorf("%w: not a fragment", ErrPayload)
	}
	return &Assembly{
		id:       f.ID,
		size:     f.Size,
		opener:   by,
		geometry: g,
		kept:     map[uint32]crypt.Digest{},
		have:     make([]int, g.Chunks),
		missing:  g.Chunks * g.K,
	}, nil
}

// ID returns the message's ID.
func (a *Assembly) ID() ID { return a.id }

// Opener tells who the message is for.
func (a *Assembly) Opener() Opener { return a.opener }

// Size returns the length of the message in compressed form.
func (a *Assembly) Size() uint32 { return a.size }

// Geometry returns how the message was cut.
func (a *Assembly) Geometry() Geometry { return a.geometry }

// Add takes a fragment into the account. keep tells whether the caller has to keep it; a copy of a fragment that is kept, or one that
// is no longer needed, is not. The error wraps ErrOtherMessage if f belongs elsewhere, or ErrInconsistent if f
// contradicts an earlier fragment. From then on every call returns ErrInconsistent, and all that was kept should be deleted.
func (a *Assembly) Add(f *Fragment, by Opener) (keep bool, err error) {
	if f.ID != a.id {
		return false, ErrOtherMessage
	}
	if a.broken {
		return false, ErrInconsistent
	}
	defer func() { a.broken = err != nil }()
	switch {
	case f.Size != a.size:
		return false, fmt.Errorf("%w: different message sizes", ErrInconsistent)
	case len(f.Data) != a.geometry.Capacity:
		return false, fmt.Errorf("%w: different payload sizes", ErrInconsistent)
	case by != a.opener:
		return false, fmt.Errorf("%w: different recipients", ErrInconsistent)
	case int64(f.Index) >= int64(a.geometry.Packets()):
		return false, fmt.Errorf("%w: there is no fragment %d", ErrInconsistent, f.Index)
	}
	digest := crypt.Digest(sha1.Sum(f.Data))
	if old, ok := a.kept[f.Index]; ok {
		if old != digest {
			return false, fmt.Errorf("%w: two versions of fragment %d", ErrInconsistent, f.Index)
		}
		return false, nil
	}
	chunk := int(f.Index) / a.geometry.N
	if a.have[chunk] == a.geometry.K {
		return false, nil
	}
	a.kept[f.Index] = digest
	a.have[chunk]++
	a.missing--
	return true, nil
}

// Ready reports whether there are enough fragments.
func (a *Assembly) Ready() bool { return a.missing == 0 && !a.broken }

// Missing returns how many more fragments are needed at least.
func (a *Assembly) Missing() int { return a.missing }

// Progress tells how far a chunk is.
type Progress struct{ Have, Need int }

// Progress returns the state of each chunk.
func (a *Assembly) Progress() []Progress {
	list := make([]Progress, len(a.have))
	for i, n := range a.have {
		list[i] = Progress{n, a.geometry.K}
	}
	return list
}

// Reassemble puts the message together: RECONSTRUCT of E2E-spec 2.1.2, and UNWHITEN. data returns the data of a fragment that was to be
// kept; it is asked for one chunk after the other and may reuse the slices of a chunk for the next. The result is the compressed message,
// for an exit with its destination in front (ParseServerSide). It returns ErrIncomplete unless Ready, and an error that wraps ErrCorrupt if
// what data returns is not what was added.
func (a *Assembly) Reassemble(data func(index uint32) ([]byte, error)) ([]byte, error) {
	if a.broken {
		return nil, ErrInconsistent
	}
	if !a.Ready() {
		return nil, ErrIncomplete
	}
	g := a.geometry
	code, err := fec.New(g.K, g.N)
	if err != nil {
		return nil, err
	}
	msg := make([]byte, g.PaddedLen())
	indices, packets := make([]int, 0, g.K), make([][]byte, 0, g.K)
	for chunk := range g.Chunks {
		indices, packets = indices[:0], packets[:0]
		for i := range g.N {
			index := uint32(chunk*g.N + i)
			digest, ok := a.kept[index]
			if !ok {
				continue
			}
			p, err := data(index)
			if err != nil {
				return nil, fmt.Errorf("fragment %d: %w", index, err)
			}
			if crypt.Digest(sha1.Sum(p)) != digest {
				return nil, fmt.Errorf("%w: fragment %d has changed", ErrCorrupt, index)
			}
			indices, packets = append(indices, i), append(packets, p)
		}
		if err := code.Decode(msg[chunk*g.chunkLen():(chunk+1)*g.chunkLen()], indices, packets); err != nil {
			return nil, fmt.Errorf("reassemble message: %w", err)
		}
	}
	msg = msg[:a.size]
	crypt.Unwhiten(msg)
	return msg, nil
}
