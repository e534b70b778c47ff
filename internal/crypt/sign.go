package crypt

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"filippo.io/bigmod"
)

// Sign signs a digest as dir-spec 2.5 asks: the digest is OAEP-padded with the protocol's label and then put through the raw private
// operation. The padding is random, so two signatures of one digest differ. The raw operation is constant-time; the result
// is checked before it is returned, so that a computing fault cannot give the key away.
func Sign(key *rsa.PrivateKey, digest Digest) ([]byte, error) {
	k := key.Size()
	em, err := oaepPad(digest[:], k)
	if err != nil {
		return nil, err
	}
	modulus, err := bigmod.NewModulus(key.N.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: bad modulus", ErrKey)
	}
	x, err := bigmod.NewNat().SetBytes(em, modulus)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig := bigmod.NewNat().Exp(x, key.D.FillBytes(make([]byte, k)), modulus).Bytes(modulus)
	if err := Verify(&key.PublicKey, digest, sig); err != nil {
		return nil, fmt.Errorf("%w: a signature made with it does not verify", ErrKey)
	}
	return sig, nil
}

// Verify checks a signature that Sign or the first implementation made. It returns ErrSignature if the signature is wrong.
func Verify(key *rsa.PublicKey, digest Digest, sig []byte) error {
	k := key.Size()
	if len(sig) != k {
		return ErrSignature
	}
	modulus, err := bigmod.NewModulus(key.N.Bytes())
	if err != nil {
		return fmt.Errorf("%w: bad modulus", ErrKey)
	}
	x, err := bigmod.NewNat().SetBytes(sig, modulus)
	if err != nil {
		return ErrSignature
	}
	em := bigmod.NewNat().ExpShortVarTime(x, uint(key.E), modulus).Bytes(modulus)
	msg, ok := oaepUnpad(em)
	if !ok || subtle.ConstantTimeCompare(msg, digest[:]) != 1 {
		return ErrSignature
	}
	return nil
}

var labelHash = sha1.Sum([]byte(OAEPLabel))

// oaepPad returns the k-byte OAEP encoding (PKCS#1 v2, EME-OAEP-ENCODE) of msg.
func oaepPad(msg []byte, k int) ([]byte, error) {
	if len(msg) > k-PKOverheadLen {
		return nil, fmt.Errorf("%w: too small to sign with", ErrKey)
	}
	em := make([]byte, k)
	seed, db := em[1:1+HashLen], em[1+HashLen:]
	rand.Read(seed)
	copy(db, labelHash[:])
	db[len(db)-len(msg)-1] = 1
	copy(db[len(db)-len(msg):], msg)
	mgf1XOR(db, seed)
	mgf1XOR(seed, db)
	return em, nil
}

// oaepUnpad reverses oaepPad on a public value: it need not run in constant time and must not be used for decryption.
func oaepUnpad(em []byte) (msg []byte, ok bool) {
	if len(em) < PKOverheadLen || em[0] != 0 {
		return nil, false
	}
	seed, db := em[1:1+HashLen], em[1+HashLen:]
	mgf1XOR(seed, db)
	mgf1XOR(db, seed)
	if subtle.ConstantTimeCompare(db[:HashLen], labelHash[:]) != 1 {
		return nil, false
	}
	for i, b := range db[HashLen:] {
		switch b {
		case 0:
		case 1:
			return db[HashLen+i+1:], true
		default:
			return nil, false
		}
	}
	return nil, false
}

// mgf1XOR XORs into out the mask that MGF1 with SHA-1 makes of seed.
func mgf1XOR(out, seed []byte) {
	var counter [4]byte
	for n := uint32(0); len(out) > 0; n++ {
		binary.BigEndian.PutUint32(counter[:], n)
		mask := Hash(seed, counter[:])
		out = out[subtle.XORBytes(out, out, mask[:]):]
	}
}
