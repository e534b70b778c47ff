package crypt_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"mixminion/internal/crypt"

	"pgregory.net/rapid"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type primitives struct {
	PRNG []struct {
		Key, Stream hexBytes
		Length      int
	}
	Offset []struct {
		Key, Stream    hexBytes
		Length, Offset int
	} `json:"prng_offset"`
	Lioness []struct {
		Key, Message, Encrypted, Decrypted hexBytes
		Length                             int
		MessageKey                         hexBytes `json:"message_is_prng_of"`
		EncryptedSHA1                      hexBytes `json:"ciphertext_sha1"`
		DecryptedSHA1                      hexBytes `json:"decrypt_sha1"`
	}
	Subkeys struct {
		Secret  hexBytes
		ByLabel map[crypt.Label]struct {
			Digest20, Key16 hexBytes
			LionessKey      hexBytes `json:"lioness_key"`
		} `json:"by_label"`
	}
	Whiten []struct{ Message, Whitened hexBytes }
	OAEP   []struct {
		Ciphertext, Plaintext hexBytes
		Fingerprint           string
		Private               []byte `json:"private_key_pkcs1_der"`
		Public                []byte `json:"public_key_pkcs1_der"`
	} `json:"rsa_oaep"`
	Signature struct {
		Data, Signature hexBytes
		Private         []byte `json:"private_key_pkcs1_der"`
	} `json:"rsa_signature"`
}

