package store

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// filterKey is the secret of a replay log that spreads hashes over tables and filters.
type filterKey [16]byte

// prf maps a hash to 128 bits that look random to whoever does not know the key of the log: two hashes share
// them only when their first 16 bytes are equal.
type prf struct{ block cipher.Block }

func newPRF(key filterKey) (prf, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return prf{}, fmt.Errorf("store: key of a replay filter: %w", err)
	}
	return prf{block}, nil
}

type prfValue struct{ hi, lo uint64 }

func (p prf) value(h *replayHash) prfValue {
	var b [16]byte
	p.block.Encrypt(b[:], h[:16])
	return prfValue{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}
}

// filter says of a hash that it is certainly not in a run, or that it may be (about 1 in 40 of the others).
// It is a Bloom filter in blocks of one cache line, 8 bits an entry, 6 probes.
type filter []byte

const (
	filterBlock   = 64
	filterPerLine = filterBlock // entries a block: 8 bits each
	filterProbes  = 6
	// maxFilterBlocks bounds the filter of one run to 128 MiB; runs of more than 128 million hashes get fewer
	// bits an entry.
	maxFilterBlocks = 128 << 20 / filterBlock
)

func newFilter(entries uint64) filter {
	blocks := min((entries+filterPerLine-1)/filterPerLine, maxFilterBlocks)
	return make(filter, blocks*filterBlock)
}

func (f filter) line(v prfValue) []byte {
	i, _ := bits.Mul64(v.hi, uint64(len(f)/filterBlock))
	return f[i*filterBlock:][:filterBlock]
}

func (f filter) add(v prfValue) {
	line := f.line(v)
	for p, i := v.lo, 0; i < filterProbes; i++ {
		line[p>>3&63] |= 1 << (p & 7)
		p >>= 9
	}
}

func (f filter) mayHave(v prfValue) bool {
	if len(f) == 0 {
		return false
	}
	line := f.line(v)
	for p, i := v.lo, 0; i < filterProbes; i++ {
		if line[p>>3&63]&(1<<(p&7)) == 0 {
			return false
		}
		p >>= 9
	}
	return true
}
