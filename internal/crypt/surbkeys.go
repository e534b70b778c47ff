package crypt

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// SURBSeedLen is the length of the seed that a reply block carries as its decoding handle.
const SURBSeedLen = 20

// NewSURBSeed draws seeds until one is marked as ours: Hash(seed | secret | "Validate") ends with a zero byte, and its first bit is
// zero (E2E-spec 2.2.5).
func NewSURBSeed(rnd io.Reader, secret []byte) (seed [SURBSeedLen]byte, err error) {
	// One draw in 256 succeeds, so 2^14 failures in a row mean a broken generator, not bad luck.
	for range 1 << 14 {
		if _, err := io.ReadFull(rnd, seed[:]); err != nil {
			return seed, fmt.Errorf("draw reply block seed: %w", err)
		}
		seed[0] &= 0x7f
		if IsSURBSeed(seed, secret) {
			return seed, nil
		}
	}
	return seed, errors.New("draw reply block seed: the random source repeats itself")
}

// IsSURBSeed reports whether a decoding handle may be a seed made with secret. One foreign handle in 256 passes by chance.
func IsSURBSeed(seed [SURBSeedLen]byte, secret []byte) bool {
	d := Hash(seed[:], secret, []byte("Validate"))
	return subtle.ConstantTimeByteEq(d[HashLen-1], 0) == 1
}

// SURBKeys returns the n first keys of the stream of a seed: for a path of n-1 hops the master secrets of the last hop, the one before
// it, ... the first hop, and then the end-to-end key (E2E-spec 2.2.5).
func SURBKeys(seed [SURBSeedLen]byte, secret []byte, n int) []Key {
	d := Hash(seed[:], secret, []byte("Generate"))
	stream := Stream(Key(d[:KeyLen]), n*KeyLen)
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = Key(stream[i*KeyLen:])
	}
	return keys
}
