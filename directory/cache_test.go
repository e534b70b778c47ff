package directory

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
)

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

func TestCacheIsSafe(t *testing.T) {
	text := readFile(t, "directory-3-signed")
	var cache Cache
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				if _, err := cache.ParseDirectory(text); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
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
