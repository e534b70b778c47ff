package authority

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"mixminion/directory"
)

// ErrNotFound is what a Fetcher returns when the other authority answers that it has no such document.
var ErrNotFound = errors.New("not published there")

// A Fetcher gets documents of other authorities.
type Fetcher interface {
	// Fetch gets the document at a URL as it is, at most limit bytes. The error is or wraps ErrNotFound if there is none.
	Fetch(ctx context.Context, url string, limit int64) (Fetched, error)
}

// Fetched is a document and the time that the other side gave with it, zero if none.
type Fetched struct {
	Body []byte
	Date time.Time
}

const (
	// fetchTimeout bounds one document, connecting included.
	fetchTimeout = 45 * time.Second
	// roundTimeout bounds all that is got of one member in one round.
	roundTimeout = 90 * time.Second
	// roundBytes bounds what one member can make us hold in one round.
	roundBytes = 64 << 20
)

// HTTPFetcher is the Fetcher that programs use. Its requests are always the same: no cookies, no conditions, no redirects, no proxy.
type HTTPFetcher struct{ client *http.Client }

// NewHTTPFetcher returns an HTTPFetcher; Close frees its connections.
func NewHTTPFetcher() *HTTPFetcher {
	return &HTTPFetcher{client: &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        time.Minute,
			ResponseHeaderTimeout:  fetchTimeout,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       fetchTimeout,
	}}
}

// Close ends the connections that wait for more to do.
func (f *HTTPFetcher) Close() { f.client.CloseIdleConnections() }

// Fetch implements Fetcher.
func (f *HTTPFetcher) Fetch(ctx context.Context, url string, limit int64) (_ Fetched, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Fetched{}, err
	}
	req.Header.Set("User-Agent", "mixminion")
	resp, err := f.client.Do(req)
	if err != nil {
		return Fetched{}, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	var out Fetched
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		out.Date = date
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return out, ErrNotFound
	default:
		return out, fmt.Errorf("the answer is HTTP status %d", resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return out, err
	}
	if int64(len(data)) > limit {
		return out, errTooLong
	}
	out.Body = data
	return out, nil
}

// A want is one document that is looked for at one member.
type want struct {
	from  directory.Authority
	name  string
	limit int64 // of the document, compressed and not
	zip   bool  // leave it compressed
	// got takes the answer, err is nil, ErrNotFound, or why the document could not be had. Calls do not overlap.
	got func(f Fetched, err error)
}

// round gets documents: from several members at a time, from one of them one after the other. A member that cannot be reached is not
// asked for the rest, which counts as failed for the same reason. Answers are handed out when all are there, in the order of wants.
func (a *Authority) round(ctx context.Context, wants []want) {
	type answer struct {
		f   Fetched
		err error
	}
	answers := make([]answer, len(wants))
	members := map[string][]int{}
	for i, w := range wants {
		members[w.from.Fingerprint] = append(members[w.from.Fingerprint], i)
	}
	done := make(chan struct{})
	for _, mine := range members {
		go func() {
			defer func() { done <- struct{}{} }()
			ctx, cancel := context.WithTimeout(ctx, roundTimeout)
			defer cancel()
			var down error
			left := int64(roundBytes)
			for _, i := range mine {
				if down != nil {
					answers[i].err = down
					continue
				}
				w := wants[i]
				w.limit = min(w.limit, left)
				f, err := a.fetch(ctx, w)
				left -= int64(len(f.Body))
				answers[i] = answer{f, err}
				if err != nil && f.Date.IsZero() {
					down = err
				}
			}
		}()
	}
	for range members {
		<-done
	}
	for i, w := range wants {
		if d := answers[i].f.Date; !d.IsZero() {
			a.noteClock(w.from.Fingerprint, d)
		}
		w.got(answers[i].f, answers[i].err)
	}
}

// fetch tries all URLs of a member until one has the document.
func (a *Authority) fetch(ctx context.Context, w want) (f Fetched, err error) {
	for _, url := range w.from.URLs {
		if f, err = a.cfg.Fetcher.Fetch(ctx, url+w.name, w.limit); err == nil {
			break
		}
	}
	if err == nil && !w.zip && strings.HasSuffix(w.name, zipSuffix) {
		f.Body, err = decompress(f.Body, w.limit)
	}
	return f, err
}
