package crypt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
)

func TestPSS(t *testing.T) {
	key, err := GenerateKey(2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := GenerateKey(2048)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("some text"))
	sig, err := SignPSS(key, digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyPSS(&key.PublicKey, digest, sig); err != nil {
		t.Error(err)
	}
	if again, err := SignPSS(key, digest); err != nil || bytes.Equal(sig, again) {
		t.Error("no salt:", err)
	}
	for i := range len(sig) {
		changed := bytes.Clone(sig)
		changed[i] ^= 0x10
		if err := VerifyPSS(&key.PublicKey, digest, changed); !errors.Is(err, ErrSignature) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for name, err := range map[string]error{
		"other key":    VerifyPSS(&other.PublicKey, digest, sig),
		"other digest": VerifyPSS(&key.PublicKey, sha256.Sum256(nil), sig),
		"cut":          VerifyPSS(&key.PublicKey, digest, sig[1:]),
		"longer":       VerifyPSS(&key.PublicKey, digest, append([]byte{0}, sig...)),
		"empty":        VerifyPSS(&key.PublicKey, digest, nil),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The other kind of signature, over SHA-1, is not taken for one of this kind.
	old, err := Sign(key, Hash([]byte("some text")))
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyPSS(&key.PublicKey, digest, old); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}
