package keyring_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mixminion/internal/armor"
	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/message/keyring"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(read(t, name), into); err != nil {
		t.Fatal(err)
	}
}

type vector struct {
	Password string
	Keys     []struct {
		Expires          int64
		Identity, Secret string
	}
}

func TestVector(t *testing.T) {
	var v vector
	readJSON(t, "keyring.json", &v)
	text := read(t, "keyring")
	var want []keyring.Key
	for _, k := range v.Keys {
		secret, err := hex.DecodeString(k.Secret)
		if err != nil {
			t.Fatal(err)
		}
		// The first implementation was told to make keys that expire at this time, and rounded it up to the next midnight,
		// also when it was one.
		expires := time.Unix(k.Expires, 0).UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
		want = append(want, keyring.Key{Identity: k.Identity, Expires: expires, Secret: secret})
	}
	ring, err := keyring.Parse(text, []byte(v.Password))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, ring.Keys(), cmp.Transformer("sort", sorted)); d != "" {
		t.Error(d)
	}
	if _, err := keyring.Parse(text, []byte(v.Password+"x")); !errors.Is(err, keyring.ErrPassword) {
		t.Errorf("wrong password: %v", err)
	}
	again, err := ring.Marshal(rand.Reader, []byte("another"))
	if err != nil {
		t.Fatal(err)
	}
	if len(again) != len(text) {
		t.Errorf("written with %d bytes, read from %d", len(again), len(text))
	}
	back, err := keyring.Parse(again, []byte("another"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ring.Keys(), back.Keys()); d != "" {
		t.Error(d)
	}
}

func sorted(keys []keyring.Key) map[string]keyring.Key {
	m := map[string]keyring.Key{}
	for _, k := range keys {
		m[hex.EncodeToString(k.Secret)] = k
	}
	return m
}

