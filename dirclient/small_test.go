package dirclient

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"mixminion/internal/testnet/testdir"
)

func TestNextDownload(t *testing.T) {
	noon := today.Add(12 * time.Hour)
	for name, c := range map[string]struct{ last, from, until time.Time }{
		"downloaded today": {today, tomorrow, tomorrow.Add(day)},
		"yesterday":        {yesterday, noon, tomorrow},
		"long ago":         {yesterday.AddDate(0, -1, 0), noon, tomorrow},
		"clock set back":   {tomorrow.Add(day), tomorrow, tomorrow.Add(day)},
	} {
		var buckets [4]int
		for range 1000 {
			next, err := NextDownload(rand.Reader, noon, c.last)
			if err != nil || next.Before(c.from) || !next.Before(c.until) {
				t.Fatalf("%s: %v, %v", name, next, err)
			}
			buckets[int(4*next.Sub(c.from)/c.until.Sub(c.from))]++
		}
		for _, n := range buckets {
			if n < 150 || n > 350 { // eight standard deviations
				t.Errorf("%s: not uniform: %v", name, buckets)
			}
		}
	}
	if next, err := NextDownload(rand.Reader, noon, time.Time{}); err != nil || !next.Equal(noon) {
		t.Error(next, err)
	}
	if _, err := NextDownload(bytes.NewReader(nil), noon, today); err == nil {
		t.Error("no error without randomness")
	}
}

func TestNextRetry(t *testing.T) {
	for failures, wait := range map[int]time.Duration{-1: minRetry, 0: minRetry, 1: minRetry, 2: 2 * minRetry, 5: 16 * minRetry, 6: maxRetry, 99: maxRetry} {
		for range 100 {
			next, err := NextRetry(rand.Reader, today, failures)
			if got := next.Sub(today); err != nil || got < wait/2 || got >= wait+wait/2 {
				t.Fatalf("%d failures: %v, %v", failures, got, err)
			}
		}
	}
}

func TestDue(t *testing.T) {
	for _, c := range []struct {
		now, last time.Time
		want      bool
	}{
		{today, time.Time{}, true},
		{today, yesterday, true},
		{today.Add(-time.Second), yesterday, false},
		{today.Add(day - time.Second), today, false},
		{today, tomorrow, false},
		{today.In(time.FixedZone("", -3600)), yesterday, true},
	} {
		if got := Due(c.now, c.last); got != c.want {
			t.Errorf("%v, %v: %v", c.now, c.last, got)
		}
	}
}

func TestCheckVersion(t *testing.T) {
	for _, c := range []struct {
		list    []string
		version string
		want    Advice
	}{
		{nil, "0.1.0", VersionFine},
		{[]string{"0.0.7.1", "0.0.8alpha3", "0.0.8"}, "0.1.0", VersionFine}, // only the first implementation's
		{[]string{"0.0.8", "0.1.0"}, "0.1.0", VersionFine},
		{[]string{"0.1.0", "0.2.0"}, "0.1.0", VersionFine},
		{[]string{"0.0.8", "0.1.1"}, "0.1.0", VersionObsolete},
		{[]string{"0.1.0", "0.1.2"}, "0.1.1", VersionObsolete},
		{[]string{"0.1.0"}, "0.1.0rc1", VersionObsolete},
		{[]string{"0.1.0alpha1"}, "0.1.0", VersionNew},
		{[]string{"0.0.8", "0.1.9"}, "0.1.10", VersionNew},
		{[]string{"0.1.0"}, "1.0.0", VersionNew},
	} {
		if got := CheckVersion(c.list, c.version); got != c.want {
			t.Errorf("%v, %s: %d, want %d", c.list, c.version, got, c.want)
		}
	}
}

func TestParseProxy(t *testing.T) {
	for _, good := range []string{"", "none", "environment", "http://127.0.0.1:8118", "socks5://user:pass@[::1]:9050/", "socks5h://a:1", "https://a"} {
		if _, err := ParseProxy(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"127.0.0.1:9050", "tor", "socks4://a:1", "http://", "http:///", "http://a/b", "http://a/?b", "socks5://a:1#b", "socks5://a:x:y", "://"} {
		if _, err := ParseProxy(bad); !errors.Is(err, ErrProxy) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestProxyAndEnvironment(t *testing.T) {
	env := map[string]string{"all_proxy": "socks5://127.0.0.1:1"}
	getenv := func(name string) string { return env[name] }
	p, err := DecideProxy("", getenv)
	if err != nil {
		t.Fatal(err)
	}
	c := New(Options{Dir: t.TempDir(), Trusted: testdir.Authorities(1, "http://127.0.0.1:1/"), Fetch: FetchOptions{Proxy: p}})
	if _, err := c.Update(t.Context()); !errors.Is(err, ErrProxy) || strings.Count(err.Error(), "Proxy: none") != 1 {
		t.Error(err)
	}
	for _, decided := range []string{"none", "environment", "http://127.0.0.1:8118"} {
		if p, err := DecideProxy(decided, getenv); err != nil || p.refusal != nil {
			t.Error(err)
		}
	}
	if p, err := DecideProxy("", func(string) string { return "" }); err != nil || p != (Proxy{}) {
		t.Error(err)
	}
	// The environment is read only when the configuration says so.
	t.Setenv("all_proxy", "socks5://127.0.0.1:1")
	for _, name := range ProxyVariables {
		if name != "all_proxy" {
			t.Setenv(name, "")
		}
	}
	r, err := http.NewRequest(http.MethodGet, "http://dir.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if u, err := (Proxy{}).choose(r); u != nil || err != nil {
		t.Error(u, err)
	}
	// What the environment asks for and the library does not understand must not become a direct connection.
	if u, err := (Proxy{environment: true}).choose(r); u != nil || !errors.Is(err, ErrProxy) {
		t.Error(u, err)
	}
}

// TestProxyIsUsed downloads through a proxy, which is given the name of the host.
func TestProxyIsUsed(t *testing.T) {
	url, sent := rawServer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	p, err := ParseProxy(url)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := NewFetcher(FetchOptions{Proxy: p}).Get(t.Context(), "http://dir.invalid/current.gz", 10)
	if err != nil || string(doc.Body) != "ok" {
		t.Fatal(err)
	}
	want := "GET http://dir.invalid/current.gz HTTP/1.1\r\nHost: dir.invalid\r\nUser-Agent: Mixminion\r\nCache-Control: no-cache\r\n\r\n"
	if got := <-sent; got != want {
		t.Errorf("%q", got)
	}
}
