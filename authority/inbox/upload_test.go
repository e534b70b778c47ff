package inbox_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"mixminion/authority/inbox"
	"mixminion/dirclient"
	"mixminion/directory"
)

const form = "application/x-www-form-urlencoded"

func formOf(text []byte) string { return url.Values{"desc": {string(text)}}.Encode() }

// post sends an upload and returns the status and the text of the answer.
func post(b *inbox.Inbox, body io.Reader, change ...func(*http.Request)) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "/upload", body)
	r.Header.Set("Content-Type", form)
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	b.Upload().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func from(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }

// The replies are those of dir-spec 5.2.
func TestUploadReplies(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"approved", "rejected", "banned"} {
		w.add(descriptor(t, uint64(i), name))
		w.decide(name, inbox.Decision(name))
	}
	if _, err := w.Decide(t.Context(), "rejected", inbox.Rejected, "no reason at all"); err != nil {
		t.Fatal(err)
	}
	fresh := published(noon)
	for _, c := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"approved", formOf(descriptor(t, 0, "approved", fresh)), 200, "Status: 1\nMessage: Accepted.\n"},
		{"approved, known", formOf(descriptor(t, 0, "approved", fresh)), 200, "Status: 1\nMessage: Accepted.\n"},
		{"rejected", formOf(descriptor(t, 1, "rejected", fresh)), 200,
			"Status: 0\nMessage: Not accepted: rejected by the operator of this directory server: no reason at all\n"},
		{"banned", formOf(descriptor(t, 2, "banned", fresh)), 200, "Status: 0\nMessage: Not accepted: banned by the operator of this directory server\n"},
		{"new", formOf(descriptor(t, 3, "new")), 200,
			"Status: 1\nMessage: The descriptor is held. It will be listed when the operator of this directory server has approved the server.\n"},
		{"as the first implementation writes", "desc=" + strings.ReplaceAll(url.QueryEscape(string(descriptor(t, 0, "approved"))), "%20", "+"), 200,
			"Status: 0\nMessage: Not accepted: newer descriptors of this server take the place of this one\n"},
		{"expired", formOf(descriptor(t, 4, "old", lifetime(-9, -2))), 200, "Status: 0\nMessage: Not accepted: the descriptor has expired on 2026-11-20\n"},
		{"no descriptor", formOf([]byte("hello\x00there")), 200, "Status: 0\nMessage: Not accepted: line 1: byte 0x00 is not printable ASCII\n"},
		{"empty", "desc=", 200, "Status: 0\nMessage: Not accepted: there is no descriptor in the message\n"},
		{"no parameter", "descriptor=x", 400, "Status: 0\nMessage: The form must have one parameter desc.\n"},
		{"two parameters", "desc=x&desc=y", 400, "Status: 0\nMessage: The form must have one parameter desc.\n"},
		{"malformed", "desc=%zz", 400, "Status: 0\nMessage: The form is malformed or incomplete.\n"},
		{"long", "desc=" + strings.Repeat("x", 200_000), 413, "Status: 0\nMessage: The message is too long.\n"},
		{"just too long for a descriptor", formOf(bytes.Repeat([]byte("\n"), directory.MaxDescriptorLen+1)), 200,
			"Status: 0\nMessage: Not accepted: there is no descriptor in the message\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, got := post(w.Inbox, strings.NewReader(c.body))
			if status != c.status || got != c.want {
				t.Errorf("%d\n%swant %d\n%s", status, got, c.status, c.want)
			}
		})
	}

	status, got := post(w.Inbox, iotest.ErrReader(errors.New("gone")))
	if status != 400 || !strings.HasPrefix(got, "Status: 0\n") {
		t.Errorf("a broken connection: %d %s", status, got)
	}
	status, got = post(w.Inbox, strings.NewReader(formOf(descriptor(t, 5, "multi"))), func(r *http.Request) {
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	})
	if status != 415 || !strings.HasPrefix(got, "Status: 0\n") {
		t.Errorf("another content type: %d %s", status, got)
	}
	// The parameter must not come in the URL, where logs of proxies would keep it.
	status, _ = post(w.Inbox, strings.NewReader(""), func(r *http.Request) {
		r.URL.RawQuery = formOf(descriptor(t, 5, "query"))
	})
	if status != 400 {
		t.Errorf("a descriptor in the URL: %d", status)
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
		rec := httptest.NewRecorder()
		w.Upload().ServeHTTP(rec, httptest.NewRequest(method, "/upload", nil))
		if rec.Code != 405 || rec.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d %q", method, rec.Code, rec.Header())
		}
	}
	rec := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/upload", strings.NewReader("desc="))
	r.Header.Set("Content-Type", form+"; charset=utf-8")
	w.Upload().ServeHTTP(rec, r)
	if got := rec.Header().Get("Content-Type"); got != "text/plain" || rec.Code != 200 {
		t.Errorf("%d, the content type is %q", rec.Code, got)
	}
}

