package cli

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"

	"mixminion/internal/config"
	"mixminion/internal/logging"
)

// slogLevel is a level of the configuration as package slog counts.
func slogLevel(l config.LogLevel) slog.Level {
	levels := map[config.LogLevel]slog.Level{
		config.LogTrace: logging.LevelTrace, config.LogDebug: slog.LevelDebug, config.LogInfo: slog.LevelInfo,
		config.LogWarn: slog.LevelWarn, config.LogError: slog.LevelError, config.LogFatal: logging.LevelFatal,
	}
	if level, ok := levels[l]; ok {
		return level
	}
	return logging.LevelNever
}

// newLogger logs to w and, since the daemon runs in the foreground, to standard error.
func newLogger(s *streams, settings *logging.Settings, w io.Writer) *slog.Logger {
	if !s.quiet {
		w = io.MultiWriter(w, s.err)
	}
	return logging.New(w, settings)
}

// A logFile is the log, which can become another file while lines are written to it.
type logFile struct {
	settings logging.Settings

	mu   sync.Mutex
	file *os.File
}

func openLogFile(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Write(p)
}

// change goes on with another file, perhaps a new one of the same name, and closes the one before.
func (l *logFile) change(file *os.File, c *config.Main) error {
	l.settings.Set(slogLevel(c.LogLevel), c.LogFormat == config.LogJSON)
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	l.file = file
	if old == nil {
		return nil
	}
	return old.Close()
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return errors.New("the log is not open")
	}
	return l.file.Close()
}
