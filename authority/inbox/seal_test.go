package inbox_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"math/big"
	"regexp"
	"testing"
)

const oaepLabel = "He who would make his own liberty secure, must guard even his enemy from oppression."

func replace(text []byte, old, new string) []byte {
	return bytes.ReplaceAll(text, []byte(old), []byte(new))
}

func replaceLine(text []byte, key, value string) []byte {
	return regexp.MustCompile(`(?m)^`+key+`:.*$`).ReplaceAllLiteral(text, []byte(key+": "+value))
}

func identityOf(text []byte) string {
	return string(regexp.MustCompile(`(?m)^Identity: (.*)$`).FindSubmatch(text)[1])
}

// digestOf is the digest of a descriptor (dir-spec 2.5).
func digestOf(text []byte) [sha1.Size]byte {
	stub := regexp.MustCompile(`(?m)^(Digest|Signature):.*$`).ReplaceAll(text, []byte("$1:"))
	return sha1.Sum(stub)
}

// reseal gives a changed descriptor its digest, without a signature.
func reseal(text []byte) []byte {
	text = replaceLine(text, "Contact", "other@example.com")
	digest := digestOf(text)
	return replaceLine(text, "Digest", base64.StdEncoding.EncodeToString(digest[:]))
}

// sealed signs a descriptor anew, with the key of that number, whatever stands in it. It is much faster than package
// directory, since the key is so weak.
func sealed(t testing.TB, number uint64, text []byte) []byte {
	t.Helper()
	digest := digestOf(text)
	em := make([]byte, 256)
	seed, db := em[1:21], em[21:]
	copy(seed, digest[:])
	label := sha1.Sum([]byte(oaepLabel))
	copy(db, label[:])
	db[len(db)-len(digest)-1] = 1
	copy(db[len(db)-len(digest):], digest[:])
	mask(db, seed)
	mask(seed, db)
	signature := root(new(big.Int).SetBytes(em), number).FillBytes(make([]byte, 256))
	text = replaceLine(text, "Digest", base64.StdEncoding.EncodeToString(digest[:]))
	return replaceLine(text, "Signature", base64.StdEncoding.EncodeToString(signature))
}

// mask is the MGF1 of OAEP.
func mask(out, seed []byte) {
	for n := uint32(0); len(out) > 0; n++ {
		h := sha1.Sum(binary.BigEndian.AppendUint32(bytes.Clone(seed), n))
		for i := range min(len(out), len(h)) {
			out[i] ^= h[i]
		}
		out = out[min(len(out), len(h)):]
	}
}

// root is the private operation of a key, prime by prime.
func root(m *big.Int, number uint64) *big.Int {
	one := big.NewInt(1)
	x, modulus := new(big.Int), big.NewInt(1)
	for _, p := range factors(number) {
		d := new(big.Int).ModInverse(exponent, new(big.Int).Sub(p, one))
		r := new(big.Int).Exp(new(big.Int).Mod(m, p), d, p)
		// x += modulus * ((r - x) / modulus mod p)
		r.Sub(r, x)
		r.Mul(r, new(big.Int).ModInverse(modulus, p)).Mod(r, p)
		x.Add(x, r.Mul(r, modulus))
		modulus.Mul(modulus, p)
	}
	return x
}
