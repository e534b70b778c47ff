package authority

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds on who connects: a directory is served to everybody.
const (
	maxConnections = 512
	maxPerSource   = 32 // connections from one IPv4 /24 or IPv6 /48
	maxHeaderBytes = 16 << 10
	headerTimeout  = 20 * time.Second
	readTimeout    = time.Minute
	writeTimeout   = 5 * time.Minute // a large vote over a thin line
	idleTimeout    = time.Minute
	stopTimeout    = 5 * time.Second
)

// Handler serves the documents of dir-spec 5.1 and ours below the path of the authority's URL, or below "/" for a proxy that takes the path
// away. Uploads go to Config.Upload. All clients get the same answers, with the same headers: nothing tells them apart, and nothing
// that a client could be asked to send back.
func (a *Authority) Handler() http.Handler {
	var bases []string
	for _, m := range a.members {
		if m.Fingerprint != a.id {
			continue
		}
		for _, base := range m.URLs {
			if u, err := url.Parse(base); err == nil && u.Path != "/" {
				bases = append(bases, u.Path)
			}
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/")
		for _, base := range bases {
			if rest, below := strings.CutPrefix(r.URL.Path, base); below {
				name, ok = rest, true
			}
		}
		if !ok {
			a.answer(w, r, http.StatusNotFound, "text/plain; charset=utf-8", []byte("not found\n"))
			return
		}
		a.serve(w, r, name)
	})
}

func (a *Authority) serve(w http.ResponseWriter, r *http.Request, name string) {
	const text = "text/plain; charset=utf-8"
	if name == uploadName && a.cfg.Upload != nil {
		a.fixed(w)
		a.cfg.Upload.ServeHTTP(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		a.answer(w, r, http.StatusMethodNotAllowed, text, []byte("only GET and HEAD\n"))
		return
	}
	if name == "" {
		page, err := a.page()
		if err != nil {
			a.cfg.Logger.Error("cannot make the page", "error", err)
			a.answer(w, r, http.StatusInternalServerError, text, []byte("internal error\n"))
			return
		}
		a.answer(w, r, http.StatusOK, "text/html; charset=utf-8", page)
		return
	}
	doc, size, err := a.document(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.answer(w, r, http.StatusNotFound, text, []byte("not found\n"))
		return
	case err != nil:
		a.cfg.Logger.Error("cannot read a document to serve it", "document", name, "error", err)
		a.answer(w, r, http.StatusInternalServerError, text, []byte("internal error\n"))
		return
	}
	contentType := "application/octet-stream"
	if strings.HasSuffix(name, zipSuffix) {
		contentType = "application/gzip"
	}
	a.copy(w, r, http.StatusOK, contentType, doc, size)
	if err := doc.Close(); err != nil {
		a.cfg.Logger.Error("cannot close a document", "document", name, "error", err)
	}
}

// document opens a document. Those on the disk are not read at once: many who read slowly must not cost much memory.
func (a *Authority) document(name string) (doc io.ReadCloser, size int64, err error) {
	if name != rawName {
		return a.shelf.open(name)
	}
	if a.cfg.Exchange == nil {
		return nil, 0, fs.ErrNotExist
	}
	data, err := a.cfg.Exchange.RawList()
	return io.NopCloser(bytes.NewReader(data)), int64(len(data)), err
}

// fixed sets the headers of all answers.
func (a *Authority) fixed(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Date", a.cfg.Clock.Now().UTC().Format(http.TimeFormat))
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", contentPolicy)
}

func (a *Authority) answer(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	a.copy(w, r, status, contentType, bytes.NewReader(body), int64(len(body)))
}

func (a *Authority) copy(w http.ResponseWriter, r *http.Request, status int, contentType string, body io.Reader, size int64) {
	a.fixed(w)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	// The error of a client that went away would put its address, that of a user, into the log; one of the disk names a file.
	if _, err := io.CopyN(w, body, size); errors.As(err, new(*fs.PathError)) {
		a.cfg.Logger.Error("cannot read all of a document to serve it", "error", err)
	}
}

// Run serves the listeners and follows the schedule until ctx is done, and returns nil then. It returns an error if it cannot serve any
// more. It closes the listeners.
func (a *Authority) Run(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		// What clients do wrong with their connections is of no interest, and must not fill the log.
		ErrorLog: log.New(discard{}, "", 0),
	}
	var serving sync.WaitGroup
	failures := make(chan error, len(listeners))
	room := newRoom(maxConnections, maxPerSource)
	for _, l := range listeners {
		serving.Go(func() {
			if err := server.Serve(&limited{Listener: l, room: room, closed: make(chan struct{})}); !errors.Is(err, http.ErrServerClosed) {
				failures <- err
				cancel()
			}
		})
	}
	a.follow(ctx)
	stop, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancelStop()
	err := server.Shutdown(stop)
	if err != nil {
		err = server.Close() // somebody is still reading; nothing is lost
	}
	serving.Wait()
	close(failures)
	for failure := range failures {
		err = errors.Join(err, failure)
	}
	return err
}

// follow keeps the schedule by the clock.
func (a *Authority) follow(ctx context.Context) {
	for ctx.Err() == nil {
		now := a.cfg.Clock.Now()
		next, err := a.Step(ctx, now)
		if err != nil && ctx.Err() == nil {
			a.cfg.Logger.Error("the directory authority cannot do what is due; it will try again", "error", err)
		}
		// A clock that is set while we sleep must not make us miss the hour.
		wait := min(next.Sub(a.cfg.Clock.Now()), longestSleep)
		select {
		case <-ctx.Done():
		case <-a.cfg.Clock.After(wait):
		}
	}
}

const longestSleep = 5 * time.Minute

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
