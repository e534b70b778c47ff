package mmtp

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"mixminion/internal/crypt"
)

// realChain is the file of certificates of a server of series 0.0.8, and keyid what its descriptor says.
func realChain(t testing.TB) (chain []*x509.Certificate, keyid crypt.KeyID) {
	t.Helper()
	text, err := os.ReadFile("testdata/chain-0.0.8.pem")
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	desc, err := os.Open("testdata/descriptor-0.0.8")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = desc.Close() }()
	for lines := bufio.NewScanner(desc); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "Key-Digest: "); ok {
			b, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				t.Fatal(err)
			}
			return chain, crypt.KeyID(b)
		}
	}
	t.Fatal("no Key-Digest")
	return nil, keyid
}

func TestRealLegacyChain(t *testing.T) {
	chain, want := realChain(t)
	if got, err := checkLegacyChain(chain, chain[0].NotBefore.Add(2*time.Hour)); err != nil || got != want {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for name, now := range map[string]time.Time{"too early": chain[0].NotBefore.Add(-time.Second), "too late": chain[0].NotAfter.Add(time.Second)} {
		if _, err := checkLegacyChain(chain, now); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is made now is like a real one in all that does not depend on keys and time.
func TestLegacyChainIsLikeARealOne(t *testing.T) {
	real, _ := realChain(t)
	made := real[0].NotBefore.Add(2 * time.Hour)
	id, err := newLegacyChain(testKeys()[0], "gamma", made)
	if err != nil {
		t.Fatal(err)
	}
	if len(id.Chain) != len(real) {
		t.Fatalf("%d certificates", len(id.Chain))
	}
	for i, der := range id.Chain {
		got, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		want := real[i]
		switch {
		case got.Version != want.Version, len(got.Extensions) != len(want.Extensions):
			t.Errorf("%d: version %d, %d extensions", i, got.Version, len(got.Extensions))
		case !bytes.Equal(got.RawSubject, want.RawSubject), !bytes.Equal(got.RawIssuer, want.RawIssuer):
			t.Errorf("%d: subject %x, issuer %x", i, got.RawSubject, got.RawIssuer)
		case !got.NotBefore.Equal(want.NotBefore), !got.NotAfter.Equal(want.NotAfter):
			t.Errorf("%d: from %v to %v", i, got.NotBefore, got.NotAfter)
		case got.SignatureAlgorithm != want.SignatureAlgorithm:
			t.Errorf("%d: signed with %v", i, got.SignatureAlgorithm)
		case got.SerialNumber.Cmp(want.SerialNumber) != 0:
			t.Errorf("%d: serial number %v", i, got.SerialNumber)
		}
	}
	chain := parseAll(t, id.Chain)
	if got, err := checkLegacyChain(chain, made); err != nil || got != crypt.NewKeyID(&testKeys()[0].PublicKey) {
		t.Errorf("%v, %v", got, err)
	}
	link := chain[0].PublicKey.(*rsa.PublicKey)
	if link.Equal(&testKeys()[0].PublicKey) || !link.Equal(&id.Key.PublicKey) || link.N.BitLen() != legacyKeyBits {
		t.Error("the link key is not one of its own")
	}
}

func parseAll(t testing.TB, ders [][]byte) (chain []*x509.Certificate) {
	t.Helper()
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	return chain
}

// legacyParts are what a chain is made of, for tests that make bad ones.
type legacyParts struct {
	linkKey, identityKey any // public
	signer               *rsa.PrivateKey
	from, to             time.Duration // of the link certificate
	algorithm            x509.SignatureAlgorithm
	names                [2]string
	extension            *pkix.Extension
	identityOver         bool // the identity certificate has expired
}

func (p legacyParts) chain(t testing.TB) []*x509.Certificate {
	t.Helper()
	var ders [][]byte
	for i, key := range []any{p.linkKey, p.identityKey} {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: p.names[i]}, SignatureAlgorithm: p.algorithm,
			NotBefore: testNow.Add(p.from), NotAfter: testNow.Add(p.to),
		}
		if i == 1 && p.identityOver {
			template.NotAfter = testNow.Add(-time.Second)
		}
		if p.extension != nil {
			template.ExtraExtensions = []pkix.Extension{*p.extension}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: "alice"}}, key, p.signer)
		if err != nil {
			t.Fatal(err)
		}
		ders = append(ders, der)
	}
	return parseAll(t, ders)
}

