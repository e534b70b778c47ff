package dirclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Errors of a download. An answer other than 200 is a *StatusError.
var (
	ErrTooLarge = errors.New("document is too large")
	ErrRedirect = errors.New("the server redirects elsewhere, which is not followed")
	ErrURL      = errors.New("not the URL of a directory server")
	ErrTimeout  = errors.New("no complete answer in time")
)

// A StatusError is the status of an HTTP answer that is not 200.
type StatusError struct{ Code int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("HTTP status %d (%s)", e.Code, http.StatusText(e.Code))
}

// UserAgent is what every program says of itself in a request: no version, no system.
const UserAgent = "Mixminion"

// DefaultTimeout bounds one request, from the look-up of the name to the last byte.
const DefaultTimeout = time.Minute

// maxResponseHeader bounds the headers of an answer, in bytes.
const maxResponseHeader = 64 << 10

// FetchOptions configures a Fetcher. The zero value connects directly.
type FetchOptions struct {
	Proxy   Proxy
	Timeout time.Duration    // for one request; 0 means DefaultTimeout
	Now     func() time.Time // time.Now by default; tells how far the clocks of servers are off
}

// A Fetcher makes requests to directory servers. It is safe for concurrent use and keeps no connection.
type Fetcher struct{ opts FetchOptions }

// NewFetcher returns a Fetcher.
func NewFetcher(o FetchOptions) *Fetcher {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Fetcher{opts: o}
}

// A Document is what a server answered.
type Document struct {
	Body []byte
	Type string // Content-Type
	// Skew is by how much the server's clock is ahead of ours, going by the Date of its answer; 0 if there was none.
	Skew time.Duration
}

// Get downloads one document of at most limit bytes.
func (f *Fetcher) Get(ctx context.Context, url string, limit int64) (Document, error) {
	s := f.session()
	defer s.close()
	return s.get(ctx, url, limit)
}

// A session is the connection to one server.
type session struct {
	*Fetcher
	transport *http.Transport
	client    *http.Client
}

func (f *Fetcher) session() *session {
	t := &http.Transport{
		Proxy:                  f.opts.Proxy.choose,
		DialContext:            (&net.Dialer{}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true},
		DisableCompression:     true, // else Go would add Accept-Encoding
		MaxConnsPerHost:        1,
		MaxResponseHeaderBytes: maxResponseHeader,
		// A map that is not nil keeps HTTP/2, with settings frames of its own, out of it.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	return &session{Fetcher: f, transport: t, client: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *session) close() { s.transport.CloseIdleConnections() }

func (s *session) get(ctx context.Context, url string, limit int64) (Document, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrURL, unwrapURL(err))
	}
	// Caches in between would keep a directory from those who need the new one, and so tell users apart.
	req.Header.Set("Cache-Control", "no-cache")
	return s.do(req, limit)
}

func (s *session) do(req *http.Request, limit int64) (doc Document, err error) {
	defer func() { err = s.explain(req.Context(), err) }()
	req.Header.Set("User-Agent", UserAgent)
	resp, err := s.client.Do(req)
	if err != nil {
		return Document{}, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return Document{}, fmt.Errorf("%w (HTTP status %d)", ErrRedirect, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return Document{}, &StatusError{resp.StatusCode}
	case resp.ContentLength > limit:
		return Document{}, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrTooLarge, resp.ContentLength, limit)
	}
	doc.Body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return Document{}, err
	}
	if int64(len(doc.Body)) > limit {
		return Document{}, fmt.Errorf("%w: at most %d bytes are taken", ErrTooLarge, limit)
	}
	doc.Type = resp.Header.Get("Content-Type")
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		doc.Skew = date.Sub(s.opts.Now()).Round(time.Second)
	}
	return doc, nil
}

// explain drops what net/http wraps around an error, which repeats the URL, and names a deadline that is over.
func (s *session) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w (%v)", ErrTimeout, s.opts.Timeout)
	}
	return unwrapURL(err)
}

func unwrapURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
