package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const network = `package mmtp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"time"

	"mixminion/internal/logging"
	"mixminion/internal/store"
)

type hidden string

func (hidden) LogValue() slog.Value { return slog.StringValue("[hidden]") }

type peer struct {
	host, nickname string
	at             netip.Addr
}

func good(l *slog.Logger, p *peer, err error, n int, s hidden, r *store.Store) {
	const constant = "c"
	l.Info("line", "n", n, "error", err, "at", time.Now(), "for", time.Second, constant, constant, "s", s, "none", nil)
	l.Log(context.Background(), slog.LevelWarn, "line", "nickname", p.nickname, slog.Int("n", n), slog.Group("g", "n", n))
	l.With("host", logging.Public(p.host)).Warn("line", "bytes", len(p.host), "far", p.at.Is6(), "size", r.Len())
	text := "a" + p.nickname
	l.Debug(text)
	warn(l, "line", "n", n)
	l.Info("address", "file", store.Name(3))
}

func bad(l *slog.Logger, p *peer, conn net.Conn, u *url.URL, b []byte, id store.ID, err error, addr string) error {
	l.Info("line", "at", p.at)                               // bad
	l.Info("line", "at", p.at.String())                      // bad
	l.Info("from " + conn.RemoteAddr().String())             // bad
	l.Info(fmt.Sprintf("from %v", p.at))                     // bad
	l.Info("line", "peer", p)                                // bad
	l.Info("line", "host", p.host)                           // bad
	l.Info("line", "addr", addr)                             // bad
	l.Info("line", "url", u)                                 // bad
	l.Info("line", "host", u.Hostname())                     // bad
	l.Info("line", "text", string(b))                        // bad
	l.Info("line", "text", hex.EncodeToString(b))            // bad
	l.Info("line", "id", id)                                 // bad
	l.Info("line", "id", uint64(id))                         // bad
	l.Info("line", "ids", []store.ID{id})                    // bad
	l.With("at", p.at).Error("line")                         // bad
	l.Error("line", slog.Any("at", p.at))                    // bad
	l.Error("line", slog.Group("g", slog.String("b", string(b)))) // bad
	l.Error("line", "at", logging.Public(p.at.String()))     // bad
	l.LogAttrs(context.Background(), slog.LevelWarn, "line", slog.String("host", p.host)) // bad
	warn(l, "line", "at", p.at)                              // bad
	deeper(l, "at", p.at)                                    // bad
	slog.Info("line")                                        // bad
	log.Print("line")                                        // bad
	text := "from " + p.at.String()                          // bad
	also := text
	l.Info(also)
	var list []string
	for _, a := range []netip.Addr{p.at} {
		list = append(list, a.String()) // bad
		l.Info("list", "a", list[0])
	}
	if err != nil {
		return fmt.Errorf("packet %x: %w", id, err)          // bad
	}
	return errors.New("b")
}

func warn(l *slog.Logger, line string, args ...any) { l.Warn(line, args...) }

func deeper(l *slog.Logger, args ...any) { warn(l, "line", args...) }
`

const storage = `package store

type ID uint64

type Store struct{}

func (*Store) Len() int { return 0 }

func Name(n int) string { return "" }
`

const lines = `package logging

type Public string
`

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module mixminion\n\ngo 1.26\n", "mmtp/a.go": network, "internal/store/a.go": storage, "internal/logging/a.go": lines,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	packages, err := load(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	place := regexp.MustCompile(`^mmtp/a\.go:(\d+): `)
	problems := check(packages)
	for i, line := range strings.Split(network, "\n") {
		prefix := "mmtp/a.go:" + strconv.Itoa(i+1) + ": "
		is := slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, prefix) })
		if is != strings.HasSuffix(line, "// bad") {
			t.Errorf("%sreported: %t", prefix+line+": ", is)
		}
	}
	for _, p := range problems {
		if !place.MatchString(p) {
			t.Error(p)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(problems, "\n"))
	}
	if _, err := load(t.Context(), t.TempDir()); err == nil {
		t.Error("loads a directory without a module")
	}
}
