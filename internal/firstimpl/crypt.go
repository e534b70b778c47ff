// Package firstimpl is a second, independent reading of what the first implementation, Mixminion 0.0.8, takes and makes: packets,
// payloads, reply blocks, descriptors and directories. Tests hold the rooms of this program against it; nothing else imports it.
//
// It shares no code with those rooms, only the standard library, and prefers the order of the specification to speed. It is as strict
// as 0.0.8 where that refuses something, and stricter where that would only guess.
package firstimpl

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"math/big"
)

// label is the parameter of OAEP (minion-spec 3.1.1.4).
const label = "He who would make his own liberty secure, must guard even his enemy from oppression."

// ErrRefused is what all refusals match.
var ErrRefused = errors.New("0.0.8 refuses this")

func hash(parts ...[]byte) []byte {
	h := sha1.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func subkey(master []byte, mode string) []byte { return hash(master, []byte(mode))[:16] }

// crypt applies the counter-mode stream of a key, from offset at, and returns the result.
func crypt(key, data []byte, at int) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for keys of another length
	}
	out := make([]byte, at+len(data))
	copy(out[at:], data)
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(out, out)
	return out[at:]
}

func stream(key []byte, n int) []byte { return crypt(key, make([]byte, n), 0) }

// lioness encrypts or decrypts (minion-spec 3.1.1.3).
func lioness(master []byte, mode string, data []byte, encrypt bool) []byte {
	keys := make([][]byte, 4)
	for i := range keys {
		keys[i] = hash(master, []byte(mode))
		keys[i][19] ^= byte(i)
	}
	l, r := append([]byte{}, data[:20]...), append([]byte{}, data[20:]...)
	for i := range keys {
		if !encrypt {
			i = 3 - i
		}
		if k := keys[i]; i%2 == 0 {
			r = crypt(hash(k, l, k)[:16], r, 0)
		} else {
			subtle.XORBytes(l, l, hash(k, r, k))
		}
	}
	return append(l, r...)
}

// seal encrypts to a packet key.
func seal(key *rsa.PublicKey, plain []byte) ([]byte, error) {
	return rsa.EncryptOAEP(sha1.New(), rand.Reader, key, plain, []byte(label))
}

func unseal(key *rsa.PrivateKey, data []byte) ([]byte, error) {
	return rsa.DecryptOAEP(sha1.New(), nil, key, data, []byte(label))
}

// checkSignature undoes a signature: an OAEP block with a digest inside, under the private operation.
func checkSignature(key *rsa.PublicKey, digest, signature []byte) error {
	size := (key.N.BitLen() + 7) / 8
	if len(signature) != size {
		return errors.New("the signature is not as long as the key")
	}
	em := new(big.Int).Exp(new(big.Int).SetBytes(signature), big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, size))
	seed, db := em[1:21], em[21:]
	subtle.XORBytes(seed, seed, mgf1(db, len(seed)))
	subtle.XORBytes(db, db, mgf1(seed, len(db)))
	at := 20
	for at < len(db) && db[at] == 0 {
		at++
	}
	if em[0] != 0 || string(db[:20]) != string(hash([]byte(label))) || at == len(db) || db[at] != 1 || string(db[at+1:]) != string(digest) {
		return errors.New("wrong signature")
	}
	return nil
}

func mgf1(seed []byte, n int) []byte {
	var out []byte
	for i := byte(0); len(out) < n; i++ {
		out = append(out, hash(seed, []byte{0, 0, 0, i})...)
	}
	return out[:n]
}

// publicKey reads a key with the limits of 0.0.8.
func publicKey(der []byte, low, high int) (*rsa.PublicKey, error) {
	if len(der) > 550 {
		return nil, errors.New("the key has more than 550 bytes")
	}
	key, err := x509.ParsePKCS1PublicKey(der)
	if err != nil {
		return nil, err
	}
	if n := key.N.BitLen(); n < low || n > high || key.E != 65537 {
		return nil, errors.New("a key of another length or exponent")
	}
	return key, nil
}