// The keyring that a user of the first implementation has at home.
func TestHomeOfFirstImplementation(t *testing.T) {
	var want struct {
		Identities []string
		Password   string `json:"keyring_password"`
	}
	readJSON(t, "expect.json", &want)
	zr, err := gzip.NewReader(bytes.NewReader(read(t, "home.tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if err != nil {
			t.Fatal("no keyring in home.tar.gz:", err)
		}
		if filepath.Base(h.Name) != "keyring.txt" {
			continue
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := keyring.Parse(text, []byte(want.Password))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(want.Identities)
		if d := cmp.Diff(want.Identities, ring.Names()); d != "" {
			t.Error(d)
		}
		return
	}
}

func generate(t *testing.T, ring *keyring.Keyring, name string, now time.Time) keyring.Key {
	t.Helper()
	k, err := ring.Generate(rand.Reader, name, now, now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeysForReplyBlocks(t *testing.T) {
	var ring keyring.Keyring
	if _, ok := ring.ForReplyBlock("", noon, noon); ok {
		t.Error("key in empty keyring")
	}
	old := generate(t, &ring, "Twain", noon.Add(-20*24*time.Hour))
	newest := generate(t, &ring, "tWAIN", noon)
	generate(t, &ring, "", noon.Add(time.Hour))
	if want := time.Date(2027, 2, 21, 0, 0, 0, 0, time.UTC); !newest.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", newest.Expires, want)
	}
	if k, ok := ring.ForReplyBlock("twain", noon, noon.Add(7*24*time.Hour)); !ok || !bytes.Equal(k.Secret, newest.Secret) || k.Identity != "twain" {
		t.Error("not the newest key")
	}
	if _, ok := ring.ForReplyBlock("twain", noon, newest.Expires); !ok {
		t.Error("key not used until its end")
	}
	if _, ok := ring.ForReplyBlock("twain", noon, newest.Expires.Add(time.Second)); ok {
		t.Error("key used beyond its end")
	}
	late := newest.Expires.Add(-keyring.MinRemaining)
	if _, ok := ring.ForReplyBlock("twain", late, late); !ok {
		t.Error("key given up too early")
	}
	if _, ok := ring.ForReplyBlock("twain", late.Add(time.Second), late.Add(time.Second)); ok {
		t.Error("key used too late")
	}

	names := func(at time.Time) (list []string) {
		for _, id := range ring.Identities(at) {
			list = append(list, id.Name)
		}
		return list
	}
	if d := cmp.Diff([]string{"twain", "", "twain"}, names(noon)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"twain", ""}, names(old.Expires)); d != "" {
		t.Error("expired key offered for decoding", d)
	}
	if n := ring.DropExpired(old.Expires.Add(-time.Second)); n != 0 {
		t.Errorf("%d keys dropped too early", n)
	}
	if n := ring.DropExpired(old.Expires); n != 1 || len(ring.Keys()) != 2 {
		t.Errorf("%d keys dropped", n)
	}
	if d := cmp.Diff([]string{"", "twain"}, ring.Names()); d != "" {
		t.Error(d)
	}
}

func TestExpiryCoversReplyBlock(t *testing.T) {
	var ring keyring.Keyring
	until := noon.Add(200 * 24 * time.Hour)
	k, err := ring.Generate(rand.Reader, "", noon, until)
	if err != nil || k.Expires.Before(until) || !k.Expires.Equal(k.Expires.Truncate(24*time.Hour)) {
		t.Error(k.Expires, err)
	}
	if _, ok := ring.ForReplyBlock("", noon, until); !ok {
		t.Error("key does not do for what it was made for")
	}
	midnight := noon.Truncate(24 * time.Hour)
	if k := generate(t, &ring, "", midnight); !k.Expires.Equal(midnight.Add(keyring.Lifetime)) {
		t.Errorf("made at midnight, expires %v", k.Expires)
	}
}

func TestIdentityNames(t *testing.T) {
	for _, name := range []string{"", "twain", "Mark Twain", "a@b"} {
		if err := keyring.CheckIdentity(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	long := string(bytes.Repeat([]byte("x"), 65))
	for _, name := range []string{" ", "a ", "a\x00b", "a\nb", "m\xc3\xa4rz", long} {
		if err := keyring.CheckIdentity(name); !errors.Is(err, keyring.ErrIdentity) {
			t.Errorf("%q: %v", name, err)
		}
		var ring keyring.Keyring
		if _, err := ring.Generate(rand.Reader, name, noon, noon); !errors.Is(err, keyring.ErrIdentity) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// seal makes a file with any data, independently of Marshal.
func seal(data []byte, length int, password string) []byte {
	salt := []byte("saltsalt")
	content := binary.BigEndian.AppendUint32(nil, uint32(length))
	content = append(content, data...)
	sum := crypt.Hash(content, salt, []byte("KEYRING2"))
	content = append(content, sum[:]...)
	d := crypt.Hash(salt, []byte(password), salt)
	crypt.XORStream(crypt.Key(d[:crypt.KeyLen]), 0, content, content)
	return enclose(slices.Concat([]byte("KEYRING2\x00"), salt, content), "0.1")
}

func enclose(body []byte, version string) []byte {
	return armor.Encode(armor.Block{Type: armor.TypeKeyring, Headers: []armor.Header{{Key: "Version", Value: version}}, Body: body})
}

func surbItem(expires uint32, rest string) []byte {
	out := []byte{0, 0, byte(4 + len(rest))}
	return append(binary.BigEndian.AppendUint32(out, expires), rest...)
}

// Entries of a type that another program invented survive a change of the keyring.
func TestUnknownEntriesSurvive(t *testing.T) {
	data := slices.Concat([]byte("\x07\x00\x03abc"), surbItem(4000000000, "TWAIN\x00secret"), []byte("\xff\x00\x00"))
	ring, err := keyring.Parse(seal(data, len(data), "p"), []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	if k := ring.Keys(); len(k) != 1 || k[0].Identity != "twain" || string(k[0].Secret) != "secret" {
		t.Errorf("%+v", k)
	}
	generate(t, ring, "new", noon)
	if n := ring.DropExpired(time.Unix(4000000000, 0)); n != 2 {
		t.Errorf("%d dropped", n)
	}
	text, err := ring.Marshal(zeros{}, []byte("q"))
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := armor.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	body := blocks[0].Body
	salt := body[9:17]
	d := crypt.Hash(salt, []byte("q"), salt)
	crypt.XORStream(crypt.Key(d[:crypt.KeyLen]), 0, body[17:], body[17:])
	if want := []byte("\x00\x00\x00\x09\x07\x00\x03abc\xff\x00\x00"); !bytes.HasPrefix(body[17:], want) {
		t.Errorf("%q", body[17:40])
	}
	if len(body) != 17+4+1024+20 {
		t.Errorf("%d bytes", len(body))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

func TestMalformed(t *testing.T) {
	good := seal(nil, 0, "p")
	if _, err := keyring.Parse(good, []byte("p")); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		text []byte
		want error
	}{
		"empty":            {nil, armor.ErrNoBlock},
		"other armor":      {armor.Encode(armor.Block{Type: armor.TypeMessage}), armor.ErrNoBlock},
		"two blocks":       {slices.Concat(good, good), keyring.ErrFormat},
		"cut off":          {good[:60], armor.ErrNoEnd},
		"no body":          {enclose(nil, "0.1"), keyring.ErrFormat},
		"other version":    {enclose(nil, "0.2"), keyring.ErrFormat},
		"other magic":      {enclose(bytes.Repeat([]byte("K"), 100), "0.1"), keyring.ErrFormat},
		"other format":     {enclose(append([]byte("KEYRING2\x01"), make([]byte, 100)...), "0.1"), keyring.ErrFormat},
		"too short":        {enclose(append([]byte("KEYRING2\x00"), make([]byte, 8+23)...), "0.1"), keyring.ErrFormat},
		"wrong hash":       {enclose(append([]byte("KEYRING2\x00"), make([]byte, 8+24)...), "0.1"), keyring.ErrPassword},
		"other password":   {seal(nil, 0, "q"), keyring.ErrPassword},
		"long length":      {seal([]byte("abc"), 4, "p"), keyring.ErrFormat},
		"huge length":      {seal([]byte("abc"), -1, "p"), keyring.ErrFormat},
		"entry head cut":   {seal([]byte{9, 0}, 2, "p"), keyring.ErrFormat},
		"entry cut":        {seal([]byte{9, 0, 2, 1}, 4, "p"), keyring.ErrFormat},
		"no date":          {seal([]byte{0, 0, 1, 1}, 4, "p"), keyring.ErrFormat},
		"unfinished name":  {seal(surbItem(1, "abc"), 10, "p"), keyring.ErrFormat},
		"no secret at all": {seal(surbItem(1, "abc\x00"), 11, "p"), keyring.ErrFormat},
	} {
		if _, err := keyring.Parse(tc.text, []byte("p")); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	var ring keyring.Keyring
	if _, err := ring.Marshal(broken{}, nil); err == nil {
		t.Error("written without randomness")
	}
	if _, err := ring.Generate(broken{}, "", noon, noon); err == nil {
		t.Error("generated without randomness")
	}
	if _, err := ring.Generate(rand.Reader, "", time.Unix(1<<33, 0), noon); err != nil {
		t.Error(err)
	}
	if _, err := ring.Marshal(rand.Reader, nil); err == nil {
		t.Error("date wraps around")
	}
}

func TestAnyKeyringRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ring keyring.Keyring
		for range rapid.IntRange(0, 60).Draw(t, "keys") {
			name := rapid.StringMatching(`[a-zA-Z][a-zA-Z0-9 ]{0,20}[a-z]`).Draw(t, "name")
			days := rapid.IntRange(0, 1000).Draw(t, "days")
			if _, err := ring.Generate(rand.Reader, name, noon.AddDate(0, 0, days), noon); err != nil {
				t.Fatal(err)
			}
		}
		password := rapid.SliceOf(rapid.Byte()).Draw(t, "password")
		text, err := ring.Marshal(rand.Reader, password)
		if err != nil {
			t.Fatal(err)
		}
		back, err := keyring.Parse(text, password)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(ring.Keys(), back.Keys()); d != "" {
			t.Fatal(d)
		}
		if other, err := ring.Marshal(rand.Reader, password); err != nil || bytes.Equal(other, text) {
			t.Fatal("the salt is not fresh", err)
		}
	})
}

// The reply of a vector is opened in package message; here its secrets come out in the form that package wants.
func TestIdentitiesAreMessageIdentities(t *testing.T) {
	var v vector
	readJSON(t, "keyring.json", &v)
	ring, err := keyring.Parse(read(t, "keyring"), []byte(v.Password))
	if err != nil {
		t.Fatal(err)
	}
	keys := message.Keys{Identities: ring.Identities(noon)}
	for _, id := range keys.Identities {
		if !slices.ContainsFunc(v.Keys, func(k struct {
			Expires          int64
			Identity, Secret string
		}) bool {
			return k.Identity == id.Name && k.Secret == hex.EncodeToString(id.Secret)
		}) {
			t.Errorf("identity %q is not in the file", id.Name)
		}
	}
}

// FuzzItems fuzzes what lies under the password.
func FuzzItems(f *testing.F) {
	f.Add([]byte{}, 0)
	f.Add([]byte{9, 0, 2, 1}, 4)
	f.Add(surbItem(4000000000, "twain\x00secret"), 20)
	f.Fuzz(func(t *testing.T, data []byte, length int) {
		ring, err := keyring.Parse(seal(data, length, "p"), []byte("p"))
		if err != nil {
			if !errors.Is(err, keyring.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		text, err := ring.Marshal(rand.Reader, []byte("p"))
		if err != nil {
			t.Fatal(err)
		}
		back, err := keyring.Parse(text, []byte("p"))
		if err != nil || cmp.Diff(ring.Keys(), back.Keys()) != "" {
			t.Fatal("does not come back", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(read(f, "keyring"))
	f.Add(seal(nil, 0, ""))
	f.Fuzz(func(t *testing.T, text []byte) {
		if ring, err := keyring.Parse(text, nil); err == nil {
			ring.Names()
		}
	})
}

func TestWipe(t *testing.T) {
	var r keyring.Keyring
	k, err := r.Generate(rand.Reader, "work", time.Unix(0, 0), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	r.Wipe()
	if !bytes.Equal(k.Secret, make([]byte, keyring.SecretLen)) {
		t.Error("a secret is left")
	}
}
