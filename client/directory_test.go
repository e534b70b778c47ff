package client_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/testnet/testdir"
	"mixminion/packet"
	"mixminion/path"
)

// today is the day of noon.
var today = noon.Truncate(day)

// drop is the address of dummies.
var drop = client.Address{Type: packet.TypeDrop}

// parsed gives the descriptors of the servers with the given numbers.
func parsed(t testing.TB, numbers []int, changes ...change) []*directory.Descriptor {
	t.Helper()
	var list []*directory.Descriptor
	for _, i := range numbers {
		d, err := directory.ParseDescriptor(mixServers()[i].descriptor(t, changes...))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

func site(t testing.TB, s testdir.Spec) *testdir.Site {
	t.Helper()
	site, err := testdir.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Signers, s.Detached = []int{0, 1, 2}, []int{0, 1, 2}
	if err := site.Publish(s); err != nil {
		t.Fatal(err)
	}
	return site
}

// subscriber opens a home directory that trusts three authorities and downloads from the sites.
func subscriber(t testing.TB, clk clock.Clock, edit func(*client.Options), sites ...*testdir.Site) *client.Client {
	t.Helper()
	o := client.Options{Clock: clk}
	o.Directories.Trusted = testdir.Authorities(3)
	for _, s := range sites {
		o.Directories.Mirrors = append(o.Directories.Mirrors, s.URL)
	}
	if edit != nil {
		edit(&o)
	}
	c, err := client.Open(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustUpdate(t testing.TB, c *client.Client) {
	t.Helper()
	if _, err := c.UpdateServers(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func mustImport(t testing.TB, c *client.Client, list ...*directory.Descriptor) {
	t.Helper()
	for _, d := range list {
		if _, err := importTexts(t, c, d.Text()); err != nil {
			t.Fatal(err)
		}
	}
}

// hopsOf sends nothing, many times, and returns all hops that were chosen: "nickname digest" of each.
func hopsOf(t testing.TB, c *client.Client, times int) []string {
	t.Helper()
	seen := map[string]bool{}
	for range times {
		p, err := c.Prepare(t.Context(), client.Message{To: drop}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for hop := range strings.FieldsFuncSeq(p.Packets[0].Route, func(r rune) bool { return r == ',' || r == ':' }) {
			seen[hop] = true
		}
	}
	var list []string
	for h := range seen {
		list = append(list, h)
	}
	slices.Sort(list)
	return list
}

// TestSameDirectorySameChoice has two clients with one directory and different imported descriptors: both choose among the servers that the
// directory recommends, and take those from it, not from what was imported.
func TestSameDirectorySameChoice(t *testing.T) {
	clk := clock.NewManual(noon)
	listed := parsed(t, []int{0, 1, 2, 3, 4})
	dir := site(t, testdir.Spec{Day: today, Servers: listed, Recommended: []string{"alder", "birch", "cedar", "dogwood"}})
	rich, poor := subscriber(t, clk, nil, dir), subscriber(t, clk, nil, dir)
	mustImport(t, rich, parsed(t, []int{5})...)                                                                       // not in the directory
	mustImport(t, rich, parsed(t, []int{0}, func(f *directory.Fields) { f.Published = noon; f.Comments = "new" })...) // newer than the one in it
	mustUpdate(t, rich)
	mustUpdate(t, poor)
	want := []string{"alder", "birch", "cedar", "dogwood"}
	for _, c := range []*client.Client{rich, poor} {
		if got := hopsOf(t, c, 40); !slices.Equal(got, want) {
			t.Errorf("chose among %v, want %v", got, want)
		}
	}
	// Of a listed server the listed descriptor counts.
	servers, err := rich.Servers()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range servers {
		if d.Nickname == "alder" && d.Comments == "new" {
			t.Error("an imported descriptor stands in for the listed one")
		}
	}
	if got := nicknames(servers); !slices.Equal(got, serverNames) {
		t.Errorf("knows %v", got)
	}

	// What is not listed or not recommended can be named, with a warning.
	for name, want := range map[string]string{"fir": "fir is not in the directory", "elm": "elm is not recommended", "alder": ""} {
		spec, err := path.ParseSpec(name + ",?,?,?")
		if err != nil {
			t.Fatal(err)
		}
		p, err := rich.Prepare(t.Context(), client.Message{To: drop, Path: spec}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, w := range p.Warnings {
			texts = append(texts, w.Text)
		}
		if got := strings.Join(texts, "\n"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: warnings %q", name, got)
		}
	}
	recommended, err := rich.Recommended()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range servers {
		if got := recommended(d); got != slices.Contains(want, d.Nickname) {
			t.Errorf("%s: recommended %v", d.Nickname, got)
		}
	}
}

func TestWithoutDirectoryImportedServersCount(t *testing.T) {
	c := subscriber(t, clock.NewManual(noon), nil)
	mustImport(t, c, parsed(t, []int{0, 1, 2, 3})...)
	if got := hopsOf(t, c, 20); len(got) != 4 || !c.UpdateDue() || !c.HasAuthorities() {
		t.Error(got)
	}
	if d, err := c.Directory(); d != nil || err != nil {
		t.Error(d, err)
	}
	if _, err := c.UpdateServers(t.Context()); !errors.Is(err, dirclient.ErrURL) {
		t.Error(err)
	}
	plain, _ := newClient(t)
	if _, err := plain.UpdateServers(t.Context()); !errors.Is(err, dirclient.ErrNoAuthorities) || plain.UpdateDue() || plain.HasAuthorities() {
		t.Error(err)
	}
}

func TestOldDirectory(t *testing.T) {
	clk := clock.NewManual(noon)
	dir := site(t, testdir.Spec{Day: today, Servers: parsed(t, []int{0, 1, 2, 3})})
	c := subscriber(t, clk, nil, dir)
	stubborn := subscriber(t, clk, func(o *client.Options) { o.UseOldDirectory = true }, dir)
	mustUpdate(t, c)
	mustUpdate(t, stubborn)
	prepare := func(c *client.Client) error {
		_, err := c.Prepare(t.Context(), client.Message{To: drop}, nil)
		return err
	}
	clk.Advance(day + 30*time.Hour) // 42 hours after its end
	if err := prepare(c); err != nil {
		t.Error(err)
	}
	if err := c.DirectoryUsable(); err != nil || !c.UpdateDue() {
		t.Error(err)
	}
	clk.Advance(10 * time.Hour)
	for _, err := range []error{prepare(c), c.DirectoryUsable()} {
		if !errors.Is(err, directory.ErrStale) || !strings.Contains(err.Error(), "download a newer one") {
			t.Error(err)
		}
	}
	if err := prepare(stubborn); err != nil {
		t.Error(err)
	}
	// It can still be looked at, and what was imported is no way around it.
	mustImport(t, c, parsed(t, []int{4, 5})...)
	if got := known(t, c); len(got) != 6 {
		t.Error(got)
	}
	if err := prepare(c); !errors.Is(err, directory.ErrStale) {
		t.Error(err)
	}
}

func TestDamagedDirectory(t *testing.T) {
	dir := site(t, testdir.Spec{Day: today, Servers: parsed(t, []int{0, 1, 2, 3})})
	home := t.TempDir()
	o := client.Options{Clock: clock.NewManual(noon), Directories: dirclient.Options{Trusted: testdir.Authorities(3, dir.URL)}}
	c, err := client.Open(home, o)
	if err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, c)
	if err := os.WriteFile(filepath.Join(home, "dir.gz"), []byte("damage"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustImport(t, c, parsed(t, []int{4})...)
	if _, err := c.Servers(); !errors.Is(err, dirclient.ErrHeld) {
		t.Error(err)
	}
	if _, err := c.Prepare(t.Context(), client.Message{To: drop}, nil); !errors.Is(err, dirclient.ErrHeld) {
		t.Error(err)
	}
	mustUpdate(t, c)
	if got := known(t, c); len(got) != 5 {
		t.Error(got)
	}
}

// TestImportBesideADirectory refuses what contradicts the directory.
func TestImportBesideADirectory(t *testing.T) {
	dir := site(t, testdir.Spec{Day: today, Servers: parsed(t, []int{0, 1, 2, 3})})
	c := subscriber(t, clock.NewManual(noon), nil, dir)
	mustUpdate(t, c)
	thief := mixServers()[4].descriptor(t, func(f *directory.Fields) { f.Nickname = "Alder" })
	if _, err := importTexts(t, c, thief); !errors.Is(err, directory.ErrConflict) {
		t.Error(err)
	}
	if _, err := importTexts(t, c, parsed(t, []int{4})[0].Text()); err != nil {
		t.Error(err)
	}
}

func TestFeaturesOfRecommendedServers(t *testing.T) {
	servers := parsed(t, []int{0, 1})
	q := client.FeatureQuery{Features: []client.Feature{client.FeatureStatus}, Now: noon, Recommended: func(d *directory.Descriptor) bool { return d.Nickname == "birch" }}
	rows, err := client.ListFeatures(servers, q)
	if err != nil || len(rows) != 2 || rows[0].Values[0] != "(not recommended)" || rows[1].Values[0] != "(ok)" {
		t.Errorf("%v, %v", rows, err)
	}
	q.BlockEntries, q.OnlyRecommended = []string{"alder"}, true
	if rows, err = client.ListFeatures(servers, q); err != nil || len(rows) != 1 || rows[0].Nickname != "birch" {
		t.Errorf("%v, %v", rows, err)
	}
	q.Names = []string{"alder"}
	if _, err = client.ListFeatures(servers, q); !errors.Is(err, client.ErrUnknownServer) || !strings.Contains(err.Error(), "recommended") {
		t.Error(err)
	}
}
