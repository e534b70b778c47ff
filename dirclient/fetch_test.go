package dirclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// rawServer answers each connection with the given bytes and keeps what it was sent.
func rawServer(t *testing.T, answer string) (url string, sent chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sent = make(chan string, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var request strings.Builder
			for buf := make([]byte, 4096); !strings.HasSuffix(request.String(), "\r\n\r\n"); {
				n, err := conn.Read(buf)
				if err != nil {
					break
				}
				request.Write(buf[:n])
			}
			sent <- request.String()
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String() + "/", sent
}

// TestRequestIsTheSameForEverybody holds the request down to the last byte: whatever a program adds to it tells its users apart.
func TestRequestIsTheSameForEverybody(t *testing.T) {
	url, sent := rawServer(t, "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nLast-Modified: Sun, 22 Nov 2026 00:00:00 GMT\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok")
	f := NewFetcher(FetchOptions{})
	want := "GET /current.gz HTTP/1.1\r\nHost: " + strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/") +
		"\r\nUser-Agent: Mixminion\r\nCache-Control: no-cache\r\n\r\n"
	for range 2 { // the second time with all that could have been remembered
		doc, err := f.Get(t.Context(), url+CurrentName, 100)
		if err != nil || string(doc.Body) != "ok" {
			t.Fatal(string(doc.Body), err)
		}
		if got := <-sent; got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	}
}

func TestGetRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   error
	}{
		"redirect":       {"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n", ErrRedirect},
		"not modified":   {"HTTP/1.1 304 Not Modified\r\n\r\n", ErrRedirect},
		"long":           {"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx", ErrTooLarge},
		"endless":        {"HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 1000), ErrTooLarge},
		"cut":            {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxxx", io.ErrUnexpectedEOF},
		"not HTTP":       {"hello\r\n\r\n", nil},
		"nothing":        {"", nil},
		"endless header": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxResponseHeader) + "\r\n\r\n", nil},
	} {
		url, _ := rawServer(t, c.answer)
		doc, err := NewFetcher(FetchOptions{}).Get(t.Context(), url, 100)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %q, %v", name, doc.Body, err)
		}
		if err != nil && strings.Contains(err.Error(), url) {
			t.Errorf("%s: the error repeats the URL: %v", name, err)
		}
	}
	url, _ := rawServer(t, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	var status *StatusError
	if _, err := NewFetcher(FetchOptions{}).Get(t.Context(), url, 100); !errors.As(err, &status) || status.Code != 404 {
		t.Error(err)
	}
	for _, bad := range []string{"http://[::1/", "http://127.0.0.1:1/ x\x00", "gopher://127.0.0.1/"} {
		if _, err := NewFetcher(FetchOptions{}).Get(t.Context(), bad, 100); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestGetEndsWithItsTime(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "drop by drop")
		w.(http.Flusher).Flush()
		<-release
	}))
	defer slow.Close()
	defer close(release)
	// The time is over before it begins: nothing is measured.
	_, err := NewFetcher(FetchOptions{Timeout: time.Nanosecond}).Get(t.Context(), slow.URL, 100)
	if !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	context.AfterFunc(ctx, func() {})
	cancel()
	if _, err := NewFetcher(FetchOptions{}).Get(ctx, slow.URL, 100); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestSkew(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for date, want := range map[string]time.Duration{
		"Sun, 22 Nov 2026 14:00:01 GMT": 2*time.Hour + time.Second,
		"Sun, 22 Nov 2026 11:00:00 GMT": -time.Hour,
		"yesterday":                     0,
	} {
		url, _ := rawServer(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 0\r\n\r\n", date))
		doc, err := NewFetcher(FetchOptions{Now: func() time.Time { return now }}).Get(t.Context(), url, 10)
		if err != nil || doc.Skew != want {
			t.Errorf("%s: %v, %v", date, doc.Skew, err)
		}
	}
}

// TestStrangersCertificate reaches nobody whose certificate the system does not know, and tries no other way.
func TestStrangersCertificate(t *testing.T) {
	asked := false
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	var unknown *tls.CertificateVerificationError
	if _, err := NewFetcher(FetchOptions{}).Get(t.Context(), server.URL+"/current.gz", 100); !errors.As(err, &unknown) || asked {
		t.Error(err, asked)
	}
}
