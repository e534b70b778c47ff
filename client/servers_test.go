package client_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/path"
)

func nicknames(list []*directory.Descriptor) []string {
	var names []string
	for _, d := range list {
		names = append(names, d.Nickname)
	}
	return names
}

func known(t testing.TB, c *client.Client) []string {
	t.Helper()
	servers, err := c.Servers()
	if err != nil {
		t.Fatal(err)
	}
	return nicknames(servers)
}

// imported lists the files that hold the servers, relative to the home directory.
func imported(t testing.TB, home string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(home, "imported", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestImport(t *testing.T) {
	s := mixServers()
	alder, birch := s[0].descriptor(t), s[1].descriptor(t)
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	rename := func(name string) change { return func(f *directory.Fields) { f.Nickname = name } }
	crlf := func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")) }
	broken := bytes.Replace(birch, []byte("Contact: operator"), []byte("Contact: 0perator"), 1)

	for name, c := range map[string]struct {
		before, text []byte
		added        []string
		errs         []error  // that the error wraps
		says         []string // what the error's text contains
	}{
		"one":     {text: alder, added: []string{"alder"}},
		"several": {text: join(birch, alder), added: []string{"birch", "alder"}},
		"CRLF":    {text: crlf(join(birch, alder)), added: []string{"birch", "alder"}},
		"no newline at the end": {
			text: bytes.TrimSuffix(join(alder, birch), []byte("\n")), added: []string{"alder", "birch"},
		},
		"expired": {
			text: join(s[0].descriptor(t, lifetime(-20*day, -20, 0)), birch), added: []string{"birch"},
			errs: []error{client.ErrExpired}, says: []string{"alder: "},
		},
		"not valid yet": {text: s[0].descriptor(t, lifetime(-time.Hour, 3, 30)), added: []string{"alder"}},
		"known":         {before: alder, text: join(alder, birch), added: []string{"birch"}, errs: []error{client.ErrKnown}, says: []string{"alder: "}},
		"twice in one":  {text: join(alder, birch, alder), added: []string{"alder", "birch"}, errs: []error{client.ErrKnown}},
		"newer": {
			before: s[0].descriptor(t, lifetime(-2*time.Hour, 0, 30)), text: alder, added: []string{"alder"},
		},
		"superseded": {
			before: alder, text: s[0].descriptor(t, lifetime(-2*time.Hour, 0, 30)),
			errs: []error{client.ErrSuperseded}, says: []string{"alder: "},
		},
		"older, but valid longer": {before: alder, text: s[0].descriptor(t, lifetime(-2*time.Hour, 0, 31)), added: []string{"alder"}},
		"superseded by its neighbour": {
			text:  join(s[0].descriptor(t, lifetime(-2*time.Hour, 0, 31)), s[0].descriptor(t, lifetime(-3*time.Hour, 0, 30))),
			added: []string{"alder"}, errs: []error{client.ErrSuperseded},
		},
		"published in ten minutes": {text: s[0].descriptor(t, lifetime(10*time.Minute, 0, 30)), added: []string{"alder"}},
		"published later": {
			text: join(s[0].descriptor(t, lifetime(10*time.Minute+time.Second, 0, 30)), birch), added: []string{"birch"},
			errs: []error{directory.ErrFuture}, says: []string{"alder: "},
		},
		"nickname of another": {
			before: alder, text: join(s[2].descriptor(t, rename("ALDER")), birch), added: []string{"birch"},
			errs: []error{directory.ErrConflict}, says: []string{"ALDER", crypt.NewKeyID(&s[0].identity.PublicKey).Fingerprint()},
		},
		"another nickname": {
			before: alder, text: s[0].descriptor(t, rename("acer")), errs: []error{directory.ErrConflict}, says: []string{"acer"},
		},
		"conflict in one text": {
			text: join(alder, s[0].descriptor(t, rename("acer")), birch), added: []string{"alder", "birch"},
			errs: []error{directory.ErrConflict},
		},
		"other case of the own name": {
			before: s[0].descriptor(t, lifetime(-2*time.Hour, 0, 30)), text: s[0].descriptor(t, rename("Alder")), added: []string{"Alder"},
		},
		"forged":            {text: join(alder, broken), added: []string{"alder"}, errs: []error{directory.ErrDigest}},
		"forged in between": {text: join(broken, alder, broken), added: []string{"alder"}, errs: []error{directory.ErrDigest}},
		"cut off":           {text: join(alder, birch[:len(birch)/2]), added: []string{"alder"}, says: []string{""}},
		"garbage in front": {
			text: join([]byte("From: operator@example.net\n\nHere it is:\n"), alder), added: []string{"alder"}, says: []string{""},
		},
		"garbage as a part of its own": {
			text: join(alder, []byte("[Server]\n\x00\xff garbage\n"), birch), added: []string{"alder", "birch"}, says: []string{""},
		},
		// What stands behind a descriptor is taken for a part of it, which then was not signed.
		"garbage between": {text: join(alder, []byte("and this is birch:\n"), birch), added: []string{"birch"}, says: []string{""}},
		"garbage":         {text: []byte("\x00\x01\x02"), says: []string{""}},
		"nothing":         {text: nil, says: []string{""}},
		"headers only":    {text: bytes.Repeat([]byte("[Server]\n"), 1000), says: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			client, _, home := newHome(t)
			if c.before != nil {
				if _, err := importTexts(t, client, c.before); err != nil {
					t.Fatal(err)
				}
			}
			before := known(t, client)
			added, err := importTexts(t, client, c.text)
			if d := cmp.Diff(c.added, nicknames(added)); d != "" {
				t.Errorf("added: %s", d)
			}
			if (err != nil) != (c.errs != nil || c.says != nil) {
				t.Errorf("error %v", err)
			}
			for _, want := range c.errs {
				if !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
			}
			for _, want := range c.says {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("error %v says nothing of %q", err, want)
				}
			}
			want := append(before, c.added...)
			slices.SortStableFunc(want, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
			if d := cmp.Diff(want, known(t, client), cmp.Transformer("fold", strings.ToLower)); d != "" {
				t.Errorf("known: %s", d)
			}
			if n := len(imported(t, home)); n != len(want) {
				t.Errorf("%d files", n)
			}
		})
	}
}

// What is imported is stored as it was signed, and is there for the next program.
func TestImportedFiles(t *testing.T) {
	c, clk, home := newHome(t, descriptors(t))
	files := imported(t, home)
	if len(files) != len(serverNames) {
		t.Fatal(files)
	}
	for i, file := range files {
		if want := serverNames[i] + "-20261120110000"; filepath.Base(file) != want {
			t.Errorf("file %s, want %s", file, want)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := directory.ParseDescriptor(text); err != nil {
			t.Error(err)
		}
	}
	// Two descriptors that were published in one second.
	if _, err := importTexts(t, c, mixServers()[0].descriptor(t, lifetime(-time.Hour, 0, 40))); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(home, "imported", "alder-20261120110000.1")); err != nil {
		t.Error(err)
	}
	again, err := client.Open(home, client.Options{Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(append([]string{"alder"}, serverNames...), known(t, again)); d != "" {
		t.Error(d)
	}
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("Windows has no modes; what is checked is that everything is there")
	}
	top := filepath.Join(t.TempDir(), "new", "home")
	c, err := client.Open(top, client.Options{Clock: clock.NewManual(noon)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := importTexts(t, c, descriptors(t)); err != nil {
		t.Fatal(err)
	}
	ring, err := c.Keyring(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := saveKeyring(t, c, ring, []byte("password")); err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(top, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if info.Mode().Perm() != want && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := len(serverNames) + 2; files != want { // the keyring and the lock
		t.Errorf("%d files, want %d", files, want)
	}
}

func TestImportTooMuch(t *testing.T) {
	c, _, home := newHome(t)
	_, err := importTexts(t, c, make([]byte, 64<<20+1))
	if err == nil || !strings.Contains(err.Error(), "64 MB") {
		t.Error(err)
	}
	if files := imported(t, home); files != nil {
		t.Error(files)
	}
}

func TestDamagedFile(t *testing.T) {
	c, _, home := newHome(t, descriptors(t))
	file := imported(t, home)[2]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"cut off": whole[:len(whole)/2], "empty": nil, "forged": bytes.ToUpper(whole)} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"servers": func() error { _, err := c.Servers(); return err }(),
			"import":  func() error { _, err := importTexts(t, c, descriptors(t)); return err }(),
			"prepare": func() error {
				_, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "drop")}, nil)
				return err
			}(),
		} {
			if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "delete the file, then import the server again") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := known(t, c); len(got) != len(serverNames)-1 {
		t.Error(got)
	}
}

// What a crash or a user left in the directory is no server.
func TestOtherFiles(t *testing.T) {
	c, _, home := newHome(t, descriptors(t))
	if err := os.WriteFile(filepath.Join(home, "imported", ".alder-20261120110000.1.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(home, "imported", "old"), 0o700); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(serverNames, known(t, c)); d != "" {
		t.Error(d)
	}
}

func TestServersSortedWithoutExpired(t *testing.T) {
	upper := func(f *directory.Fields) { f.Nickname = strings.ToUpper(f.Nickname) }
	s := mixServers()
	c, clk := newClient(t, s[4].descriptor(t), s[2].descriptor(t, upper), s[3].descriptor(t, lifetime(-time.Hour, 0, 2)),
		s[0].descriptor(t, upper), s[1].descriptor(t))
	if d := cmp.Diff([]string{"ALDER", "birch", "CEDAR", "dogwood", "elm"}, known(t, c)); d != "" {
		t.Error(d)
	}
	clk.Advance(day + 12*time.Hour - time.Nanosecond)
	if got := known(t, c); len(got) != 5 {
		t.Error(got)
	}
	clk.Advance(time.Nanosecond)
	if d := cmp.Diff([]string{"ALDER", "birch", "CEDAR", "elm"}, known(t, c)); d != "" {
		t.Error(d)
	}
	// Its successor may come, and the old file does not matter.
	if _, err := importTexts(t, c, s[3].descriptor(t, lifetime(0, 2, 30))); err != nil {
		t.Error(err)
	}
	if got := known(t, c); len(got) != 5 {
		t.Error(got)
	}
}

func TestDescriptorFileInPath(t *testing.T) {
	s := mixServers()
	c, _ := newClient(t, s[0].descriptor(t), s[1].descriptor(t))
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	prepare := func(file string) (*client.Prepared, error) {
		return c.Prepare(t.Context(), client.Message{To: parseAddress(t, "bob@example.com"), Path: parseSpec(t, "alder,'"+file+"':birch")}, nil)
	}
	p, err := prepare(write("cedar", s[2].descriptor(t)))
	if err != nil {
		t.Fatal(err)
	}
	if j := carry(t, p.Packets[0]); strings.Join(j.route, " ") != "alder cedar birch" {
		t.Error(j.route)
	}
	for name, want := range map[string]struct {
		file string
		err  error
	}{
		"missing": {filepath.Join(dir, "missing"), fs.ErrNotExist},
		"expired": {write("old", s[3].descriptor(t, lifetime(-20*day, -20, 0))), client.ErrExpired},
		"damaged": {write("bad", s[3].descriptor(t)[9:]), path.ErrUnknownServer},
		"impostor": {write("impostor", s[4].descriptor(t, func(f *directory.Fields) { f.Nickname = "alder" })),
			directory.ErrConflict},
		"short-lived": {write("short", s[3].descriptor(t, lifetime(-time.Hour, 0, 6))), path.ErrNotUsable},
	} {
		if _, err := prepare(want.file); !errors.Is(err, want.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := known(t, c); len(got) != 2 {
		t.Errorf("a path taught the client servers: %v", got)
	}
}

// A home directory of the first implementation serves as it is.
func TestHomeOfFirstImplementation(t *testing.T) {
	const testdata = "../message/keyring/testdata"
	archive, err := os.ReadFile(filepath.Join(testdata, "home.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	newest := unpack(t, archive, top)
	var want struct {
		Identities []string
		Password   string `json:"keyring_password"`
	}
	readJSON(t, filepath.Join(testdata, "expect.json"), &want)

	home := filepath.Join(top, ".mixminion")
	c, err := client.Open(home, client.Options{Clock: clock.NewManual(newest)})
	if err != nil {
		t.Fatal(err)
	}
	names := known(t, c)
	for _, file := range imported(t, home) {
		name, _, _ := strings.Cut(filepath.Base(file), "-")
		if !slices.Contains(names, name) {
			t.Errorf("%s is not among %v", name, names)
		}
	}
	if len(names) == 0 || !slices.IsSorted(names) {
		t.Errorf("servers %v", names)
	}
	ring, err := c.Keyring([]byte(want.Password))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want.Identities)
	if d := cmp.Diff(want.Identities, ring.Names()); d != "" {
		t.Error(d)
	}
	if got := c.Keys(ring).Identities; len(got) == 0 {
		t.Error("no secret of the keyring is valid")
	}
	if _, err := importTexts(t, c, descriptors(t, func(f *directory.Fields) {
		f.Published, f.ValidAfter, f.ValidUntil = newest.UTC().Truncate(time.Second), newest.UTC().Truncate(day), newest.UTC().Truncate(day).Add(30*day)
	})); err != nil {
		t.Error(err)
	}
}

// unpack writes the files of an archive below dir, and gives the time of the youngest.
func unpack(t *testing.T, archive []byte, dir string) (newest time.Time) {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return newest
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.After(newest) {
			newest = h.ModTime
		}
		if h.FileInfo().IsDir() {
			err = root.MkdirAll(filepath.Clean(h.Name), 0o700)
		} else {
			var data []byte
			if data, err = io.ReadAll(tr); err == nil {
				err = root.WriteFile(filepath.Clean(h.Name), data, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func readJSON(t testing.TB, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}
