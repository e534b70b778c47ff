package directory

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"testing"

	"mixminion/internal/crypt"
)

func mustKeys(t testing.TB) []*rsa.PrivateKey {
	t.Helper()
	k, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// strangerKey belongs to no authority.
func strangerKey(t testing.TB) *rsa.PrivateKey { return pemKeys(t)[0] }

func parsedStranger(t testing.TB, body []byte) Signer {
	t.Helper()
	s, err := NewSigner(body, strangerKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func detached(t testing.TB, body []byte, keys ...*rsa.PrivateKey) []Detached {
	t.Helper()
	var out []Detached
	for _, k := range keys {
		s, err := SignDetached(body, k)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func formatDetached(t testing.TB, sigs []Detached) []byte {
	t.Helper()
	text, err := FormatDetached(sigs)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestDetachedRoundTrip(t *testing.T) {
	d := parsedDirectory(t, readFile(t, "directory-3-signed"))
	sigs := detached(t, d.body, mustKeys(t)...)
	text := formatDetached(t, sigs)
	slices.Reverse(sigs)
	if !bytes.Equal(text, formatDetached(t, append(sigs, sigs[0]))) {
		t.Error("the order of signatures shows")
	}
	got, err := ParseDetached(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(sigs) || !bytes.Equal(formatDetached(t, got), text) {
		t.Errorf("%d signatures, written again differently", len(got))
	}
	for _, s := range got {
		if err := s.Verify(d.hash); err != nil {
			t.Error(err)
		}
		if err := s.Verify([32]byte{}); !errors.Is(err, ErrDigest) {
			t.Error(err)
		}
		s.Signature = bytes.Clone(s.Signature)
		s.Signature[9] ^= 1
		if err := s.Verify(d.hash); !errors.Is(err, crypt.ErrSignature) {
			t.Error(err)
		}
	}
}

// The label keeps a plain signature of the body's hash from counting.
func TestDetachedIsLabelled(t *testing.T) {
	d := parsedDirectory(t, readFile(t, "directory-3-signed"))
	key := mustKeys(t)[0]
	plain, err := crypt.SignPSS(key, d.hash)
	if err != nil {
		t.Fatal(err)
	}
	s := Detached{&key.PublicKey, d.hash, plain}
	if err := s.Verify(d.hash); !errors.Is(err, crypt.ErrSignature) {
		t.Error(err)
	}
}

func TestParseDetachedSkips(t *testing.T) {
	d := parsedDirectory(t, readFile(t, "directory-3-signed"))
	text := string(formatDetached(t, detached(t, d.body, mustKeys(t)[0])))
	weak, err := crypt.GenerateKey(1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit
		want int
	}{
		"as it is":        {edit{`\A`, ""}, 1},
		"unknown section": {edit{`\A`, "[Weather]\nVersion: 9\n"}, 1},
		"unknown key":     {edit{`\z`, "Weather: fine\n"}, 1},
		"other version":   {edit{`^Version: 0.1`, "Version: 0.2"}, 0},
		"no version":      {edit{`^Version: 0.1\n`, ""}, 0},
		"no identity":     {edit{`^Directory-Identity.*\n`, ""}, 0},
		"weak identity":   {edit{`^Directory-Identity.*`, "Directory-Identity: " + encodeBase64(crypt.EncodePublicKey(&weak.PublicKey))}, 0},
		"no hash":         {edit{`^Directory-SHA256.*\n`, ""}, 0},
		"short hash":      {edit{`^Directory-SHA256.*`, "Directory-SHA256: AAAA"}, 0},
		"no signature":    {edit{`^Directory-Signature.*\n`, ""}, 0},
		"second key":      {edit{`^Directory-Signature`, "Directory-Signature: AAAA\nDirectory-Signature"}, 0},
		"broken and good": {edit{`\A`, "[Detached-Signature]\nVersion: 0.1\n"}, 1},
	} {
		sigs, err := ParseDetached(editDirectory(t, text, c.find, c.replace))
		if err != nil || len(sigs) != c.want {
			t.Errorf("%s: %d signatures, %v", name, len(sigs), err)
		}
	}
	for name, bad := range map[string]string{
		"nothing":       "",
		"empty line":    text + "\n",
		"not ASCII":     text + "A: \xff\n",
		"many sections": strings.Repeat("[Detached-Signature]\n", MaxSigners+1),
		"long":          text + "A: " + strings.Repeat("a", MaxDetachedLen),
	} {
		var syntax *SyntaxError
		if _, err := ParseDetached([]byte(bad)); !errors.As(err, &syntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string][]Detached{"none": nil, "no key": {{}}, "too many": manyDetached(t)} {
		if _, err := FormatDetached(bad); !errors.Is(err, ErrDirectory) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func manyDetached(t testing.TB) []Detached {
	sigs := make([]Detached, MaxSigners+1)
	for i := range sigs {
		sigs[i] = Detached{Identity: &mustKeys(t)[0].PublicKey, Signature: []byte{byte(i)}}
	}
	return sigs
}

func TestDetachedByWeakKey(t *testing.T) {
	d := parsedDirectory(t, readFile(t, "directory-3-signed"))
	weak, err := crypt.GenerateKey(1024)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := crypt.SignPSS(weak, detachedDigest(d.hash))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []*rsa.PublicKey{&weak.PublicKey, nil} {
		s := Detached{key, d.hash, signature}
		if err := s.Verify(d.hash); !errors.Is(err, crypt.ErrKey) {
			t.Error(err)
		}
	}
	trusted := []Authority{{Fingerprint: crypt.NewKeyID(&weak.PublicKey).Fingerprint()}}
	if q, err := CheckQuorum(d, []Detached{{&weak.PublicKey, d.hash, signature}}, trusted); q.Standings[0].Detached || !errors.Is(err, ErrQuorum) {
		t.Errorf("%+v, %v", q, err)
	}
}

func TestMergeDetached(t *testing.T) {
	d := parsedDirectory(t, readFile(t, "directory-3-signed"))
	keys := mustKeys(t)
	a, b := detached(t, d.body, keys...), detached(t, d.body, keys...)
	junk := append(detached(t, []byte("other\n"), keys...), detached(t, d.body, strangerKey(t))...)
	junk = append(junk, Detached{}, Detached{a[0].Identity, d.hash, a[1].Signature})
	one, two := d.MergeDetached(a, junk, b), d.MergeDetached(b, a, a, junk)
	if len(one) != len(keys) || !bytes.Equal(formatDetached(t, one), formatDetached(t, two)) {
		t.Errorf("%d and %d signatures, or in different order", len(one), len(two))
	}
	for _, s := range one {
		if err := s.Verify(d.hash); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParseDetached(f *testing.F) {
	d := parsedDirectory(f, readFile(f, "directory-3-signed"))
	f.Add(formatDetached(f, detached(f, d.body, mustKeys(f)...)))
	f.Add(formatDetached(f, detached(f, d.body, strangerKey(f))))
	f.Add([]byte("[Detached-Signature]\nVersion: 0.1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		sigs, err := ParseDetached(text)
		if err != nil || len(sigs) == 0 {
			return
		}
		if len(sigs) > MaxSigners {
			t.Fatal("too many")
		}
		d.MergeDetached(sigs)
		again, err := FormatDetached(sigs)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseDetached(again)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := FormatDetached(back); err != nil || !bytes.Equal(twice, again) {
			t.Fatalf("not canonical: %v", err)
		}
	})
}
