package message_test

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"

	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/packet"
)

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := crypt.GenerateKey(2048)
	if err != nil {
		panic(err)
	}
	return key
})

func testDecrypter(t testing.TB) crypt.Decrypter {
	t.Helper()
	d, err := crypt.StdProvider{}.Decrypter(testKey())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEncryptedForward(t *testing.T) {
	d := testDecrypter(t)
	keys := message.Keys{
		Identities: []message.Identity{{Secret: []byte("x")}},
		Private:    []message.PrivateKey{{Name: "k", Key: d}},
	}
	for _, n := range []int{0, 28000, 28700, 60000} {
		msg := incompressible(9, n)
		e, err := message.Encode(newRand(1), msg, message.ForwardOverhead)
		if err != nil {
			t.Fatal(err)
		}
		var fragments []*message.Fragment
		for i := range e.Payloads {
			p := &e.Payloads[i]
			tag, err := message.EncryptForward(newRand(2), p, &testKey().PublicKey)
			if err != nil || tag[0]&0x80 != 0 {
				t.Fatal(tag, err)
			}
			exit, err := message.DecodeForExit(p, tag)
			if err != nil || exit.Form != message.FormEncrypted {
				t.Fatal("the exit can read it:", exit.Form, err)
			}
			o, err := message.Open(tag, p, keys)
			if err != nil || o.By != (message.Opener{Via: message.ViaKey, Name: "k"}) {
				t.Fatal(o.By, err)
			}
			if !e.Fragmented {
				if got, err := o.Message(0); err != nil || !bytes.Equal(got, msg) {
					t.Error(n, err)
				}
				continue
			}
			fragments = append(fragments, o.Fragment)
			p[20000] ^= 1
			if _, err := message.Open(tag, p, keys); !errors.Is(err, message.ErrNotForUs) {
				t.Error("damaged:", err)
			}
			tag[0] ^= 1
			if _, err := message.Open(tag, p, keys); !errors.Is(err, message.ErrNotForUs) {
				t.Error("other handle:", err)
			}
		}
		if e.Fragmented {
			compressed, err := reassemble(fragments)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := message.Decompress(compressed, math.MaxInt); err != nil || !bytes.Equal(got, msg) {
				t.Error(n, err)
			}
		}
	}
	small, err := crypt.GenerateKey(1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := message.EncryptForward(newRand(1), new(packet.Payload), &small.PublicKey); !errors.Is(err, crypt.ErrKey) {
		t.Error("small key:", err)
	}
}

// A reply is opened whatever the number of hops of its block.
func TestOpenReply(t *testing.T) {
	secret := []byte("a secret of an identity")
	e, err := message.Encode(newRand(1), []byte("\nhello"), 0)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := crypt.NewSURBSeed(newRand(3), secret)
	if err != nil {
		t.Fatal(err)
	}
	keys := message.Keys{Identities: []message.Identity{{Name: "a", Secret: []byte("other")}, {Name: "b", Secret: secret}}}
	for hops := range 18 {
		p := e.Payloads[0]
		surbKeys := crypt.SURBKeys(seed, secret, hops+1)
		// The sender undoes the end-to-end key; then the hops decrypt, the first hop first.
		for _, k := range slices.Backward(surbKeys) {
			crypt.SPRPDecrypt(crypt.SubSPRPKey(k[:], crypt.LabelPayloadEncrypt), p[:])
		}
		before := p
		o, err := message.Open(seed, &p, keys)
		if hops == 17 {
			if !errors.Is(err, message.ErrNotForUs) {
				t.Error("17 hops do not fit a header:", err)
			}
			continue
		}
		if err != nil || o.By != (message.Opener{Via: message.ViaIdentity, Name: "b"}) {
			t.Fatal(hops, o.By, err)
		}
		if got, err := o.Message(0); err != nil || string(got) != "\nhello" {
			t.Error(hops, err)
		}
		if p != before {
			t.Error("the payload was changed")
		}
	}
}

// A reply whose plaintext makes no sense is reported as such, not as foreign.
func TestOpenMalformedReply(t *testing.T) {
	secret := []byte("secret")
	seed, err := crypt.NewSURBSeed(newRand(3), secret)
	if err != nil {
		t.Fatal(err)
	}
	p := craft([]byte{0x7f, 0xff}, nil)
	key := crypt.SURBKeys(seed, secret, 1)[0]
	crypt.SPRPDecrypt(crypt.SubSPRPKey(key[:], crypt.LabelPayloadEncrypt), p[:])
	if _, err := message.Open(seed, p, message.Keys{Identities: []message.Identity{{Secret: secret}}}); !errors.Is(err, message.ErrPayload) {
		t.Error(err)
	}
}
