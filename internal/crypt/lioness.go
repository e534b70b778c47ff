package crypt

import (
	"crypto/sha1"
	"crypto/subtle"
	"hash"
	"sync"
)

// MinSPRPLen is the shortest message that LIONESS takes: the left half and at least one byte more.
const MinSPRPLen = HashLen + 1

// digester is a SHA-1 state with room for its result, kept in a pool so that a packet's many digests leave no garbage.
type digester struct {
	hash.Hash
	out [HashLen]byte
}

var hashPool = sync.Pool{New: func() any { return &digester{Hash: sha1.New()} }}

// sum returns Hash(body | label). It takes the label first because callers hold it as the shorter, fixed argument.
func (d *digester) sum(label, body []byte) Digest {
	d.Reset()
	d.Write(body)
	d.Write(label)
	return Digest(d.Sum(d.out[:0]))
}

// keyed returns Hash(key | body | key).
func (d *digester) keyed(key *SPRPKey, body []byte) *[HashLen]byte {
	d.Reset()
	d.Write(key[:])
	d.Write(body)
	d.Write(key[:])
	d.Sum(d.out[:0])
	return &d.out
}

// round returns the i-th LIONESS round key: the key with its last byte XOR i.
func (k SPRPKey) round(i byte) *SPRPKey {
	k[SPRPKeyLen-1] ^= i
	return &k
}

func (d *digester) xorLeft(key *SPRPKey, left, right []byte) {
	subtle.XORBytes(left, left, d.keyed(key, right)[:])
}

func (d *digester) xorRight(key *SPRPKey, left, right []byte) {
	XORStream(Key(d.keyed(key, left)[:KeyLen]), 0, right, right)
}

// SPRPEncrypt encrypts msg in place with LIONESS: SPRP_Encrypt(K, M) of minion-spec 3.1.1.3. It panics if msg is shorter than
// MinSPRPLen; every caller passes a header, a payload or a checked length.
func SPRPEncrypt(key SPRPKey, msg []byte) {
	left, right := split(msg)
	d := hashPool.Get().(*digester)
	defer hashPool.Put(d)
	d.xorRight(key.round(0), left, right)
	d.xorLeft(key.round(1), left, right)
	d.xorRight(key.round(2), left, right)
	d.xorLeft(key.round(3), left, right)
}

// SPRPDecrypt is the inverse of SPRPEncrypt.
func SPRPDecrypt(key SPRPKey, msg []byte) {
	left, right := split(msg)
	d := hashPool.Get().(*digester)
	defer hashPool.Put(d)
	d.xorLeft(key.round(3), left, right)
	d.xorRight(key.round(2), left, right)
	d.xorLeft(key.round(1), left, right)
	d.xorRight(key.round(0), left, right)
}

func split(msg []byte) (left, right []byte) {
	if len(msg) < MinSPRPLen {
		panic("crypt: LIONESS message shorter than MinSPRPLen")
	}
	return msg[:HashLen], msg[HashLen:]
}

// Whiten hides msg in place so that no part of it can be read before all of it is there (E2E-spec 2.1.3).
// Messages shorter than MinSPRPLen cannot be whitened; fragmented messages never are that short.
func Whiten(msg []byte) { SPRPEncrypt(SubSPRPKey([]byte(LabelWhiten), LabelWhiten), msg) }

// Unwhiten is the inverse of Whiten.
func Unwhiten(msg []byte) { SPRPDecrypt(SubSPRPKey([]byte(LabelWhiten), LabelWhiten), msg) }
