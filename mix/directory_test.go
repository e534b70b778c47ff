package mix_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/testnet/testdir"
	"mixminion/mix"
)

// An uploadSite is a directory server that takes descriptors.
type uploadSite struct {
	*testdir.Site
	mu      sync.Mutex
	answer  string // "" is a failure of the server
	uploads map[crypt.Digest]int
	asked   int
}

func newUploadSite(t *testing.T) *uploadSite {
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
	s := &uploadSite{Site: site, answer: "Status: 1\nMessage: Accepted.\n", uploads: map[crypt.Digest]int{}}
	site.OnUpload(func(w http.ResponseWriter, r *http.Request) {
		d, err := directory.ParseDescriptor([]byte(r.PostFormValue("desc")))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		if err != nil || s.answer == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		s.uploads[d.Digest()]++
		w.Header().Set("Content-Type", "text/plain")
		_, _ = fmt.Fprint(w, s.answer)
	})
	return s
}

func (s *uploadSite) reply(answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// took returns how often a descriptor was uploaded.
func (s *uploadSite) took(d *directory.Descriptor) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uploads[d.Digest()]
}

func (s *uploadSite) attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func TestPublish(t *testing.T) {
	good, broken, strict := newUploadSite(t), newUploadSite(t), newUploadSite(t)
	broken.reply("")
	strict.reply("Status: 0\nMessage: Not here.\n")
	r := newRig(t, func(c *mix.Config) { c.PublishTo = []string{good.URL, broken.URL, strict.URL} }).open()
	r.run()
	first := r.mix.Descriptors()[0]
	eventually(t, "the descriptor is published", func() bool { return good.took(first) == 1 && strict.took(first) == 1 })
	eventually(t, "a server fails", func() bool { return broken.attempts() == 1 })
	// The next day begins in 15 hours.
	eventually(t, "two of the three wait for the next day", func() bool { return r.clk.timers(15*time.Hour, 39*time.Hour) == 2 })

	// What failed is tried again and again, without a line in the log for each time.
	eventually(t, "more attempts", func() bool {
		r.clk.Advance(10 * time.Minute)
		return broken.attempts() >= 4
	})
	if n := r.log.count("cannot publish"); n != 1 {
		t.Errorf("%d lines about failures", n)
	}
	broken.reply("Status: 1\nMessage: Wait for the operator.\n")
	eventually(t, "the server that failed has it", func() bool {
		r.clk.Advance(10 * time.Minute)
		return broken.took(first) > 0
	})
	eventually(t, "lines in the log", func() bool {
		return r.log.count("Wait for the operator") > 0 && r.log.count("Not here.") > 0 && r.log.count("the descriptor is published") > 0
	})

	// Once in a day they all get it again.
	before := good.took(first)
	r.clk.Advance(2 * day)
	eventually(t, "it is published again", func() bool { return good.took(first) > before })

	// A new descriptor goes out at once, when no time passes any more.
	fresh := first
	for fresh.Digest() == first.Digest() {
		r.clk.Advance(day)
		r.clk.await(t, time.Hour) // the keys have been looked after
		list := r.mix.Descriptors()
		fresh = list[len(list)-1]
	}
	eventually(t, "the new descriptor is published", func() bool { return good.took(fresh) > 0 && broken.took(fresh) > 0 })
	r.close()
}