// A whole exchange over a real connection.
func TestUploadOverHTTP(t *testing.T) {
	w := newWorld(t, func(c *inbox.Config) { c.AutoApprove = true })
	server := httptest.NewServer(w.Upload())
	defer server.Close()
	resp, err := server.Client().PostForm(server.URL, url.Values{"desc": {string(descriptor(t, 1, "alice"))}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || string(body) != "Status: 1\nMessage: Accepted.\n" {
		t.Errorf("%q %v", body, err)
	}
}

// The client of our mixes understands what is said.
func TestUploadByOurClient(t *testing.T) {
	limits := inbox.DefaultLimits
	limits.Pending = 1
	w := newWorld(t, func(c *inbox.Config) { c.Limits = limits })
	w.decide(fingerprint(1), inbox.Approved)
	w.decide(fingerprint(2), inbox.Banned)
	mux := http.NewServeMux()
	mux.Handle("/base/upload", w.Upload())
	server := httptest.NewServer(mux)
	defer server.Close()
	fetcher := dirclient.NewFetcher(dirclient.FetchOptions{})
	upload := func(number uint64, name string) (dirclient.Receipt, error) {
		return fetcher.Upload(t.Context(), server.URL+"/base/", descriptor(t, number, name))
	}
	if r, err := upload(1, "approved"); err != nil || r.Pending {
		t.Errorf("%+v %v", r, err)
	}
	var rejected *dirclient.RejectedError
	if _, err := upload(2, "banned"); !errors.As(err, &rejected) {
		t.Errorf("%v", err)
	}
	if r, err := upload(3, "new"); err != nil || !r.Pending {
		t.Errorf("%+v %v", r, err)
	}
	// Where there is room for one only, somebody has to go; who is told so tries again.
	var status *dirclient.StatusError
	for i := 0; ; i++ {
		if _, err := upload(4, "newer"); err != nil {
			if !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
				t.Errorf("%v", err)
			}
			break
		}
		w.decide("newer", inbox.Pending)
		w.add(descriptor(t, 3, "new"))
		if i == 1000 {
			t.Fatal("there is always room")
		}
	}
}

func TestUploadLimits(t *testing.T) {
	limits := inbox.DefaultLimits
	limits.PerSource = inbox.Rate{Every: time.Minute, Burst: 2}
	limits.Overall = inbox.Rate{Every: time.Minute, Burst: 7}
	limits.Sources = 2
	w := newWorld(t, func(c *inbox.Config) { c.Limits = limits })
	send := func(addr string) bool {
		t.Helper()
		status, got := post(w.Inbox, strings.NewReader("desc=x"), from(addr))
		if status != 200 && (status != 429 || got != "Status: 0\nMessage: Too many uploads. Try again in an hour.\n") {
			t.Errorf("%d %q", status, got)
		}
		return status == 200
	}
	check := func(want bool, addrs ...string) {
		t.Helper()
		for _, a := range addrs {
			if send(a) != want {
				t.Errorf("%s: %v", a, !want)
			}
		}
	}
	check(true, "192.0.2.1:5", "192.0.2.200:6")
	check(false, "192.0.2.3:7", "[::ffff:192.0.2.4]:8")
	check(true, "[2001:db8:1:2::1]:1", "[2001:db8:1:ffff::1]:1")
	check(false, "[2001:db8:1:3::1]:1")
	// There is no room for more sources: they share.
	check(true, "198.51.100.1:1", "203.0.113.1:1")
	check(false, "198.51.100.1:1", "203.0.113.77:1")
	// The machine itself has no limit of its own.
	check(true, "127.0.0.1:1")
	check(false, "127.0.0.1:1", "[::1]:2", "no address")
	w.clock.Advance(time.Minute)
	check(true, "192.0.2.9:9")
	check(false, "192.0.2.9:9")
	w.clock.Advance(10 * time.Minute)
	check(true, "198.51.100.1:1", "198.51.100.1:1", "203.0.113.1:1", "203.0.113.1:1", "192.0.2.1:1")
}

func TestBehindProxy(t *testing.T) {
	limits := inbox.DefaultLimits
	limits.PerSource = inbox.Rate{Every: time.Minute, Burst: 1}
	w := newWorld(t, func(c *inbox.Config) { c.Limits, c.BehindProxy = limits, true })
	for _, c := range []struct {
		header []string
		want   int
	}{
		{[]string{"192.0.2.1"}, 200},
		{[]string{"198.51.100.1, 192.0.2.2"}, 429}, // what the sender wrote does not count
		{[]string{"192.0.2.2", "198.51.100.1"}, 200},
		{[]string{"2001:db8::1"}, 200},
		{[]string{"2001:db8::2"}, 429},
		{[]string{"rubbish"}, 200},
		{nil, 429},
	} {
		if status, _ := post(w.Inbox, strings.NewReader("desc=x"), func(r *http.Request) { r.Header["X-Forwarded-For"] = c.header }); status != c.want {
			t.Errorf("%q: %d", c.header, status)
		}
	}
}

// No address of an uploader is logged, and what strangers do cannot fill the log.
func TestUploadLog(t *testing.T) {
	var log bytes.Buffer
	limits := inbox.DefaultLimits
	limits.PerSource.Burst, limits.Pending = 20, 3
	w := newWorld(t, func(c *inbox.Config) {
		c.Logger, c.Limits = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), limits
	})
	var texts [][]byte
	for i := range uint64(20) {
		texts = append(texts, descriptor(t, i, "mix"+string('a'+rune(i))))
	}
	for i := range uint64(200) {
		post(w.Inbox, strings.NewReader(formOf(sealed(t, i%20, texts[i%20]))), from("192.0.2.77:4711"))
	}
	w.disk.SetCapacity(0)
	for _, text := range texts {
		post(w.Inbox, strings.NewReader(formOf(text)), from("[2001:db8::77]:4712"))
	}
	if regexp.MustCompile(`192\.0|2001:db8|471[12]`).Match(log.Bytes()) {
		t.Errorf("an address is logged:\n%s", log.Bytes())
	}
	if n := bytes.Count(log.Bytes(), []byte("level=WARN")); n != 2 {
		t.Errorf("%d warnings:\n%s", n, log.Bytes())
	}
	if n := bytes.Count(log.Bytes(), []byte("level=ERROR")); n != 1 {
		t.Errorf("%d errors:\n%s", n, log.Bytes())
	}
	if n := bytes.Count(log.Bytes(), []byte("level=INFO")); n > 20 {
		t.Errorf("%d lines about new servers", n)
	}
}

