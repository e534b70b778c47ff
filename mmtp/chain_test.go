package mmtp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

func TestNewLinkCertificate(t *testing.T) {
	identity := testKeys()[0]
	cert, err := NewLinkCertificate(identity, "alice", testNow)
	if err != nil {
		t.Fatal(err)
	}
	chain := parseChain(t, cert.Certificate)
	id, err := checkChain(chain, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if id != crypt.NewKeyID(&identity.PublicKey) {
		t.Error("the chain proves another keyid")
	}
	const owner, link = "CN=alice,O=Mixminion network", "CN=alice\\<MMTP\\>,O=Mixminion network"
	for i, want := range []struct{ subject, issuer string }{{link, owner}, {owner, owner}} {
		c := chain[i]
		if c.Subject.String() != want.subject || c.Issuer.String() != want.issuer {
			t.Errorf("certificate %d: subject %q, issuer %q", i, c.Subject, c.Issuer)
		}
		if c.Version != 3 || len(c.Extensions) != 0 {
			t.Errorf("certificate %d: version %d, %d extensions", i, c.Version, len(c.Extensions))
		}
		if !c.NotBefore.Equal(testNow.Add(-2*time.Hour)) || !c.NotAfter.Equal(testNow.Add(26*time.Hour)) {
			t.Errorf("certificate %d: valid from %v to %v", i, c.NotBefore, c.NotAfter)
		}
	}
	if cn := chain[0].Subject.CommonName; cn != "alice<MMTP>" {
		t.Errorf("common name %q", cn)
	}
	if bytes.Equal(chain[0].RawSubjectPublicKeyInfo, chain[1].RawSubjectPublicKeyInfo) {
		t.Error("the link key is the identity key")
	}
}

func TestNewLinkCertificateRefusesKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	exponent := *testKeys()[0]
	exponent.E = 3
	for name, key := range map[string]*rsa.PrivateKey{"1024 bits": small, "exponent": &exponent} {
		if _, err := NewLinkCertificate(key, "alice", testNow); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := NewLinkIdentity(key, "alice", fixedClock); err == nil {
			t.Errorf("%s: no error from NewLinkIdentity", name)
		}
	}
}

func TestLinkIdentityRenews(t *testing.T) {
	clk := newClock()
	l, err := NewLinkIdentity(testKeys()[0], "alice", clk.Now)
	if err != nil {
		t.Fatal(err)
	}
	get := func() *tls.Certificate {
		t.Helper()
		c, err := l.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := checkChain(parseChain(t, c.Certificate), clk.Now()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := get()
	clk.Add(23 * time.Hour)
	if get() != first {
		t.Error("renewed before a day was over")
	}
	clk.Add(time.Hour)
	second := get()
	if second == first || second.PrivateKey.(*ecdsa.PrivateKey).Equal(first.PrivateKey) {
		t.Error("not renewed after a day")
	}
	clk.Add(-72 * time.Hour)
	if get() == second {
		t.Error("not renewed when the clock was set back")
	}
}

// A certSpec describes one certificate of a test chain.
type certSpec struct {
	key    any // public
	signer crypto.Signer
	change func(*x509.Certificate)
}

func (s certSpec) make(t testing.TB) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "x"},
		NotBefore:    testNow.Add(-time.Hour),
		NotAfter:     testNow.Add(time.Hour),
	}
	if s.change != nil {
		s.change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: "x"}}, s.key, s.signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parseChain(t testing.TB, ders [][]byte) []*x509.Certificate {
	t.Helper()
	var chain []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	return chain
}

type chainCase struct {
	name  string
	chain []certSpec
	leaf  crypto.Signer // the private key of the first certificate
	want  string        // part of the error; "" if the chain is good
	id    int           // whose keyid a good chain proves
}