func TestDownload(t *testing.T) {
	site := newUploadSite(t)
	today := start.Truncate(day)
	r := newRig(t, func(c *mix.Config) {
		c.Software = "Mixminion 9"
		c.Directories = dirclient.Options{Dir: filepath.Join(filepath.Dir(c.KeyDir), "work", "dir"), Trusted: testdir.Authorities(3, site.URL)}
	}).open()
	publish := func(day time.Time, servers ...*directory.Descriptor) {
		t.Helper()
		all := []int{0, 1, 2}
		if err := site.Publish(testdir.Spec{Day: day, Servers: servers, Signers: all, Detached: all, Versions: []string{"99.0"}}); err != nil {
			t.Fatal(err)
		}
	}
	other, err := testdir.Server("other", 0, today, nil)
	if err != nil {
		t.Fatal(err)
	}
	holds := func(day time.Time) func() bool {
		return func() bool {
			d, err := r.mix.Directory()
			if err != nil {
				t.Error(err)
			}
			return d != nil && d.ValidAfter.Equal(day)
		}
	}
	if d, err := r.mix.Directory(); d != nil || err != nil {
		t.Error(d, err)
	}
	publish(today, r.mix.Descriptors()[0], other)
	r.run()
	eventually(t, "the first directory", holds(today))
	eventually(t, "lines in the log", func() bool {
		return r.log.count("listed=true recommended=true") == 1 && r.log.count("there is a new directory") == 1
	})

	if st := r.mix.Status(); !st.Directory.Equal(today) || !st.Listed || !st.Recommended {
		t.Errorf("%+v", st)
	}

	tomorrow := today.Add(day)
	publish(tomorrow, other)
	// The mix waits for a moment of the next day, which begins in 15 hours.
	eventually(t, "the mix waits for the next day", func() bool { return r.clk.timers(15*time.Hour, 39*time.Hour) == 1 })
	r.clk.Advance(39*time.Hour - time.Second)
	eventually(t, "the directory of the next day", holds(tomorrow))
	eventually(t, "lines in the log", func() bool { return r.log.count("listed=false recommended=false") == 1 })
	if st := r.mix.Status(); !st.Directory.Equal(tomorrow) || st.Listed || st.Recommended {
		t.Errorf("%+v", st)
	}

	// The authorities vanish: a line when it begins, and no more that day.
	site.Put(map[string][]byte{dirclient.CurrentName: nil, dirclient.CurrentSigName: nil})
	eventually(t, "a failure", func() bool {
		r.clk.Advance(10 * time.Minute)
		return r.log.count("cannot download the directory") == 1
	})
	for range 12 {
		r.clk.Advance(10 * time.Minute)
	}
	r.close()
	if n := r.log.count("cannot download the directory"); n > 1 {
		t.Errorf("%d lines", n)
	}
	// A warning that stays the same is given once.
	if n := r.log.count("no longer recommend version 9"); n != 1 {
		t.Errorf("%d warnings about the version", n)
	}
}

func TestDirectoriesOfTheConfiguration(t *testing.T) {
	const authority = "0123456789ABCDEF0123456789ABCDEF01234567"
	lines := func(list ...string) string {
		return leastConfig + "[DirectoryServers]\n" + strings.Join(list, "\n") + "\n"
	}
	c, err := fromConfig(t, lines("Authority: "+authority+" http://a/", "ServerURL: http://m/", "Publish: yes", "Proxy: socks5://127.0.0.1:9050"))
	if err != nil {
		t.Fatal(err)
	}
	if o := c.Directories; len(o.Trusted) != 1 || o.Trusted[0].Fingerprint != authority || o.Mirrors[0] != "http://m/" || o.Dir != filepath.Join("/var/mix/work", "dir") {
		t.Errorf("%+v", o)
	}
	if len(c.PublishTo) != 1 || c.PublishTo[0] != "http://a/" {
		t.Error(c.PublishTo)
	}
	if c, err = fromConfig(t, lines("Authority: "+authority+" http://a/", "Publish: yes", "PublishURL: http://b/")); err != nil || len(c.PublishTo) != 1 || c.PublishTo[0] != "http://b/" {
		t.Error(c.PublishTo, err)
	}
	if c, err = fromConfig(t, lines("Authority: "+authority+" http://a/")); err != nil || c.PublishTo != nil {
		t.Error(c.PublishTo, err)
	}
	for text, want := range map[string]string{"Publish: yes": "no directory server to publish to is known", "Proxy: tor": "proxy"} {
		if _, err := fromConfig(t, lines(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "[DirectoryServers]") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
