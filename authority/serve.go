package authority

import (
	"context"
	"errors"
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
	data, err := a.document(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.answer(w, r, http.StatusNotFound, text, []byte("not found\n"))
	case err != nil:
		a.cfg.Logger.Error("cannot read a document to serve it", "document", name, "error", err)
		a.answer(w, r, http.StatusInternalServerError, text, []byte("internal error\n"))
	case strings.HasSuffix(name, zipSuffix):
		a.answer(w, r, http.StatusOK, "application/gzip", data)
	default:
		a.answer(w, r, http.StatusOK, "application/octet-stream", data)
	}
}

func (a *Authority) document(name string) ([]byte, error) {
	if name != rawName {
		return a.shelf.get(name)
	}
	if a.cfg.Exchange == nil {
		return nil, fs.ErrNotExist
	}
	return a.cfg.Exchange.RawList()
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
	a.fixed(w)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(body); err != nil {
		a.cfg.Logger.Debug("a client went away before it had all", "error", err)
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
	room := make(chan struct{}, maxConnections)
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

// limited accepts as many connections at a time as there is room for.
type limited struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &limitedConn{Conn: conn, room: l.room}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	room chan struct{}
	once sync.Once
}

func (c *limitedConn) Close() error {
	c.once.Do(func() { <-c.room })
	return c.Conn.Close()
}