func chainCases(t testing.TB) []chainCase {
	t.Helper()
	identity, other := testKeys()[0], testKeys()[1]
	link := ecKey(t, elliptic.P256())
	p384 := ecKey(t, elliptic.P384())
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	leaf := certSpec{&link.PublicKey, identity, nil}
	owner := certSpec{&identity.PublicKey, identity, nil}
	with := func(s certSpec, change func(*x509.Certificate)) certSpec { s.change = change; return s }
	expired := func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Second) }
	early := func(c *x509.Certificate) { c.NotBefore = testNow.Add(time.Second) }
	pss := func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS }
	sha512 := func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA512WithRSA }
	critical := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	}
	return []chainCase{
		{"good", []certSpec{leaf, owner}, link, "", 0},
		{"good, of another identity", []certSpec{{&link.PublicKey, other, nil}, {&other.PublicKey, other, nil}}, link, "", 1},
		{"one certificate", []certSpec{leaf}, link, "1 certificates", 0},
		{"three certificates", []certSpec{leaf, owner, owner}, link, "3 certificates", 0},
		{"wrong order", []certSpec{owner, leaf}, identity, "not an RSA key", 0},
		{"leaf expired", []certSpec{with(leaf, expired), owner}, link, "link certificate has expired", 0},
		{"leaf not yet valid", []certSpec{with(leaf, early), owner}, link, "link certificate is not valid yet", 0},
		{"identity expired", []certSpec{leaf, with(owner, expired)}, link, "identity certificate has expired", 0},
		{"identity not yet valid", []certSpec{leaf, with(owner, early)}, link, "identity certificate is not valid yet", 0},
		{"leaf signed by another", []certSpec{{&link.PublicKey, other, nil}, owner}, link, "did not sign the link certificate", 0},
		{"leaf signed by itself", []certSpec{{&link.PublicKey, link, nil}, owner}, link, "link certificate is not signed with RSA", 0},
		{"identity signed by another", []certSpec{leaf, {&identity.PublicKey, other, nil}}, link, "did not sign the identity certificate", 0},
		{"leaf is an RSA key", []certSpec{{&other.PublicKey, identity, nil}, owner}, other, "not an ECDSA P-256 key", 0},
		{"leaf is the identity key", []certSpec{owner, owner}, identity, "not an ECDSA P-256 key", 0},
		{"leaf is P-384", []certSpec{{&p384.PublicKey, identity, nil}, owner}, p384, "not an ECDSA P-256 key", 0},
		{"identity is ECDSA", []certSpec{{&link.PublicKey, p384, nil}, {&p384.PublicKey, p384, nil}}, link, "not an RSA key", 0},
		{"identity is small", []certSpec{{&link.PublicKey, small, nil}, {&small.PublicKey, small, nil}}, link, "1024 bits", 0},
		{"leaf with PSS", []certSpec{with(leaf, pss), owner}, link, "not signed with RSA and SHA-256", 0},
		{"identity with SHA-512", []certSpec{leaf, with(owner, sha512)}, link, "not signed with RSA and SHA-256", 0},
		{"unknown critical extension", []certSpec{with(leaf, critical), owner}, link, "critical extension", 0},
	}
}

func (c chainCase) make(t testing.TB) [][]byte {
	t.Helper()
	var ders [][]byte
	for _, s := range c.chain {
		ders = append(ders, s.make(t))
	}
	return ders
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestCheckChain(t *testing.T) {
	for _, c := range chainCases(t) {
		t.Run(c.name, func(t *testing.T) {
			id, err := checkChain(parseChain(t, c.make(t)), testNow)
			if c.want == "" {
				if err != nil || id != crypt.NewKeyID(&testKeys()[c.id].PublicKey) {
					t.Errorf("keyid %v, error %v", id, err)
				}
				return
			}
			if !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v", err)
			}
			if id != (crypt.KeyID{}) {
				t.Error("a keyid beside an error")
			}
		})
	}
	if _, err := checkChain(nil, testNow); !errors.Is(err, ErrCertificate) {
		t.Errorf("no certificates: %v", err)
	}
}

// TestCheckChainOddKeys: keys that no certificate library makes, as they could stand in a hand-made certificate.
func TestCheckChainOddKeys(t *testing.T) {
	identity := testKeys()[0]
	chain := parseChain(t, chainCases(t)[0].make(t))
	for name, key := range map[string]*rsa.PublicKey{
		"exponent 3": {N: identity.N, E: 3},
		"too big":    {N: new(big.Int).Lsh(big.NewInt(1), 4096), E: 65537},
		"empty":      {N: new(big.Int), E: 65537},
	} {
		owner := *chain[1]
		owner.PublicKey = key
		if _, err := checkChain([]*x509.Certificate{chain[0], &owner}, testNow); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClientChecksServer shows each chain to a client over TLS.
func TestClientChecksServer(t *testing.T) {
	for _, c := range chainCases(t) {
		t.Run(c.name, func(t *testing.T) {
			cert := tls.Certificate{Certificate: c.make(t), PrivateKey: c.leaf}
			to := startFake(t, &tls.Config{Certificates: []tls.Certificate{cert}}, versionThenClose)
			client := newTestClient(t, ClientConfig{})
			id, err := client.Probe(context.Background(), to)
			switch {
			case c.want == "" && c.id == 0:
				if err != nil || id != to.KeyID {
					t.Errorf("keyid %v, error %v", id, err)
				}
			case c.want == "":
				if !errors.Is(err, ErrKeyID) {
					t.Errorf("error %v, want ErrKeyID", err)
				}
				to.KeyID = crypt.KeyID{}
				if id, err := client.Probe(context.Background(), to); err != nil || id != crypt.NewKeyID(&testKeys()[c.id].PublicKey) {
					t.Errorf("without a keyid: %v, %v", id, err)
				}
				var o outcomes
				if err := client.Send(context.Background(), to, o.items(fill(1))); !errors.Is(err, ErrKeyID) || len(o.errs) != 0 {
					t.Errorf("Send to a zero keyid: %v, %d items taken", err, len(o.errs))
				}
			default:
				if !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), address(to)) {
					t.Errorf("error %v", err)
				}
				if id != (crypt.KeyID{}) {
					t.Error("a keyid beside an error")
				}
			}
		})
	}
}

