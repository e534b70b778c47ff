// Package logging is how the daemons log: the levels and the form of line of the first implementation, or JSON; and nothing that could tell
// who talks to whom.
//
// What is logged is judged by its type. Numbers, times, texts, errors and [Public] are let through; everything else,
// such as addresses, bytes, hashes, identifiers of packets and keys, and types that are not known here, is replaced by
// the name of what it is. In the texts, and in those of errors and of what they wrap, addresses, mailboxes and hashes
// are replaced too. A linter (internal/lint/logs) sees to it that nothing is made a text beforehand.
//
// Caveat: a host name in a text that no error of the system's resolver accompanies cannot be told from other words. Errors that name one
// say so by a method Private.
package logging

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// The levels beside those of package slog.
const (
	LevelTrace = slog.LevelDebug - 4
	LevelFatal = slog.LevelError + 4
	LevelNever = slog.LevelError + 1000
)

// levelName names a level as the first implementation does.
func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "TRACE"
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARN"
	case l < LevelFatal:
		return "ERROR"
	}
	return "FATAL"
}

// Settings are what can change while lines are written. The zero value logs text from level INFO.
type Settings struct {
	level slog.LevelVar
	json  atomic.Bool
}

// Set changes the level and the form.
func (s *Settings) Set(level slog.Level, json bool) {
	s.level.Set(level)
	s.json.Store(json)
}

// New returns a logger that writes lines to w, each with one call of Write.
func New(w io.Writer, s *Settings) *slog.Logger {
	lines := &lines{w: w}
	return slog.New(&handler{settings: s, lines: lines, json: slog.NewJSONHandler(lines, &slog.HandlerOptions{
		Level: LevelTrace, ReplaceAttr: nameLevel,
	})})
}

// lines lets lines through one by one.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// nameLevel writes the level as its name.
func nameLevel(groups []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey {
		return slog.String(slog.LevelKey, levelName(level))
	}
	return a
}

// handler writes redacted records in the form that is set.
type handler struct {
	settings *Settings
	lines    *lines
	json     slog.Handler // with the groups and attributes of this one
	group    string       // a prefix of keys in text: "a.b."
	attrs    []byte       // in text, each with a blank before it
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.settings.level.Level()
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	clean := slog.NewRecord(r.Time.Truncate(time.Millisecond), r.Level, redactText(r.Message), 0)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redact(a))
		return true
	})
	if h.settings.json.Load() {
		return h.json.Handle(ctx, clean)
	}
	line := appendHead(nil, clean)
	line = append(line, h.attrs...)
	clean.Attrs(func(a slog.Attr) bool {
		line = appendAttr(line, h.group, a)
		return true
	})
	_, err := h.lines.Write(append(line, '\n'))
	return err
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	clean := make([]slog.Attr, len(attrs))
	with.attrs = h.attrs[:len(h.attrs):len(h.attrs)]
	for i, a := range attrs {
		clean[i] = redact(a)
		with.attrs = appendAttr(with.attrs, h.group, clean[i])
	}
	with.json = h.json.WithAttrs(clean)
	return &with
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.group += name + "."
	with.json = h.json.WithGroup(name)
	return &with
}
