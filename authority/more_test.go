package authority_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/authority"
	"mixminion/authority/inbox"
	"mixminion/directory"
)

// TestLostDisk loses everything but the key in the middle of the night. What was signed before must come back, not be signed anew.
func TestLostDisk(t *testing.T) {
	for _, minute := range []int{6, 17, 21, 34, 50} {
		t.Run(fmt.Sprint(minute), func(t *testing.T) {
			w := newWorld(t, 3)
			w.until(date(secondDay).Add(time.Duration(minute-60) * time.Minute))
			n := w.nodes[0]
			vote, consensus := n.text(secondDay+"-vote.gz"), n.text(secondDay+".gz")
			n.stop()
			if err := os.RemoveAll(n.dir); err != nil {
				t.Fatal(err)
			}
			n.source.listed = n.source.listed[:1]
			n.start()
			w.until(date(secondDay).Add(10 * time.Minute))
			w.wantCurrent(secondDay, 2)
			if !bytes.Equal(n.text(secondDay+"-vote.gz"), vote) {
				t.Error("it voted twice")
			}
			if consensus == nil || minute < 31 {
				return // nobody had seen it
			}
			had, err := directory.ParseDirectory(consensus)
			if err != nil {
				t.Fatal(err)
			}
			has, err := directory.ParseDirectory(n.text(secondDay + ".gz"))
			if err != nil || has.BodyHash() != had.BodyHash() {
				t.Errorf("it signed another consensus, %v", err)
			}
		})
	}
}

// TestRandomFaults lets authorities come and go, and lines fail, for a week. Whatever happens, those who have a current consensus for a day
// have the same one, nobody signs two, and a quiet night brings one with all signatures.
func TestRandomFaults(t *testing.T) {
	days := 7
	if underRace {
		days = 2
	}
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, 5)
			rnd := rand.New(rand.NewPCG(seed, 3))
			lost, dies := 10, 40 // one of so many
			if seed == 1 {
				lost, dies = 3, 10
			}
			var dice sync.Mutex
			bodies, signed := map[string][32]byte{}, map[string][32]byte{}
			see := func(kind string, seen map[string][32]byte, key string, text []byte) {
				if text == nil {
					return
				}
				d, err := parsed.ParseDirectory(text)
				if err != nil {
					t.Fatal(err)
				}
				if old, ok := seen[key]; ok && old != d.BodyHash() {
					t.Fatalf("%s: two of %s", kind, key)
				}
				seen[key] = d.BodyHash()
			}
			check := func() {
				for _, n := range w.nodes {
					if !n.up {
						continue
					}
					if c := n.current(); c != nil {
						see("current", bodies, c.ValidAfter.Format(time.DateOnly), c.Text())
					}
					d := w.now.Add(3 * time.Hour).Format(time.DateOnly)
					see("vote", signed, fmt.Sprint(n.index, " vote ", d), n.text(d+"-vote.gz"))
					text := n.text(d + ".gz")
					if text != nil && bytes.Contains(text, []byte("[Signed-Directory]")) {
						see("consensus", signed, fmt.Sprint(n.index, " consensus ", d), text)
					}
				}
			}
			for d := date(firstDay); d.Before(date(firstDay).AddDate(0, 0, days)); d = d.Add(day) {
				quiet := rnd.IntN(4) == 0
				broken := map[[2]int]bool{}
				w.fault = func(from, to *node, _ string) ([]byte, error) {
					dice.Lock()
					defer dice.Unlock()
					if broken[[2]int{from.index, to.index}] || !quiet && rnd.IntN(lost) == 0 {
						return nil, errUnreachable
					}
					return nil, nil
				}
				for at := d.Add(-2 * time.Hour); !at.After(d); at = at.Add(5 * time.Minute) {
					for _, n := range w.nodes {
						switch {
						case n.up && !quiet && rnd.IntN(dies) == 0:
							n.stop()
						case !n.up && (quiet || rnd.IntN(8) == 0):
							n.start()
						}
					}
					if !quiet && rnd.IntN(6) == 0 {
						broken[[2]int{rnd.IntN(5), rnd.IntN(5)}] = true
					}
					if rnd.IntN(3) == 0 {
						clear(broken)
					}
					w.until(at)
					check()
				}
				if quiet {
					w.wantCurrent(d.Format(time.DateOnly), 5)
				}
				w.until(d.Add(3 * time.Hour))
				check()
			}
			t.Logf("%d of %d days had a consensus", len(bodies), days)
			if !underRace && len(bodies) < 1 {
				t.Error("hardly any consensus")
			}
			for _, n := range w.nodes {
				if r := n.audit(w.group); !r.OK() {
					t.Errorf("authority %d: %v", n.index, r.Problems)
				}
			}
		})
	}
}

// exchange is an Exchange that remembers when it got what.
type exchange struct {
	w    *world
	list []byte
	got  []time.Time
	from []string
}

func (e *exchange) RawList() ([]byte, error) { return e.list, nil }

func (e *exchange) AddRawList(_ context.Context, gz io.Reader, from string) (inbox.Summary, error) {
	data, err := io.ReadAll(gz)
	if err != nil || !bytes.HasPrefix(data, []byte("list of ")) {
		return inbox.Summary{}, fmt.Errorf("got %q, %w", data, err)
	}
	e.got = append(e.got, e.w.now)
	e.from = append(e.from, from)
	return inbox.Summary{New: 1}, nil
}

