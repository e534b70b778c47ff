package backup

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"mixminion/internal/config"

	"filippo.io/age"
)

func testKey(t testing.TB) *age.X25519Identity {
	t.Helper()
	k, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const testID = "00112233445566778899aabbccddeeff"

// readAll reads a whole archive.
func readAll(data []byte, with age.Identity) (m Manifest, entries map[string]string, err error) {
	a, err := NewReader(bytes.NewReader(data), with)
	if err != nil {
		return m, nil, err
	}
	entries = map[string]string{configName: string(a.Config)}
	for {
		name, r, err := a.Next()
		if errors.Is(err, io.EOF) {
			return a.Manifest, entries, nil
		}
		if err != nil {
			return m, nil, err
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return m, nil, errors.Join(ErrIncomplete, err)
		}
		entries[name] = string(text)
	}
}

func TestArchive(t *testing.T) {
	key := testKey(t)
	var out bytes.Buffer
	items := []Item{{Name: configName, Data: []byte("[Server]")}, {Name: "mix/identity.key", Data: []byte("secret")}, {Name: "files/0/a.txt", Data: []byte("text")}}
	if err := Write(&out, Manifest{Kind: Identity, ID: testID, Nickname: "north"}, items, key.Recipient()); err != nil {
		t.Fatal(err)
	}
	whole := out.Bytes()
	if bytes.Contains(whole, []byte("identity.key")) || bytes.Contains(whole, []byte("north")) {
		t.Error("it is not encrypted")
	}
	m, entries, err := readAll(whole, key)
	if err != nil || m.Nickname != "north" || len(entries) != 3 || entries["mix/identity.key"] != "secret" {
		t.Fatalf("%+v, %v, %v", m, entries, err)
	}
	if _, _, err := readAll(whole, testKey(t)); !errors.Is(err, ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
	for n := range whole {
		if n > 20 && n%61 != 0 && n < len(whole)-20 {
			continue
		}
		if _, _, err := readAll(whole[:n], key); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrIncomplete) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(whole), err)
		}
		bad := bytes.Clone(whole)
		bad[n] ^= 1
		if _, _, err := readAll(bad, key); err == nil {
			t.Fatalf("byte %d changed: no error", n)
		}
	}
	if _, _, err := readAll([]byte("age-encryption.org/v2\n"), key); !errors.Is(err, ErrFormat) {
		t.Errorf("another format: %v", err)
	}
}

