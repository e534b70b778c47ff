package client_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/message/keyring"
	"mixminion/packet"
)

// oldHome unpacks the home directory of a user of Mixminion 0.0.8.
func oldHome(t *testing.T) string {
	t.Helper()
	f, err := os.Open("testdata/home-0.0.8.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(dir, ".mixminion")
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			if err := os.MkdirAll(name, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOldHome: what a user of Mixminion 0.0.8 has works here: keyring, identities, log of used reply blocks.
func TestOldHome(t *testing.T) {
	var want struct {
		Identities []string
		Password   string            `json:"keyring_password"`
		Log        map[string]string `json:"surb_log"`
	}
	readJSON(t, "testdata/home-0.0.8.json", &want)
	text, err := os.ReadFile("testdata/home-0.0.8.surb")
	if err != nil {
		t.Fatal(err)
	}
	surbs, err := client.ReadSURBs(text)
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.NewManual(surbs[0].Expires.Add(-2 * day))
	home := oldHome(t)
	c, err := client.Open(home, client.Options{Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, filepath.Join(home, "surbs"))

	if _, err := c.Keyring([]byte("x" + want.Password)); !errors.Is(err, keyring.ErrPassword) {
		t.Errorf("wrong password: %v", err)
	}
	ring, err := c.Keyring([]byte(want.Password))
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(slices.Values(want.Identities))
	if !slices.Equal(ring.Names(), names) {
		t.Errorf("identities %q, want %q", ring.Names(), names)
	}
	for _, name := range names {
		if _, changed, err := c.SURBKey(ring, name, day); err != nil || changed {
			t.Errorf("the key of identity %q is not used: %v", name, err)
		}
	}

	log, err := c.UsedSURBs()
	if err != nil {
		t.Fatal(err)
	}
	entries := 0
	for id := range want.Log {
		if raw, err := hex.DecodeString(id); err == nil && len(raw) == len(crypt.Digest{}) {
			entries++
			if !log.Used(crypt.Digest(raw)) {
				t.Errorf("block %s is not used", id)
			}
		}
	}
	if entries == 0 {
		t.Error("no used reply blocks to look for")
	}
	used := 0
	for _, s := range surbs {
		_, ok := want.Log[fmt.Sprintf("%x", s.ID())]
		if ok {
			used++
		}
		if log.Used(s.ID()) != ok {
			t.Errorf("block %x: used %v", s.ID(), !ok)
		}
	}
	usable, skipped, err := c.UsableSURBs(surbs)
	if err != nil || len(usable) != len(surbs)-used || skipped.Used != used {
		t.Errorf("%d of %d usable, %+v: %v", len(usable), len(surbs), skipped, err)
	}
	if err := c.MarkUsed(t.Context(), usable...); err != nil {
		t.Fatal(err)
	}
	if log, err = c.UsedSURBs(); err != nil {
		t.Fatal(err)
	}
	for _, s := range surbs {
		if !log.Used(s.ID()) {
			t.Errorf("block %x is not used", s.ID())
		}
	}
	checkOldLog(t, before, tree(t, filepath.Join(home, "surbs")), surbs)
}

// checkOldLog checks the log of 0.0.8 after all blocks were marked as used: it is what that version would read, nothing in it has moved,
// and no file is new but ours.
func checkOldLog(t *testing.T, before, after map[string]string, surbs []*packet.SURB) {
	t.Helper()
	ours := 0
	for name, text := range after {
		was, known := before[name]
		switch base := filepath.Base(name); {
		case !known && (base == "used" || base == "used.lock"):
			ours++
		case !known:
			t.Errorf("%s is new", name)
		case base == "log.bak" && text != was, !strings.HasPrefix(text, was):
			t.Errorf("%s was changed", name)
		case base == "log.dir":
			data := after[strings.TrimSuffix(name, ".dir")+".dat"]
			for _, s := range surbs {
				m := regexp.MustCompile(fmt.Sprintf(`(?m)^'%x', \((\d+), (\d+)\)$`, s.ID())).FindStringSubmatch(text)
				if m == nil {
					t.Errorf("block %x is not in the old log", s.ID())
					continue
				}
				at, _ := strconv.Atoi(m[1])
				size, _ := strconv.Atoi(m[2])
				if at%512 != 0 || at+size > len(data) || data[at:at+size] != strconv.FormatInt(s.Expires.Unix(), 10) {
					t.Errorf("block %x: position %d, %d bytes", s.ID(), at, size)
				}
			}
		}
	}
	if ours != 2 {
		t.Errorf("%d files of our own", ours)
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestSURBLogTime: the log does not tell at what time of the day an answer was written.
func TestSURBLogTime(t *testing.T) {
	c, _, home := newHome(t)
	if err := c.MarkUsed(t.Context(), block(1, noon.Add(day))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"used", "used.lock", "."} {
		info, err := os.Stat(filepath.Join(home, "surbs", name))
		if err != nil {
			t.Fatal(err)
		}
		if want := noon.Truncate(day); !info.ModTime().Equal(want) {
			t.Errorf("%s: file time %v, want %v", name, info.ModTime().In(time.UTC), want)
		}
	}
}