func TestRawListsAreExchanged(t *testing.T) {
	w := newWorld(t, 3)
	var all []*exchange
	for i, n := range w.nodes {
		n.stop()
		e := &exchange{w: w, list: fmt.Appendf(nil, "list of %d", i)}
		all = append(all, e)
		c := n.config()
		c.Exchange = e
		n.open(c)
	}
	w.until(date(firstDay).Add(12 * time.Hour))
	for i, e := range all {
		if len(e.got) < 2*20 || len(e.got) > 2*30 {
			t.Errorf("authority %d got %d lists in a day", i, len(e.got))
		}
		if slices.Contains(e.from, w.nodes[i].fingerprint()) {
			t.Errorf("authority %d asked itself", i)
		}
		for _, at := range e.got {
			if left := at.Truncate(day).Add(day).Sub(at); left < time.Hour {
				t.Errorf("authority %d asked at %v, while votes are counted", i, at)
			}
		}
	}
	if got := w.nodes[0].text("current-raw-servers.gz.sig"); got != nil {
		t.Error("signatures of a list without any")
	}
}

func TestVoteListsOnlyWhatMayBe(t *testing.T) {
	w := newWorld(t, 1)
	n := w.nodes[0]
	good := n.source.listed[0]
	n.source.listed = []*directory.Descriptor{
		good, good,
		descriptor(t, 1, "Alice", nil), // the nickname of another one
		descriptor(t, 0, "other", nil), // another nickname of the same one
		descriptor(t, 1, "expired", func(f *directory.Fields) { f.ValidUntil = date(firstDay) }),
		descriptor(t, 1, "distant", func(f *directory.Fields) {
			f.ValidAfter, f.ValidUntil = date(firstDay).Add(31*day), date(firstDay).Add(40*day)
		}),
		descriptor(t, 2, "future", func(f *directory.Fields) { f.Published = begin.Add(2 * day) }),
		descriptor(t, 0, "alice", func(f *directory.Fields) { // superseded by the first
			f.Published = begin.Add(-day)
			f.ValidUntil = f.ValidAfter.Add(5 * day)
		}),
	}
	w.until(date(firstDay))
	if got := w.wantCurrent(firstDay, 1); len(got.Servers) != 1 || got.Servers[0].Digest() != good.Digest() {
		t.Errorf("listed: %v", names(got))
	}
}

// TestDiskTrouble puts directories where files should be written.
func TestDiskTrouble(t *testing.T) {
	for _, name := range []string{"public/" + firstDay + "-vote.gz", "public/" + firstDay + ".gz", "public/" + firstDay + ".gz.sig", "history/" + firstDay + ".gz"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			n := w.nodes[0]
			path := filepath.Join(n.dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
			failed := 0
			for ; w.now.Before(date(firstDay).Add(2 * time.Minute)); w.now = n.next {
				next, err := n.Step(context.Background(), w.now)
				if err != nil {
					if failed++; next.Sub(w.now) > 5*time.Minute {
						t.Fatalf("it tries again only at %v", next)
					}
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
				}
				n.next = next
			}
			if failed != 1 {
				t.Errorf("%d errors", failed)
			}
			w.wantCurrent(firstDay, 1)
		})
	}
}

func TestIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	key, fresh, err := authority.LoadIdentity(dir)
	if err != nil || !fresh || key.N.BitLen() != 3072 {
		t.Fatalf("fresh %v, %v", fresh, err)
	}
	file := filepath.Join(dir, "identity.key")
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	again, fresh, err := authority.LoadIdentity(dir)
	if err != nil || fresh || !again.Equal(key) {
		t.Fatalf("fresh %v, %v", fresh, err)
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := authority.LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), "identity.key") {
		t.Errorf("damaged: %v", err)
	}
	if err := errors.Join(os.Remove(file), os.Mkdir(filepath.Join(dir, "public"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := authority.LoadIdentity(dir); !errors.Is(err, authority.ErrNoIdentity) {
		t.Errorf("missing: %v", err)
	}
}

func TestPhaseAt(t *testing.T) {
	for at, want := range map[string]authority.Phase{
		"00:00": authority.PhaseResearch, "21:59": authority.PhaseResearch, "22:00": authority.PhaseVoting, "23:00": authority.PhaseCollect,
		"23:15": authority.PhaseCompare, "23:20": authority.PhaseTabulate, "23:30": authority.PhaseSigning, "23:59": authority.PhaseSigning,
	} {
		now, err := time.Parse("2006-01-02 15:04", firstDay+" "+at)
		if err != nil {
			t.Fatal(err)
		}
		if got := authority.PhaseAt(now); got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
}

// FuzzServe asks for arbitrary documents. Nothing may be served that is not published.
func FuzzServe(f *testing.F) {
	for _, path := range []string{"/dir/current.gz", "/dir/2026-11-21-vote.gz", "/dir/../identity.key", "/dir//", "", "/dir/upload", "/current.gz.sig"} {
		f.Add(http.MethodGet, path)
	}
	a, err := authority.Open(authority.Config{
		Dir: f.TempDir(), Identity: keys()[0], Source: &source{},
		Group: []directory.Voter{{Fingerprint: authority.Fingerprint(keys()[0]), URL: "http://a.example.com/dir/"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := a.Close(); err != nil {
			f.Error(err)
		}
	})
	if _, err := a.Step(context.Background(), begin); err != nil {
		f.Fatal(err)
	}
	handler := a.Handler()
	f.Fuzz(func(t *testing.T, method, path string) {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, &http.Request{Method: method, URL: &url.URL{Path: path}})
		page := path == "/" || path == "/dir/" || path == "/dir//"
		if rec.Code == http.StatusOK && !page {
			t.Fatalf("%s %q: status %d", method, path, rec.Code)
		}
	})
}