func loadPrimitives(t testing.TB) (p primitives) {
	t.Helper()
	data, err := os.ReadFile("testdata/primitives.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func privateKey(t testing.TB, der []byte) *rsa.PrivateKey {
	t.Helper()
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestStreamVectors(t *testing.T) {
	p := loadPrimitives(t)
	for _, v := range p.PRNG {
		if got := crypt.Stream(crypt.Key(v.Key), v.Length); !bytes.Equal(got, v.Stream) {
			t.Errorf("stream of %d bytes differs", v.Length)
		}
	}
	for _, v := range p.Offset {
		got := make([]byte, v.Length)
		crypt.XORStream(crypt.Key(v.Key), uint64(v.Offset), got, got)
		if !bytes.Equal(got, v.Stream) {
			t.Errorf("stream of %d bytes at offset %d differs", v.Length, v.Offset)
		}
	}
}

func TestSubkeyVectors(t *testing.T) {
	v := loadPrimitives(t).Subkeys
	if len(v.ByLabel) == 0 {
		t.Fatal("no vectors")
	}
	for label, want := range v.ByLabel {
		if got := crypt.SubDigest(v.Secret, label); !bytes.Equal(got[:], want.Digest20) {
			t.Errorf("%s: digest %x", label, got)
		}
		if got := crypt.SubKey(v.Secret, label); !bytes.Equal(got[:], want.Key16) {
			t.Errorf("%s: key %x", label, got)
		}
		if got := crypt.SubSPRPKey(v.Secret, label); !bytes.Equal(got[:], want.LionessKey) {
			t.Errorf("%s: LIONESS key %x", label, got)
		}
	}
}

func TestLionessVectors(t *testing.T) {
	for _, v := range loadPrimitives(t).Lioness {
		msg := []byte(v.Message)
		if len(v.MessageKey) > 0 {
			msg = crypt.Stream(crypt.Key(v.MessageKey), v.Length)
		}
		check := func(what string, f func(crypt.SPRPKey, []byte), want, wantSHA1 []byte) {
			got := bytes.Clone(msg)
			f(crypt.SPRPKey(v.Key), got)
			sum := sha1.Sum(got)
			if !bytes.Equal(sum[:], wantSHA1) || !bytes.HasPrefix(got, want) {
				t.Errorf("%d bytes: %s differs", v.Length, what)
			}
		}
		if len(msg) != v.Length {
			t.Fatalf("vector holds %d of %d bytes", len(msg), v.Length)
		}
		check("encryption", crypt.SPRPEncrypt, v.Encrypted, v.EncryptedSHA1)
		check("decryption", crypt.SPRPDecrypt, v.Decrypted, v.DecryptedSHA1)
	}
}

func TestWhitenVectors(t *testing.T) {
	for _, v := range loadPrimitives(t).Whiten {
		got := bytes.Clone(v.Message)
		crypt.Whiten(got)
		if !bytes.Equal(got, v.Whitened) {
			t.Errorf("whitening %d bytes differs", len(v.Message))
		}
		crypt.Unwhiten(got)
		if !bytes.Equal(got, v.Message) {
			t.Errorf("unwhitening %d bytes differs", len(v.Message))
		}
	}
}

func TestOAEPVectors(t *testing.T) {
	for _, v := range loadPrimitives(t).OAEP {
		key := privateKey(t, v.Private)
		pub, err := crypt.ParsePublicKey(v.Public, 2048, 2048)
		if err != nil {
			t.Fatal(err)
		}
		if got := crypt.NewKeyID(pub).Fingerprint(); got != v.Fingerprint {
			t.Errorf("fingerprint %s, want %s", got, v.Fingerprint)
		}
		dec, err := crypt.StdProvider{}.Decrypter(key)
		if err != nil {
			t.Fatal(err)
		}
		check := func(ciphertext []byte) {
			got, err := dec.DecryptPK(ciphertext)
			if len(v.Plaintext) == 0 {
				if !errors.Is(err, crypt.ErrDecryption) {
					t.Errorf("empty plaintext: error %v", err)
				}
				return
			}
			if err != nil || !bytes.Equal(got, v.Plaintext) {
				t.Errorf("%d bytes: %v", len(v.Plaintext), err)
			}
		}
		check(v.Ciphertext)
		own, err := crypt.EncryptPK(pub, v.Plaintext)
		if err != nil {
			t.Fatal(err)
		}
		check(own)
	}
}

func TestDecryptGarbage(t *testing.T) {
	key := privateKey(t, loadPrimitives(t).OAEP[0].Private)
	dec, err := crypt.StdProvider{}.Decrypter(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, {}, make([]byte, 255), make([]byte, 256), bytes.Repeat([]byte{0xff}, 256), make([]byte, 257)} {
		if _, err := dec.DecryptPK(bad); !errors.Is(err, crypt.ErrDecryption) {
			t.Errorf("%d bytes of garbage: %v", len(bad), err)
		}
	}
}

func TestSignatureVector(t *testing.T) {
	v := loadPrimitives(t).Signature
	key := privateKey(t, v.Private)
	digest := crypt.Digest(v.Data)
	if err := crypt.Verify(&key.PublicKey, digest, v.Signature); err != nil {
		t.Errorf("signature of the first implementation: %v", err)
	}
	sig, err := crypt.Sign(key, digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := crypt.Verify(&key.PublicKey, digest, sig); err != nil {
		t.Errorf("our signature: %v", err)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "short": sig[:255], "long": append(bytes.Clone(sig), 0),
		"flipped": flip(sig, 100), "zero": make([]byte, 256), "above the modulus": bytes.Repeat([]byte{0xff}, 256),
	} {
		if err := crypt.Verify(&key.PublicKey, digest, bad); !errors.Is(err, crypt.ErrSignature) {
			t.Errorf("%s signature: %v", name, err)
		}
	}
	digest[0] ^= 1
	if err := crypt.Verify(&key.PublicKey, digest, sig); !errors.Is(err, crypt.ErrSignature) {
		t.Errorf("other digest: %v", err)
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func TestParsePublicKeyRefuses(t *testing.T) {
	good := loadPrimitives(t).OAEP[0].Public
	small, err := rsa.GenerateKey(nil, 1024)
	if err != nil {
		t.Fatal(err)
	}
	odd := *privateKey(t, loadPrimitives(t).OAEP[0].Private)
	odd.E = 3
	for name, der := range map[string][]byte{
		"empty": nil, "truncated": good[:100], "trailing": append(bytes.Clone(good), 0), "huge": make([]byte, 600),
		"1024 bits": crypt.EncodePublicKey(&small.PublicKey), "exponent 3": crypt.EncodePublicKey(&odd.PublicKey),
	} {
		if _, err := crypt.ParsePublicKey(der, 2048, 4096); !errors.Is(err, crypt.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLionessRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := crypt.SPRPKey(rapid.SliceOfN(rapid.Byte(), crypt.SPRPKeyLen, crypt.SPRPKeyLen).Draw(t, "key"))
		msg := rapid.SliceOfN(rapid.Byte(), crypt.MinSPRPLen, 400).Draw(t, "msg")
		got := bytes.Clone(msg)
		crypt.SPRPEncrypt(key, got)
		if bytes.Equal(got, msg) {
			t.Fatal("encryption changes nothing")
		}
		crypt.SPRPDecrypt(key, got)
		if !bytes.Equal(got, msg) {
			t.Fatal("round trip differs")
		}
	})
}

func TestSURBSeed(t *testing.T) {
	secret := []byte("01234567890123456789")
	seed, err := crypt.NewSURBSeed(rand.NewChaCha8([32]byte{1}), secret)
	if err != nil {
		t.Fatal(err)
	}
	if seed[0]&0x80 != 0 || !crypt.IsSURBSeed(seed, secret) {
		t.Errorf("seed %x does not verify", seed)
	}
	if crypt.IsSURBSeed(seed, []byte("another secret")) {
		t.Error("a foreign secret claims the seed")
	}
	if _, err := crypt.NewSURBSeed(strings.NewReader("short"), secret); err == nil {
		t.Error("a dry random source goes unnoticed")
	}
	if _, err := crypt.NewSURBSeed(constant{}, secret); err == nil {
		t.Error("a stuck random source goes unnoticed")
	}
}

type constant struct{}

func (constant) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestEncodePublicKeyRoundTrip(t *testing.T) {
	der, err := base64.StdEncoding.DecodeString(base64.StdEncoding.EncodeToString(loadPrimitives(t).OAEP[0].Public))
	if err != nil {
		t.Fatal(err)
	}
	key, err := crypt.ParsePublicKey(der, 2048, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(crypt.EncodePublicKey(key), der) {
		t.Error("encoding differs")
	}
}

func FuzzParsePublicKey(f *testing.F) {
	for _, v := range loadPrimitives(f).OAEP {
		f.Add(v.Public)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := crypt.ParsePublicKey(der, 2048, 4096)
		if err != nil {
			return
		}
		if !bytes.Equal(crypt.EncodePublicKey(key), der) {
			t.Error("a non-canonical encoding was accepted")
		}
	})
}

func FuzzVerify(f *testing.F) {
	v := loadPrimitives(f).Signature
	key := privateKey(f, v.Private)
	f.Add([]byte(v.Signature))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sig []byte) {
		if err := crypt.Verify(&key.PublicKey, crypt.Digest(v.Data), sig); err == nil && !bytes.Equal(sig, v.Signature) {
			t.Error("forged")
		}
	})
}

func BenchmarkSPRPDecrypt28K(b *testing.B) {
	msg := make([]byte, 28672)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		crypt.SPRPDecrypt(crypt.SPRPKey{1}, msg)
	}
}

func BenchmarkDecryptPK(b *testing.B) {
	v := loadPrimitives(b).OAEP[1]
	dec, err := crypt.StdProvider{}.Decrypter(privateKey(b, v.Private))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dec.DecryptPK(v.Ciphertext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	v := loadPrimitives(b).Signature
	key := privateKey(b, v.Private)
	for b.Loop() {
		if _, err := crypt.Sign(key, crypt.Digest(v.Data)); err != nil {
			b.Fatal(err)
		}
	}
}
