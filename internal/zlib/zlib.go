// Package zlib compresses exactly as the C library of that name does.
//
// The message format demands one compressor for everybody: E2E-spec 2.1.1
// defines COMPRESS as the output of C zlib with level 9, a 32 KiB window and
// memory level 8, without explicit flushes. DEFLATE leaves an encoder much
// freedom, and whoever used that freedom in another way could be told apart
// from all other senders. So the bytes that [Compress] returns are part of the
// protocol and of the anonymity set. They must equal the C library's for every
// input. A better ratio is not an improvement but a defect, and so is any
// change that makes the output differ for a single input.
//
// The encoder follows RFC 1950 and RFC 1951, of the latter in particular the
// lazy matching outlined in section 4, and the published description of the
// strategy of zlib's deflate. The standard library's compress/zlib uses other
// heuristics and never yields these bytes. It does serve for decompression,
// which is not ambiguous and is no concern of this package.
//
// The specification names zlib 1.1.4. Early releases of the library may have ended
// blocks early in input of a certain kind; we could not check which did. The output
// here is that of the releases since 1.2, as it is theirs that senders have.
//
// # What pins the output
//
//   - match.go: which match is taken at each position. Hash chains over three
//     bytes, at most 4096 candidates, one step of lazy evaluation, and a window
//     whose oldest position can not be referred to.
//   - encoder.go: where blocks end. After 16383 literals and matches.
//   - block.go: how a block is stored. The smallest form in whole bytes;
//     of two equal ones stored before fixed, fixed before dynamic.
//   - huffman.go, codelengths.go: which of several optimal prefix codes is
//     used and how its lengths are written.
//
// # Tests
//
// testdata/corpus.txt holds digests of inputs and of the C library's outputs.
// It is made by testdata/make_corpus.py; testdata/README.md says how to add
// cases. The nested module in oracle/ compares with a machine translation of
// the C library and can be fuzzed.
//
// Speed is close to the C library's: one to two milliseconds for a packet of
// text. The working state takes some 200 KB and is not reused, as it holds pieces
// of the message.
package zlib

import (
	"encoding/binary"
	"hash/adler32"
)

// Header bytes of the stream, RFC 1950 section 2.2: method 8 with a 32 KiB
// window, and the flag for "maximum compression" with its check bits.
const (
	headerMethod = 0x78
	headerFlags  = 0xDA
)

// Compress returns src as a whole zlib stream (RFC 1950), byte for byte what C
// zlib gives with level 9, window bits 15, memory level 8 and the default
// strategy when it is fed the input at once. The result does not alias src.
//
// Source: E2E-spec 2.1.1.
func Compress(src []byte) []byte {
	e := newEncoder(len(src))
	e.out.bytes = append(e.out.bytes, headerMethod, headerFlags)
	e.deflate(src)
	return binary.BigEndian.AppendUint32(e.out.bytes, adler32.Checksum(src))
}
