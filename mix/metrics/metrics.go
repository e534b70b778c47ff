// Package metrics tells a Prometheus server on the same machine how a mix does, no finer than its statistics file may:
// by full hours that are over, in hundreds. Between two full hours every answer is the same. What other programs show
// beside, such as the memory and the processor time of the process, is left out, since it follows single packets.
//
// The answers are in the text format of Prometheus, version 0.0.4. It is written by hand: the usual library would bring
// eight modules into the programs, also that of the users. The tests read the answers with the parser of that project.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"mixminion/mix"
)

// Path is where the metrics are.
const Path = "/metrics"

// Limits on those who ask.
const (
	maxConnections = 16
	maxHeader      = 8 << 10
	patience       = 10 * time.Second // for a request, and for its answer to be taken
)

// A Server answers who asks for the metrics. Close it.
type Server struct {
	http  *http.Server
	addr  netip.AddrPort
	ended chan error
}

// ErrNotLoopback says that metrics were to be shown to other machines.
var ErrNotLoopback = errors.New("metrics are shown to this machine only: the address must be a loopback one, such as 127.0.0.1 or ::1")

// Listen begins to serve at an address of loopback. Each answer tells what last returns; nil means that there is nothing to tell.
func Listen(ctx context.Context, addr netip.AddrPort, version string, last func() *mix.Hour) (*Server, error) {
	if !addr.Addr().IsLoopback() {
		return nil, ErrNotLoopback
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	s := &Server{
		addr: listener.Addr().(*net.TCPAddr).AddrPort(), ended: make(chan error, 1),
		http: &http.Server{
			Handler: guard(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
				_, _ = w.Write(text(version, last())) // who does not take it gets none
			}),
			ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		},
	}
	go func() {
		s.ended <- s.http.Serve(&limited{Listener: listener, free: make(chan struct{}, maxConnections)})
	}()
	return s, nil
}

// Addr is where it serves.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Close ends all connections.
func (s *Server) Close() error {
	err := s.http.Close()
	if serr := <-s.ended; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// guard lets through what a Prometheus server asks for, and nothing that a web page can make a browser on this machine
// ask: a page that has its own name point to loopback is known by the name, another one by the headers that browsers
// add.
func guard(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		site := r.Header.Get("Sec-Fetch-Site")
		switch {
		case !names(r.Host):
			http.Error(w, "use the address of loopback, or localhost", http.StatusMisdirectedRequest)
		case r.Header.Get("Origin") != "" || site != "" && site != "none" && site != "same-origin":
			http.Error(w, "not for other sites", http.StatusForbidden)
		case r.URL.Path != Path:
			http.Error(w, "there is "+Path+" only", http.StatusNotFound)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "GET only", http.StatusMethodNotAllowed)
		default:
			next(w, r)
		}
	})
}

// names reports whether a Host header names loopback itself.
func names(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
