package directory

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
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

func TestFreshness(t *testing.T) {
	d := &Directory{Info: Info{ValidAfter: day(1), ValidUntil: day(2)}}
	for _, c := range []struct {
		now  time.Time
		want Freshness
		err  error
	}{
		{day(0), Early, ErrEarly},
		{day(1).Add(-maxEarly - 1), Early, ErrEarly},
		{day(1).Add(-maxEarly), Fresh, nil},
		{day(1), Fresh, nil},
		{day(2).Add(-1), Fresh, nil},
		{day(2), Stale, nil},
		{day(4).Add(-1), Stale, nil},
		{day(4), Expired, ErrStale},
		{day(400), Expired, ErrStale},
	} {
		if got, err := d.Freshness(c.now), d.CheckFresh(c.now); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v: %v, %v", c.now, got, err)
		}
	}
	older, newer := &Directory{Info: Info{ValidAfter: day(0)}}, &Directory{Info: Info{ValidAfter: day(2)}}
	if !d.NewerThan(nil) || !d.NewerThan(older) || d.NewerThan(d) || d.NewerThan(newer) {
		t.Error("NewerThan")
	}
}

func TestCompareVersions(t *testing.T) {
	sorted := []string{"0.0.7.1", "0.0.8alpha2", "0.0.8alpha3", "0.0.8alpha10", "0.0.8beta1", "0.0.8rc1", "0.0.8", "0.0.8.1", "0.0.9alpha1",
		"0.0.10", "0.1-rc.1", "0.01", "0.1", "0.1.0", "1.0", "1.0-1", "2", "10"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := CompareVersions(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.StringMatching(`[0-9a-b.]{0,6}`)
		a, b, c := version.Draw(t, "a"), version.Draw(t, "b"), version.Draw(t, "c")
		if CompareVersions(a, b) != -CompareVersions(b, a) || (CompareVersions(a, b) == 0) != (a == b) {
			t.Fatal("not antisymmetric")
		}
		if CompareVersions(a, b) < 0 && CompareVersions(b, c) < 0 && CompareVersions(a, c) >= 0 {
			t.Fatal("not transitive")
		}
	})
}

func TestCache(t *testing.T) {
	text := readFile(t, "directory-3-signed")
	cache := new(Cache)
	one, err := cache.ParseDirectory(text)
	if err != nil {
		t.Fatal(err)
	}
	two, err := cache.ParseDirectory(readFile(t, "consensus-1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range one.Servers {
		if one.Servers[i] != two.Servers[i] {
			t.Error("parsed again:", one.Servers[i].Nickname)
		}
	}
	// A bad descriptor is never taken for one that was there before.
	bad := bytes.Replace(text, []byte("Port: 48099"), []byte("Port: 48098"), 1)
	if _, err := cache.ParseDirectory(bad); !errors.Is(err, ErrDigest) {
		t.Error(err)
	}
	if _, err := cache.ParseDescriptor([]byte("[Server]\n")); err == nil {
		t.Error("accepted")
	}
	// What was not used for two generations is forgotten, what was used is not.
	alpha, bravo := one.Servers[0], one.Servers[1]
	for _, name := range []string{"fresh-1", "fresh-2"} {
		cache.bytes = cacheGeneration
		if _, err := cache.ParseDescriptor(resign(t, strings.Replace(sampleText(t), "sample-1", name, 1))); err != nil {
			t.Fatal(err)
		}
		if d, err := cache.ParseDescriptor(alpha.Text()); err != nil || d != alpha {
			t.Error("alpha was forgotten:", err)
		}
	}
	if d, err := cache.ParseDescriptor(bravo.Text()); err != nil || d == bravo {
		t.Error("bravo was not forgotten:", err)
	}
	if len(cache.old) != 2 || len(cache.new) != 3 {
		t.Error("forgets nothing")
	}
}

func BenchmarkParseDirectory100(b *testing.B) {
	text := bigDirectory(b, 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := ParseDirectory(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseDirectory100Cached(b *testing.B) {
	text := bigDirectory(b, 100)
	b.SetBytes(int64(len(text)))
	cache := new(Cache)
	for b.Loop() {
		if _, err := cache.ParseDirectory(text); err != nil {
			b.Fatal(err)
		}
	}
}

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

// bigDirectory has n descriptors of a few servers: it is the number that takes the time.
func bigDirectory(b *testing.B, n int) []byte {
	info, _ := sampleDirectory(b)
	keys := pemKeys(b)
	var servers []*Descriptor
	for i := range n {
		k := i % len(keys)
		f := sampleFields(&mustKeys(b)[0].PublicKey)
		f.Nickname = "server" + string(rune('a'+k))
		f.ValidAfter = day(i)
		f.ValidUntil = day(i + 30)
		text, err := SignDescriptor(keys[k], f)
		if err != nil {
			b.Fatal(err)
		}
		d, err := ParseDescriptor(text)
		if err != nil {
			b.Fatal(err)
		}
		servers = append(servers, d)
	}
	body, err := FormatDirectory(info, servers)
	if err != nil {
		b.Fatal(err)
	}
	text, err := SignDirectory(body, mustKeys(b)...)
	if err != nil {
		b.Fatal(err)
	}
	return text
}