// TestImpostor: the chain of the right server without the key that belongs to it.
func TestImpostor(t *testing.T) {
	cert, err := NewLinkCertificate(testKeys()[0], "alice", testNow)
	if err != nil {
		t.Fatal(err)
	}
	cert.PrivateKey = ecKey(t, elliptic.P256())
	to := startFake(t, &tls.Config{Certificates: []tls.Certificate{cert}}, versionThenClose)
	if id, err := newTestClient(t, ClientConfig{}).Probe(context.Background(), to); err == nil || id != (crypt.KeyID{}) {
		t.Errorf("keyid %v, error %v", id, err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	cert, err := testCertificate(t)()
	if err != nil {
		t.Fatal(err)
	}
	to := startFake(t, &tls.Config{Certificates: []tls.Certificate{*cert}, MaxVersion: tls.VersionTLS12}, versionThenClose)
	if _, err := newTestClient(t, ClientConfig{}).Probe(context.Background(), to); err == nil {
		t.Error("a client accepted TLS 1.2")
	}

	to = startServer(t, ServerConfig{Handler: newRecorder()})
	conn, err := tls.Dial("tcp", address(to), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err == nil {
		_ = conn.Close()
		t.Error("a server accepted TLS 1.2")
	}
}

// TestHandshake looks at what the two sides agree on and at what the client says in the clear.
func TestHandshake(t *testing.T) {
	var hello *tls.ClientHelloInfo
	cert, err := testCertificate(t)()
	if err != nil {
		t.Fatal(err)
	}
	to := startFake(t, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		hello = h
		return cert, nil
	}}, versionThenClose)
	if _, err := newTestClient(t, ClientConfig{}).Probe(context.Background(), to); err != nil {
		t.Fatal(err)
	}
	if hello.ServerName != "" || len(hello.SupportedProtos) != 0 {
		t.Errorf("the client named %q and %q", hello.ServerName, hello.SupportedProtos)
	}
	if len(hello.SupportedVersions) != 1 || hello.SupportedVersions[0] != tls.VersionTLS13 {
		t.Errorf("versions %x", hello.SupportedVersions)
	}
	if hello.SupportedCurves[0] != tls.X25519MLKEM768 {
		t.Errorf("key exchanges %v", hello.SupportedCurves)
	}

	to = startServer(t, ServerConfig{Handler: newRecorder()})
	cache := tls.NewLRUClientSessionCache(4)
	for range 2 {
		conn, err := tls.Dial("tcp", address(to), &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache, ServerName: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if err := agreeVersion(conn); err != nil {
			t.Fatal(err)
		}
		if s := conn.ConnectionState(); s.DidResume || s.CurveID != tls.X25519MLKEM768 || len(s.PeerCertificates) != 2 {
			t.Errorf("resumed %v, key exchange %v, %d certificates", s.DidResume, s.CurveID, len(s.PeerCertificates))
		}
		_ = conn.Close()
	}
}

// startFake runs a TLS server with any configuration and protocol until the test ends.
func startFake(t testing.TB, cfg *tls.Config, serve func(net.Conn)) (to packet.Hop) {
	t.Helper()
	l := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(raw, cfg)
			if conn.Handshake() == nil {
				serve(conn)
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return hopTo(t, l.Addr())
}

func versionThenClose(conn net.Conn) {
	if _, err := readLine(conn); err == nil {
		_, _ = conn.Write([]byte(versionLine))
	}
}

// FuzzCheckChain has its seeds in testdata: the chains of chainCases, made once with keys that are thrown away.
func FuzzCheckChain(f *testing.F) {
	f.Fuzz(func(t *testing.T, leafDER, ownerDER []byte) {
		leaf, err := x509.ParseCertificate(leafDER)
		if err != nil {
			return
		}
		owner, err := x509.ParseCertificate(ownerDER)
		if err != nil {
			return
		}
		id, err := checkChain([]*x509.Certificate{leaf, owner}, testNow)
		if err != nil {
			if !errors.Is(err, ErrCertificate) || id != (crypt.KeyID{}) {
				t.Errorf("keyid %v, error %v", id, err)
			}
			return
		}
		if testNow.Before(leaf.NotBefore) || testNow.After(owner.NotAfter) || leaf.PublicKeyAlgorithm != x509.ECDSA {
			t.Error("a bad chain was accepted")
		}
		if id != crypt.NewKeyID(owner.PublicKey.(*rsa.PublicKey)) {
			t.Error("wrong keyid")
		}
	})
}
