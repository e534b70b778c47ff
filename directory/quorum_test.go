package directory

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
)

// pemKeys are keys of nobody in the vectors.
func pemKeys(t testing.TB) []*rsa.PrivateKey {
	t.Helper()
	var keys []*rsa.PrivateKey
	rest := readFile(t, "keys.pem")
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		t.Fatal("no keys in keys.pem")
	}
	return keys
}

func TestCheckQuorum(t *testing.T) {
	d := parsedDirectory(t, readFile(t, "directory-3-signed"))
	first := parsedDirectory(t, readFile(t, "consensus-0"))
	keys, trusted := authorities(t)
	all := detached(t, d.body, keys...)
	strangers := []Authority{{Fingerprint: strings.Repeat("A", 40)}, {Fingerprint: strings.Repeat("B", 40)}, {Fingerprint: strings.Repeat("C", 40)}}
	of := func(parts ...[]Authority) []Authority { return slices.Concat(parts...) }
	for name, c := range map[string]struct {
		d       *Directory
		sigs    []Detached
		trusted []Authority
		signed  int
		want    bool
	}{
		"all":                        {d, all, trusted, 3, true},
		"nobody trusted":             {d, all, nil, 0, false},
		"no detached signatures":     {d, nil, trusted, 0, false},
		"one of three detached":      {d, all[:1], trusted, 1, false},
		"two of three detached":      {d, all[1:], trusted, 2, true},
		"one signature inside":       {first, all, trusted, 1, false},
		"the only trusted one":       {first, all, trusted[:1], 1, true},
		"another than the trusted":   {first, all, trusted[1:2], 0, false},
		"inside one, beside another": {first, all[1:], trusted[:2], 0, false},
		"exactly half":               {d, all, of(trusted, strangers), 3, false},
		"more than half":             {d, all, of(trusted, strangers[:2]), 3, true},
		"trusted twice":              {d, all[:1], of(trusted[:1], trusted[:1], strangers[:1]), 1, false},
		"signed twice":               {d, of2(all[:1], all[:1]), trusted, 1, false},
		"detached of other bodies":   {d, detached(t, []byte("other\n"), keys...), trusted, 0, false},
		"good ones among bad ones":   {d, of2(detached(t, []byte("other\n"), keys...), all, manyDetached(t)), trusted, 3, true},
	} {
		q, err := CheckQuorum(c.d, c.sigs, c.trusted)
		if q.Signed != c.signed || q.Reached() != c.want || (err == nil) != c.want || err != nil && !errors.Is(err, ErrQuorum) {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	vote := parsedDirectory(t, readFile(t, "vote-0"))
	if _, err := CheckQuorum(vote, detached(t, vote.body, keys[0]), trusted[:1]); !errors.Is(err, ErrVote) {
		t.Error("vote:", err)
	}
}

func of2(parts ...[]Detached) []Detached { return slices.Concat(parts...) }

func BenchmarkCheckQuorum(b *testing.B) {
	d := parsedDirectory(b, readFile(b, "directory-3-signed"))
	keys, trusted := authorities(b)
	sigs := detached(b, d.body, keys...)
	for b.Loop() {
		if _, err := CheckQuorum(d, sigs, trusted); err != nil {
			b.Fatal(err)
		}
	}
}