// A full disk is our problem, not the server's.
func TestUploadWhileTheDiskIsFull(t *testing.T) {
	w := newWorld(t)
	w.disk.SetCapacity(w.disk.Used() + 100)
	body := formOf(descriptor(t, 1, "alice"))
	if status, got := post(w.Inbox, strings.NewReader(body)); status != 503 || !strings.HasPrefix(got, "Status: 0\nMessage: This directory server has a problem") {
		t.Errorf("%d %q", status, got)
	}
	w.disk.SetCapacity(-1)
	if status, got := post(w.Inbox, strings.NewReader(body)); status != 200 || !strings.HasPrefix(got, "Status: 1\n") {
		t.Errorf("%d %q", status, got)
	}
}

var replyForm = regexp.MustCompile(`^Status: [01]\nMessage: [!-~]([ -~]{0,298}[!-~])?\n$`)

// Whatever is sent, the answer has the form of dir-spec 5.2, and 1 is said only of what is kept.
func FuzzUpload(f *testing.F) {
	good := descriptor(f, 1, "alice")
	f.Add([]byte(formOf(good)), form)
	f.Add([]byte(formOf(descriptor(f, 2, "alice"))), form)
	f.Add([]byte("desc="+string(good)), form)
	f.Add([]byte("desc=%5BServer%5D%0A&desc=x;y"), form+"; charset=x")
	f.Add([]byte("%"), "text/plain")
	f.Add(bytes.Repeat([]byte("a&"), 1000), form)
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		w := newWorld(t)
		status, got := post(w.Inbox, bytes.NewReader(body), func(r *http.Request) { r.Header.Set("Content-Type", kind) })
		if !replyForm.MatchString(got) {
			t.Fatalf("%d %q", status, got)
		}
		if ok := strings.HasPrefix(got, "Status: 1"); ok != (len(w.list()) == 1) || ok && status != 200 {
			t.Fatalf("%d %q: kept are %q", status, got, w.list())
		}
	})
}
