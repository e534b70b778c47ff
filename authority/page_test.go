package authority_test

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/clock"
)

var update = flag.Bool("update", false, "write the golden files anew")

func (n *node) page() string {
	n.w.t.Helper()
	text := string(n.text(""))
	checkHTML(n.w.t, text)
	return text
}

// checkHTML checks that all elements are closed in order, that nothing can run or be fetched, and that every table has headers.
func checkHTML(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(text, "<!DOCTYPE html>\n")))
	d.Entity = xml.HTMLEntity
	count := map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		count[e.Name.Local]++
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style" || a.Name.Local == "src" {
				t.Errorf("attribute %s of %s", a.Name.Local, e.Name.Local)
			}
			if a.Name.Local == "href" && strings.Contains(a.Value, "script") {
				t.Errorf("link to %s", a.Value)
			}
		}
	}
	for _, name := range []string{"script", "img", "iframe", "form", "link"} {
		if count[name] > 0 {
			t.Errorf("the page has %d %s", count[name], name)
		}
	}
	for _, name := range []string{"html", "head", "body", "title", "h1", "thead"} {
		if count[name] == 0 || name != "thead" && count[name] != 1 {
			t.Errorf("the page has %d %s", count[name], name)
		}
	}
	if count["caption"] != count["table"] || count["thead"] != count["table"] {
		t.Error("a table has no header or caption")
	}
}

func TestPageGolden(t *testing.T) {
	w := newWorld(t, 3)
	w.nodes[0].source.against["bob"] = true
	w.nodes[1].source.listed = w.nodes[1].source.listed[:2]
	w.nodes[1].source.against["bob"] = true
	w.until(date(secondDay).Add(-3 * time.Hour))
	w.nodes[2].stop()
	w.until(date(secondDay).Add(9 * time.Hour))
	got := w.nodes[0].page()
	file := filepath.Join("testdata", "page.golden.html")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Hashes depend on signatures, which are random.
	if hide(got) != hide(string(want)) {
		t.Errorf("the page has changed; look at it and run the test with -update:\n%s", got)
	}
}

// hide replaces the hash of the body, which covers random signatures.
func hide(s string) string {
	const mark = "SHA-256 of its body: <code>"
	i := strings.Index(s, mark)
	if i < 0 {
		return s
	}
	i += len(mark)
	return s[:i] + s[i+64:]
}

func TestPageOfFirstDay(t *testing.T) {
	w := newWorld(t, 2)
	w.until(begin)
	page := w.nodes[0].page()
	for _, want := range []string{"There is no directory yet", "No mix is listed", "There are no warnings"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestPageWarns(t *testing.T) {
	w := newWorld(t, 3)
	w.until(date(firstDay))
	for _, n := range w.nodes[1:] {
		n.stop()
	}
	w.until(date(secondDay).Add(time.Hour))
	page := w.nodes[0].page()
	for _, want := range []string{"<li>The directory was valid until 2026-11-22. Programs still use it, with a warning, until 2026-11-24.</li>",
		"<li>Consensus for 2026-11-22: not reached", "connection refused.</li>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	w.until(date("2026-11-25"))
	if page := w.nodes[0].page(); !strings.Contains(page, "too old; programs refuse it") {
		t.Error("the page does not say that the directory is too old")
	}
}

// TestReadersWhileItWorks lets readers look at everything all the time; the race detector judges.
func TestReadersWhileItWorks(t *testing.T) {
	w := newWorld(t, 2)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	n := w.nodes[0]
	n.stop()
	c := n.config()
	c.Clock = clock.NewManual(begin) // that of the world is for one goroutine
	n.open(c)
	handler := n.Handler()
	a := n.Authority
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, path := range []string{"/", "/current.gz", "/" + firstDay + ".gz"} {
					handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
				}
				a.Report(date(firstDay))
				a.Current()
			}
		})
	}
	w.until(date(firstDay))
	close(stop)
	readers.Wait()
	w.wantCurrent(firstDay, 2)
}

func TestPageEscapes(t *testing.T) {
	w := newWorld(t, 1)
	n := w.nodes[0]
	const hostile = `<script>alert("x")</script>'--><img src=x onerror=y>`
	n.stop()
	c := n.config()
	c.Contact, c.Policy = hostile, hostile
	n.open(c)
	n.source.listed = append(n.source.listed[:2:2], descriptor(t, 2, "mallory", func(f *directory.Fields) {
		f.Comments, f.Contact, f.Software, f.ContactFingerprint = hostile, hostile, hostile, hostile
	}))
	w.until(date(firstDay).Add(time.Hour))
	if page := n.page(); strings.Contains(page, "<script") || strings.Contains(page, "<img") || !strings.Contains(page, "mallory") ||
		!strings.Contains(page, "&lt;script&gt;") {
		t.Errorf("the page does not escape:\n%s", page)
	}
}

func TestServing(t *testing.T) {
	w := newWorld(t, 3)
	w.until(date(firstDay))
	n := w.nodes[0]
	get := func(method, path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(method, path, nil)
		req.Header.Set("Range", "bytes=0-10")
		req.Header.Set("If-Modified-Since", time.Now().UTC().Format(http.TimeFormat))
		req.Header.Set("Accept-Encoding", "gzip")
		req.Header.Set("Cookie", "a=b")
		n.Handler().ServeHTTP(rec, req)
		return rec
	}
	fp := w.nodes[1].fingerprint()
	for path, contentType := range map[string]string{
		"/dir/current.gz": "application/gzip", "/current.gz": "application/gzip", "/dir/current.gz.sig": "application/octet-stream",
		"/dir/" + firstDay + ".gz": "application/gzip", "/dir/" + firstDay + ".gz.sig": "application/octet-stream",
		"/dir/" + firstDay + "-vote.gz": "application/gzip", "/dir/" + firstDay + "-vote-" + fp + ".gz": "application/gzip",
		"/dir/": "text/html; charset=utf-8", "/": "text/html; charset=utf-8",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			rec := get(method, path)
			h := rec.Header()
			if rec.Code != 200 || h.Get("Content-Type") != contentType {
				t.Errorf("%s %s: %d, %s", method, path, rec.Code, h.Get("Content-Type"))
			}
			for name := range h {
				switch name {
				case "Content-Type", "Content-Length", "Date", "Cache-Control", "X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy":
				default:
					t.Errorf("%s: header %s", path, name)
				}
			}
			if (rec.Body.Len() == 0) != (method == http.MethodHead) {
				t.Errorf("%s %s: %d bytes", method, path, rec.Body.Len())
			}
		}
	}
	for _, path := range []string{"/dir/identity.key", "/dir/../identity.key", "/dir/" + secondDay + ".gz", "/other/current.gz", "/dir/upload",
		"/dir/current-raw-servers.gz", "/dir/authority.lock", "/dir/..%2fidentity.key", "/dir//current.gz"} {
		if rec := get(http.MethodGet, path); rec.Code != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, rec.Code)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
		if rec := get(method, "/dir/current.gz"); rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, rec.Code)
		}
	}
}
