//go:build openssl && cgo

package libcrypto_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"errors"
	"math/big"
	"sync"
	"testing"

	"mixminion/internal/crypt"
	"mixminion/internal/crypt/libcrypto"
)

func newKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := crypt.GenerateKey(2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newDecrypter(t testing.TB, p crypt.Provider, key *rsa.PrivateKey) crypt.Decrypter {
	t.Helper()
	d, err := p.Decrypter(key)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Both providers give the same answers, to good ciphertexts and to bad ones.
func TestSameAsStandardLibrary(t *testing.T) {
	key := newKey(t)
	std, lib := newDecrypter(t, crypt.StdProvider{}, key), newDecrypter(t, libcrypto.Provider{}, key)
	var inputs [][]byte
	for _, n := range []int{0, 1, 128, crypt.PKMaxDataLen - 1, crypt.PKMaxDataLen} {
		msg := make([]byte, n)
		rand.Read(msg)
		c, err := crypt.EncryptPK(&key.PublicKey, msg)
		if err != nil {
			t.Fatal(err)
		}
		flipped := bytes.Clone(c)
		flipped[100] ^= 1
		inputs = append(inputs, c, flipped, c[1:], append([]byte{0}, c...))
	}
	random := make([]byte, 256)
	rand.Read(random[1:])
	otherLabel, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := key.N.FillBytes(make([]byte, 256))
	inputs = append(inputs, nil, random, make([]byte, 256), bytes.Repeat([]byte{0xff}, 256), n, otherLabel,
		new(big.Int).Sub(key.N, big.NewInt(1)).FillBytes(make([]byte, 256)))
	for i, in := range inputs {
		want, wantErr := std.DecryptPK(in)
		got, err := lib.DecryptPK(in)
		if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
			t.Errorf("input %d: %x, %v; the standard library gives %x, %v", i, got, err, want, wantErr)
		}
		if err != nil && !errors.Is(err, crypt.ErrDecryption) {
			t.Errorf("input %d: %v", i, err)
		}
	}
}

func TestBadKey(t *testing.T) {
	key := newKey(t)
	key.D = new(big.Int).Add(key.D, big.NewInt(2))
	if _, err := (libcrypto.Provider{}).Decrypter(key); !errors.Is(err, crypt.ErrKey) {
		t.Errorf("a key that is none: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	key := newKey(t)
	d := newDecrypter(t, libcrypto.Provider{}, key)
	c, err := crypt.EncryptPK(&key.PublicKey, []byte("to be read by many"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got, err := d.DecryptPK(c); err != nil || string(got) != "to be read by many" {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkDecryptPK(b *testing.B) {
	key := newKey(b)
	c, err := crypt.EncryptPK(&key.PublicKey, make([]byte, 128))
	if err != nil {
		b.Fatal(err)
	}
	for name, p := range map[string]crypt.Provider{"std": crypt.StdProvider{}, "libcrypto": libcrypto.Provider{}} {
		d := newDecrypter(b, p, key)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := d.DecryptPK(c); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := d.DecryptPK(c); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