// hostile makes an archive of entries as a stranger would.
func hostile(t testing.TB, key *age.X25519Identity, entries ...hostileEntry) []byte {
	t.Helper()
	var out bytes.Buffer
	sealed, err := age.Encrypt(&out, key.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealed.Write(tarOf(t, entries...)); err != nil {
		t.Fatal(err)
	}
	if err := sealed.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type hostileEntry struct {
	tar.Header
	text string
}

func tarOf(t testing.TB, entries ...hostileEntry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h, text := e.Header, e.text
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Size == 0 {
			h.Size = int64(len(text))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if h.Size > int64(len(text)) {
			break // the rest would not be accepted
		}
	}
	_ = w.Close() // fails after a size that is a lie
	return out.Bytes()
}

func entry(name, text string) hostileEntry {
	return hostileEntry{tar.Header{Name: name}, text}
}

func TestHostileArchive(t *testing.T) {
	key := testKey(t)
	manifest := entry(manifestName, `{"Version":1,"Kind":"identity","ID":"`+testID+`"}`)
	begin := []hostileEntry{manifest, entry(configName, "x")}
	end := entry(endName, "")
	for name, headers := range map[string][]hostileEntry{
		"up":               append(begin[:2:2], entry("../x", "x"), end),
		"up below":         append(begin[:2:2], entry("files/0/../../x", "x"), end),
		"absolute":         append(begin[:2:2], entry("/etc/passwd", "x"), end),
		"hidden":           append(begin[:2:2], entry("optout/.x", "x"), end),
		"strange":          append(begin[:2:2], entry("queue\\x", "x"), end),
		"link":             append(begin[:2:2], hostileEntry{Header: tar.Header{Name: "optout/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}}, end),
		"hard link":        append(begin[:2:2], hostileEntry{Header: tar.Header{Name: "optout/x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}}, end),
		"device":           append(begin[:2:2], hostileEntry{Header: tar.Header{Name: "optout/x", Typeflag: tar.TypeChar}}, end),
		"directory":        append(begin[:2:2], hostileEntry{Header: tar.Header{Name: "optout/", Typeflag: tar.TypeDir}}, end),
		"twice":            append(begin[:2:2], entry("optout/x", "x"), entry("optout/x", "y"), end),
		"giant":            append(begin[:2:2], hostileEntry{Header: tar.Header{Name: "optout/x", Size: maxSmall + 1}}),
		"packet key":       append(begin[:2:2], entry("keys/key_0001/mix.key", "x"), end),
		"packets":          append(begin[:2:2], entry("queue/0000000001.seg", "x"), end),
		"no manifest":      {entry(configName, "x"), end},
		"no configuration": {manifest, end},
		"no end":           begin,
		"other version":    {entry(manifestName, `{"Version":2,"Kind":"identity","ID":"`+testID+`"}`), begin[1], end},
		"other kind":       {entry(manifestName, `{"Version":1,"Kind":"all","ID":"`+testID+`"}`), begin[1], end},
		"no JSON":          {entry(manifestName, `{`), begin[1], end},
		"long manifest":    {entry(manifestName, strings.Repeat(" ", maxManifest+1)), begin[1], end},
	} {
		if _, _, err := readAll(hostile(t, key, headers...), key); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := begin[:2:2]
	for i := range 5 {
		many = append(many, entry("optout/x"+string(rune('a'+i)), strings.Repeat("x", maxSmall)))
	}
	if _, _, err := readAll(hostile(t, key, append(many, end)...), key); !errors.Is(err, ErrFormat) {
		t.Errorf("many large files: %v", err)
	}
	if _, _, err := readAll(hostile(t, key, append(begin[:2:2], end)...), key); err != nil {
		t.Errorf("nothing hostile: %v", err)
	}
}

// What could not be read again is not written.
func TestWriteLimits(t *testing.T) {
	large := bytes.Repeat([]byte("x"), maxSmall)
	items := []Item{{Name: configName, Data: []byte("x")}}
	for i := range maxAllSmall / maxSmall {
		items = append(items, Item{Name: "files/" + strconv.Itoa(i), Data: large})
	}
	err := write(io.Discard, Manifest{Kind: Identity, ID: testID}, items)
	if err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("more than can be read: %v", err)
	}
	if err := write(io.Discard, Manifest{Kind: Identity, ID: testID}, items[:len(items)-1]); err != nil {
		t.Error(err)
	}
}

// A few bytes that stand for many gigabytes are no entry: this one is as GNU tar writes it.
func TestSparseArchive(t *testing.T) {
	hole := tarOf(t, hostileEntry{tar.Header{Name: "queue/1.seg", Typeflag: tar.TypeReg, Format: tar.FormatGNU}, "x"})
	records := pax("GNU.sparse.major", "1") + pax("GNU.sparse.minor", "0") + pax("GNU.sparse.name", "queue/1.seg") + pax("GNU.sparse.realsize", strconv.Itoa(maxLarge))
	head := tarOf(t, hostileEntry{tar.Header{Name: "head", Typeflag: tar.TypeReg, Format: tar.FormatGNU}, records})
	head[156] = 'x' // a header of records for the next entry
	sum(head)
	spars := tarOf(t, hostileEntry{tar.Header{Name: "queue/1.seg", Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}, "0\n" + strings.Repeat("\x00", 510)})
	const trailer = 1024
	begin := tarOf(t, entry(manifestName, `{"Version":1,"Kind":"move","ID":"`+testID+`"}`), entry(configName, "x"))
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"with holes": {slices.Concat(begin[:len(begin)-trailer], head[:len(head)-trailer], spars), ErrFormat},
		"without":    {slices.Concat(begin[:len(begin)-trailer], hole), nil},
	} {
		a, err := newReader(bytes.NewReader(c.data))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.Next(); !errors.Is(err, c.want) || c.want != nil && !strings.Contains(err.Error(), "has holes") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// pax is a record of an extended header: its own length, key and value.
func pax(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	n := len(rest) + 1
	for len(strconv.Itoa(n))+len(rest) != n {
		n++
	}
	return strconv.Itoa(n) + rest
}

// sum writes the sum of a header anew.
func sum(block []byte) {
	copy(block[148:156], "        ")
	n := 0
	for _, b := range block[:512] {
		n += int(b)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", n))
}

// fullDisk takes no more than so many bytes.
type fullDisk int

func (d *fullDisk) Write(b []byte) (int, error) {
	if *d -= fullDisk(len(b)); *d < 0 {
		return 0, syscall.ENOSPC
	}
	return len(b), nil
}

// That the disk is full is not said to be the fault of a file.
func TestWriteFullDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, room := range []fullDisk{0, 1000, 100_000} {
		err := Write(&room, Manifest{Kind: Move, ID: testID}, []Item{{Name: configName}, {Name: "queue/1.seg", File: file}}, testKey(t).Recipient())
		if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "changed") {
			t.Errorf("%v", err)
		}
	}
}

func FuzzReader(f *testing.F) {
	end := entry(endName, "")
	for _, kind := range []string{"identity", "move"} {
		begin := []hostileEntry{entry(manifestName, `{"Version":1,"Kind":"`+kind+`","ID":"`+testID+`","Files":[{"Path":"a"},{"Path":"/b"}]}`), entry(configName, "x")}
		f.Add(tarOf(f, append(begin, entry("mix/identity.key", "x"), entry("files/0", "y"), entry("files/1/c", "z"), end)...))
		f.Add(tarOf(f, append(begin, entry("keys/key_0001/replay/manifest", "x"), entry("queue/1.seg", "y"), entry("stats", ""), end)...))
		f.Add(tarOf(f, append(begin, entry("../x", "x"), end)...))
	}
	paths := config.DefaultServer().Paths("/home")
	f.Fuzz(func(t *testing.T, plain []byte) {
		a, err := newReader(bytes.NewReader(plain))
		if err != nil {
			return
		}
		for {
			name, r, err := a.Next()
			if err != nil {
				return
			}
			file, _, err := place(name, &paths, a.Manifest.Files)
			if err == nil && !strings.HasPrefix(file, paths.BaseDir+string(filepath.Separator)) {
				t.Fatalf("%q would be written to %q", name, file)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				return
			}
		}
	})
}