func TestCheckLegacyChain(t *testing.T) {
	identity, other := testKeys()[0], testKeys()[1]
	link, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := legacyParts{
		linkKey: &link.PublicKey, identityKey: &identity.PublicKey, signer: identity, from: -time.Hour, to: time.Hour,
		algorithm: x509.SHA1WithRSA, names: [2]string{"alice<MMTP>", "alice"},
	}
	for name, c := range map[string]struct {
		change func(*legacyParts)
		good   bool
	}{
		"as 0.0.8 makes it":         {func(*legacyParts) {}, true},
		"SHA-256":                   {func(p *legacyParts) { p.algorithm = x509.SHA256WithRSA }, true},
		"other names":               {func(p *legacyParts) { p.names = [2]string{"bob", "carol"} }, true},
		"no names":                  {func(p *legacyParts) { p.names = [2]string{} }, true},
		"identity certificate over": {func(p *legacyParts) { p.identityOver = true }, true},
		"link key of 2048 bits":     {func(p *legacyParts) { p.linkKey = &other.PublicKey }, true},
		"not yet valid":             {func(p *legacyParts) { p.from = time.Second }, false},
		"expired":                   {func(p *legacyParts) { p.to = -time.Second }, false},
		"signed by another":         {func(p *legacyParts) { p.signer = other }, false},
		"SHA-512":                   {func(p *legacyParts) { p.algorithm = x509.SHA512WithRSA }, false},
		"PSS":                       {func(p *legacyParts) { p.algorithm = x509.SHA256WithRSAPSS }, false},
		"link key is ECDSA":         {func(p *legacyParts) { p.linkKey = &curve.PublicKey }, false},
		"link key is the identity":  {func(p *legacyParts) { p.linkKey = &identity.PublicKey }, false},
		"identity key of 1024 bits": {func(p *legacyParts) { p.identityKey, p.signer = &link.PublicKey, link }, false},
		"identity key is ECDSA":     {func(p *legacyParts) { p.identityKey = &curve.PublicKey }, false},
		"unknown critical extension": {func(p *legacyParts) {
			p.extension = &pkix.Extension{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}
		}, false},
		"unknown harmless extension":  {func(p *legacyParts) { p.extension = &pkix.Extension{Id: []int{1, 2, 3}, Value: []byte{5, 0}} }, true},
		"identity of somebody else's": {func(p *legacyParts) { p.identityKey = &other.PublicKey }, false},
	} {
		p := good
		c.change(&p)
		got, err := checkLegacyChain(p.chain(t), testNow)
		switch {
		case c.good && (err != nil || got != crypt.NewKeyID(&identity.PublicKey)):
			t.Errorf("%s: %v, %v", name, got, err)
		case !c.good && (!errors.Is(err, ErrCertificate) || got != crypt.KeyID{}):
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	chain := good.chain(t)
	small, err := x509.ParseCertificate(chain[0].Raw)
	if err != nil {
		t.Fatal(err)
	}
	small.PublicKey = &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1022), E: 65537}
	for name, list := range map[string][]*x509.Certificate{
		"no certificates": nil, "one": chain[:1], "three": {chain[0], chain[1], chain[1]}, "in the wrong order": {chain[1], chain[0]},
		"the same twice": {chain[0], chain[0]}, "link key of 1023 bits": {small, chain[1]},
	} {
		if _, err := checkLegacyChain(list, testNow); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	forged := good.chain(t)
	forged[0].Signature = bytes.Clone(forged[0].Signature)
	forged[0].Signature[7] ^= 1
	if _, err := checkLegacyChain(forged, testNow); !errors.Is(err, ErrCertificate) {
		t.Errorf("changed signature: %v", err)
	}
}

// The keyid is the digest of the identity key's PKCS #1 encoding, however it is reached.
func TestLegacyKeyID(t *testing.T) {
	chain, want := realChain(t)
	if got := sha1.Sum(x509.MarshalPKCS1PublicKey(chain[1].PublicKey.(*rsa.PublicKey))); got != want {
		t.Errorf("%x, want %x", got, want)
	}
}

func FuzzCheckLegacyChain(f *testing.F) {
	chain, _ := realChain(f)
	f.Add(chain[0].Raw, chain[1].Raw)
	f.Add(chain[1].Raw, chain[0].Raw)
	f.Add(chain[0].Raw, chain[0].Raw)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		leaf, err := x509.ParseCertificate(a)
		if err != nil {
			return
		}
		owner, err := x509.ParseCertificate(b)
		if err != nil {
			return
		}
		if id, err := checkLegacyChain([]*x509.Certificate{leaf, owner}, chain[0].NotBefore); err != nil && (!errors.Is(err, ErrCertificate) || id != crypt.KeyID{}) {
			t.Fatalf("%v, %v", id, err)
		}
	})
}
