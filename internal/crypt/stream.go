package crypt

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// XORStream XORs src into dst with the AES-128 counter-mode stream of key, starting at byte offset of that stream: IV zero,
// the counter is the block number as a 128-bit big-endian integer (minion-spec 3.1.1.2). dst and src must have the same length
// and overlap entirely or not at all. Encryption and decryption are the same operation.
func XORStream(key Key, offset uint64, dst, src []byte) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("crypt: AES-128 refuses a 16-byte key") // unreachable: the length is fixed by the type
	}
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], offset/aes.BlockSize)
	ctr := cipher.NewCTR(block, iv[:])
	if skip := offset % aes.BlockSize; skip > 0 {
		var discard [aes.BlockSize]byte
		ctr.XORKeyStream(discard[:skip], discard[:skip])
	}
	ctr.XORKeyStream(dst, src)
}

// Stream returns the first n bytes of the stream of key: PRNG(K, n) of minion-spec 3.1.2.
func Stream(key Key, n int) []byte {
	out := make([]byte, n)
	XORStream(key, 0, out, out)
	return out
}
