package message_test

import (
	"io"
	"iter"
	"math/rand/v2"
	"slices"

	"mixminion/message"
)

// newRand returns a reader of bytes that depend on seed only.
func newRand(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func bytesChunks(b []byte, size int) iter.Seq[[]byte] { return slices.Chunk(b, size) }

// reassemble puts a message together from the fragments, in this order, until there are enough.
func reassemble(fragments []*message.Fragment) ([]byte, error) {
	a, err := message.NewAssembly(fragments[0], message.Opener{})
	if err != nil {
		return nil, err
	}
	data := map[uint32][]byte{}
	for _, f := range fragments {
		keep, err := a.Add(f, message.Opener{})
		if err != nil {
			return nil, err
		}
		if keep {
			data[f.Index] = f.Data
		}
	}
	return a.Reassemble(func(i uint32) ([]byte, error) { return data[i], nil })
}
