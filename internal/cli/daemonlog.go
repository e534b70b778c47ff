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

// terminalLogger shows lines of a level and above to who gave a command.
func terminalLogger(s *streams, level slog.Level) *slog.Logger {
	if s.quiet {
		return slog.New(slog.DiscardHandler)
	}
	var settings logging.Settings
	settings.Set(level, false)
	return logging.New(s.err, &settings)
}

// A logFile is the log, which can become another file while lines are written to it. The lines go to the terminal, too, unless it shall be
// quiet and EchoMessages is no.
type logFile struct {
	settings logging.Settings
	terminal io.Writer
	quiet    bool

	mu   sync.Mutex
	file *os.File
	echo bool
}

func openLogFile(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.file.Write(p)
	if l.echo {
		_, _ = l.terminal.Write(p) // nobody to tell if the terminal is gone
	}
	return n, err
}

// change goes on with another file, perhaps a new one of the same name, and closes the one before.
func (l *logFile) change(file *os.File, c *config.Main) error {
	l.settings.Set(slogLevel(c.LogLevel), c.LogFormat == config.LogJSON)
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	l.file, l.echo = file, !l.quiet || c.EchoMessages
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
