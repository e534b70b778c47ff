package message

import (
	"bytes"
	stdzlib "compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"

	"mixminion/internal/zlib"
)

// Expansion beyond these bounds is refused (E2E-spec 2.3.2).
const (
	maxExpansion = 20
	freeLen      = 20 << 10 // a single payload may always expand to this
)

// zlibHeader begins every compressed message: deflate, 32 KB window, level 9, no dictionary. Another header would set its sender apart.
const zlibHeader = "\x78\xda"

// Compress is COMPRESS of E2E-spec 2.1.1. Every implementation must return the same bytes, lest senders be told apart by them.
func Compress(msg []byte) []byte { return zlib.Compress(msg) }

// SingletonLimit is how long a message in one payload may be, given the length of its compressed form.
func SingletonLimit(compressed int) int { return max(freeLen, maxExpansion*compressed) }

// ReassembledLimit is how long a message made of fragments may be, given the length of its compressed form.
func ReassembledLimit(compressed int) int { return maxExpansion * compressed }

// Decompress is DECOMPRESS of E2E-spec 2.1.1, bounded: it stops with ErrOvercompressed as soon as there are more than limit bytes. It
// returns an error that wraps ErrCorrupt when data is not exactly one complete zlib stream with the protocol's header.
func Decompress(data []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte(zlibHeader)) {
		return nil, fmt.Errorf("%w: wrong zlib header", ErrCorrupt)
	}
	limit = min(limit, math.MaxInt-1)
	in := bytes.NewReader(data)
	zr, err := stdzlib.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	var out bytes.Buffer
	n, err := io.CopyN(&out, zr, int64(limit)+1)
	switch {
	case n > int64(limit):
		return nil, fmt.Errorf("%w: %d bytes expand to more than %d", ErrOvercompressed, len(data), limit)
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case in.Len() > 0:
		return nil, fmt.Errorf("%w: %d bytes follow its end", ErrCorrupt, in.Len())
	}
	return out.Bytes(), nil
}
