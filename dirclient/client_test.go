package dirclient

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/testnet/testdir"
)

// A rig is a client with its authorities and mirrors.
type rig struct {
	*Client
	opts Options
	mu   sync.Mutex
	now  time.Time
}

func newRig(t *testing.T, urls ...string) *rig {
	t.Helper()
	r := &rig{now: today.Add(12 * time.Hour)}
	r.opts = Options{Dir: t.TempDir(), Trusted: testdir.Authorities(3), Mirrors: urls, Fetch: FetchOptions{Now: r.clock}}
	r.Client = New(r.opts)
	return r
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) setClock(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = now
}

func (r *rig) update(t *testing.T) *Update {
	t.Helper()
	up, err := r.Update(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return up
}

// heldAnew opens the home directory anew, as another process would.
func (r *rig) heldAnew(t *testing.T) *Consensus {
	t.Helper()
	c, err := New(r.opts).Held()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, site *testdir.Site, s testdir.Spec) {
	t.Helper()
	if err := site.Publish(s); err != nil {
		t.Fatal(err)
	}
}

func TestUpdateHoldsTheNewest(t *testing.T) {
	site := serve(t)
	r := newRig(t, site.URL)
	if c, err := r.Held(); c != nil || err != nil || !r.Due() || !r.LastDay().IsZero() {
		t.Fatal(c, err)
	}
	put(t, site, spec(t, today))
	up := r.update(t)
	if !up.New || up.Source != site.URL || up.Consensus.Quorum.Signed != 3 || len(up.Consensus.Servers) != 2 || len(up.Failures) != 0 {
		t.Errorf("%+v", up)
	}
	if got := r.heldAnew(t); got.BodyHash() != up.Consensus.BodyHash() || !got.Day.Equal(today) || r.Due() {
		t.Errorf("held %+v", got)
	}
	if up = r.update(t); up.New || up.Source != "" {
		t.Errorf("the same again: %+v", up)
	}

	r.setClock(tomorrow.Add(time.Hour))
	if !r.Due() {
		t.Error("no download is due on the next day")
	}
	// The authorities have none for tomorrow: what is held stays, and the day counts as done.
	if up = r.update(t); up.New || up.Consensus.Freshness(r.clock()) != directory.Stale || r.Due() {
		t.Errorf("%+v", up)
	}
	put(t, site, spec(t, tomorrow))
	if up = r.update(t); !up.New || !up.Consensus.ValidAfter.Equal(tomorrow) {
		t.Errorf("%+v", up)
	}
	// An older one is refused, whoever serves it.
	put(t, site, spec(t, today))
	if _, err := r.Update(t.Context()); !errors.Is(err, ErrOlder) {
		t.Error(err)
	}
	if got := r.heldAnew(t); !got.ValidAfter.Equal(tomorrow) {
		t.Errorf("held is that of %v", got.ValidAfter)
	}
	files, err := filepath.Glob(filepath.Join(r.opts.Dir, "*"))
	if err != nil || len(files) != 4 { // directory, signatures, day, lock
		t.Errorf("%v, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
}

// TestUpdateFallsBack has every source but one fail, each in its own way.
func TestUpdateFallsBack(t *testing.T) {
	gz, sig := publish(t, spec(t, today))
	alone := spec(t, tomorrow)
	alone.Signers, alone.Detached = []int{1}, []int{1}
	aloneGz, aloneSig := publish(t, alone)
	oldGz, oldSig := publish(t, spec(t, yesterday))
	var urls []string
	for _, files := range []map[string][]byte{
		{},
		{CurrentName: gz},
		{CurrentName: gz[:1000], CurrentSigName: sig},
		{CurrentName: []byte("<html>"), CurrentSigName: sig},
		{CurrentName: gz, CurrentSigName: oldSig},
		{CurrentName: aloneGz, CurrentSigName: aloneSig},
	} {
		site := serve(t)
		site.Put(files)
		urls = append(urls, site.URL)
	}
	urls = append(urls, "http://127.0.0.1:1/") // nobody listens
	r := newRig(t, urls...)
	_, err := r.Update(t.Context())
	var failed *UpdateError
	if !errors.As(err, &failed) || len(failed.Failures) != len(urls) {
		t.Fatal(err)
	}
	text := err.Error()
	for _, want := range append(urls, "404", "current.gz.sig: HTTP", "not a whole gzip file", "not signed by a majority", "refused", "compare the authorities") {
		if !strings.Contains(text, want) {
			t.Errorf("the error does not say %q: %s", want, text)
		}
	}
	if strings.Contains(text, "\n") || !errors.Is(err, directory.ErrQuorum) || !errors.Is(err, ErrGzip) {
		t.Error(text)
	}
	if !r.Due() {
		t.Error("a failed download counts")
	}

	good := serve(t)
	good.Put(map[string][]byte{CurrentName: gz, CurrentSigName: sig})
	old := serve(t)
	old.Put(map[string][]byte{CurrentName: oldGz, CurrentSigName: oldSig})
	for range 10 { // in any order
		r = newRig(t, append(urls[:6:6], good.URL, old.URL)...)
		up := r.update(t)
		if !up.New || up.Source != good.URL || !up.Consensus.ValidAfter.Equal(today) {
			t.Errorf("%+v", up)
		}
	}
}

func TestUpdateWithoutAnybody(t *testing.T) {
	r := newRig(t)
	if _, err := r.Update(t.Context()); !errors.Is(err, ErrURL) {
		t.Error(err)
	}
	r.opts.Trusted = nil
	c := New(r.opts)
	if _, err := c.Update(t.Context()); !errors.Is(err, ErrNoAuthorities) || !strings.Contains(err.Error(), "[DirectoryServers]") {
		t.Error(err)
	}
	if held, err := c.Held(); held != nil || err != nil || c.Due() || c.Trusts() {
		t.Error(held, err)
	}
}

func TestUpdateNoticesClocks(t *testing.T) {
	site := serve(t)
	put(t, site, spec(t, today))
	r := newRig(t, site.URL)
	if up := r.update(t); len(up.Skews) != 0 {
		t.Errorf("%v", up.Skews)
	}
	site.SetClock(func() time.Time { return r.clock().Add(31 * time.Minute) })
	if up := r.update(t); len(up.Skews) != 1 {
		t.Errorf("%v", up.Skews)
	}
	site.SetClock(func() time.Time { return r.clock().Add(-29 * time.Minute) })
	if up := r.update(t); len(up.Skews) != 0 {
		t.Errorf("%v", up.Skews)
	}
	for ahead, want := range map[time.Duration]string{
		2 * time.Hour:     "the clock of http://a/ is 2h0m0s ahead of ours",
		-45 * time.Minute: "the clock of http://a/ is 45m0s behind ours",
	} {
		if got := (Skew{"http://a/", ahead}).String(); got != want {
			t.Error(got)
		}
	}
	r = newRig(t, site.URL)
	r.setClock(today.AddDate(0, 0, -3))
	if _, err := r.Update(t.Context()); !errors.Is(err, directory.ErrEarly) || !strings.Contains(err.Error(), "check your clock") {
		t.Error(err)
	}
}

func TestUpdateEnds(t *testing.T) {
	site := serve(t)
	r := newRig(t, site.URL)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Update(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestRequestsDoNotDependOnWhatIsHeld compares what servers see of somebody new and of somebody who has a directory.
func TestRequestsDoNotDependOnWhatIsHeld(t *testing.T) {
	site := serve(t)
	put(t, site, spec(t, today))
	r := newRig(t, site.URL)
	r.update(t)
	r.update(t)
	seen := site.Requests()
	if len(seen) != 4 {
		t.Fatalf("%d requests", len(seen))
	}
	for i, req := range seen {
		if want := []string{"/" + CurrentName, "/" + CurrentSigName}[i%2]; req.URL.String() != want || len(req.Header) != 2 {
			t.Errorf("%s with %v", req.URL, req.Header)
		}
	}
	// One connection for both documents of a download, and another one for the next download.
	if seen[0].RemoteAddr != seen[1].RemoteAddr || seen[1].RemoteAddr == seen[2].RemoteAddr {
		t.Error(seen[0].RemoteAddr, seen[1].RemoteAddr, seen[2].RemoteAddr)
	}
}

// TestSourcesOfTheSignedList downloads from where the directory that is held says that authorities are.
func TestSourcesOfTheSignedList(t *testing.T) {
	first, second := serve(t), serve(t)
	s := spec(t, today)
	for _, a := range testdir.Authorities(3) {
		s.Voters = append(s.Voters, directory.Voter{Fingerprint: a.Fingerprint, URL: second.URL})
	}
	put(t, first, s)
	r := newRig(t, first.URL)
	r.update(t)
	r.setClock(tomorrow.Add(time.Hour))
	put(t, second, spec(t, tomorrow))
	if up := r.update(t); !up.New || up.Source != second.URL {
		t.Errorf("%+v", up)
	}
}

func TestHeldIsVerified(t *testing.T) {
	gz, sig := publish(t, spec(t, today))
	other, otherSig := publish(t, spec(t, yesterday))
	for name, change := range map[string]func(dir string) error{
		"directory cut":        func(dir string) error { return os.WriteFile(filepath.Join(dir, heldName), gz[:500], 0o600) },
		"another directory":    func(dir string) error { return os.WriteFile(filepath.Join(dir, heldName), other, 0o600) },
		"signatures cut":       func(dir string) error { return os.WriteFile(filepath.Join(dir, sigName(gz)), sig[:50], 0o600) },
		"signatures of others": func(dir string) error { return os.WriteFile(filepath.Join(dir, sigName(gz)), otherSig, 0o600) },
		"no signatures":        func(dir string) error { return os.Remove(filepath.Join(dir, sigName(gz))) },
		"of an older program": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, heldName), []byte("[Directory]\n"), 0o644)
		},
	} {
		site := serve(t)
		site.Put(map[string][]byte{CurrentName: gz, CurrentSigName: sig})
		r := newRig(t, site.URL)
		r.update(t)
		if err := change(r.opts.Dir); err != nil {
			t.Fatal(err)
		}
		c := New(r.opts)
		if held, err := c.Held(); !errors.Is(err, ErrHeld) {
			t.Errorf("%s: %v, %v", name, held, err)
		}
		if up, err := c.Update(t.Context()); err != nil || !up.New {
			t.Errorf("%s: %v", name, err)
		}
		if held, err := c.Held(); err != nil || held == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Whom the user trusts may change.
	site := serve(t)
	site.Put(map[string][]byte{CurrentName: gz, CurrentSigName: sig})
	r := newRig(t, site.URL)
	r.update(t)
	r.opts.Trusted = testdir.Authorities(7)
	if _, err := New(r.opts).Held(); !errors.Is(err, ErrHeld) || !errors.Is(err, directory.ErrQuorum) {
		t.Error(err)
	}
}

// TestCrashWhileSaving stops between the files of the new pair: the old one is still held.
func TestCrashWhileSaving(t *testing.T) {
	site := serve(t)
	put(t, site, spec(t, today))
	r := newRig(t, site.URL)
	r.update(t)
	gz, sig := publish(t, spec(t, tomorrow))
	if err := os.WriteFile(filepath.Join(r.opts.Dir, sigName(gz)), sig, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.heldAnew(t); !got.ValidAfter.Equal(today) {
		t.Error(got.ValidAfter)
	}
	if err := os.WriteFile(filepath.Join(r.opts.Dir, heldName), gz, 0o600); err != nil {
		t.Fatal(err)
	}
	r.setClock(tomorrow)
	if got := r.heldAnew(t); !got.ValidAfter.Equal(tomorrow) {
		t.Error(got.ValidAfter)
	}
}

func TestManyUpdateAtOnce(t *testing.T) {
	site := serve(t)
	put(t, site, spec(t, today))
	r := newRig(t, site.URL)
	var wg sync.WaitGroup
	for i := range 8 {
		c := r.Client
		if i%2 == 1 { // as another process
			c = New(r.opts)
		}
		wg.Go(func() {
			if up, err := c.Update(t.Context()); err != nil || up.Consensus == nil {
				t.Error(err)
			}
			if held, err := c.Held(); err != nil || held == nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := r.heldAnew(t); !got.ValidAfter.Equal(today) {
		t.Error(got.ValidAfter)
	}
}

func TestUnwritableHome(t *testing.T) {
	site := serve(t)
	put(t, site, spec(t, today))
	r := newRig(t, site.URL)
	r.opts.Dir = filepath.Join(r.opts.Dir, "missing")
	if up, err := New(r.opts).Update(t.Context()); err == nil {
		t.Errorf("%+v", up)
	}
}

func TestNoSourceIsAskedTwice(t *testing.T) {
	site := serve(t)
	put(t, site, spec(t, today))
	r := newRig(t, site.URL, site.URL)
	r.update(t)
	if n := len(site.Requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}
