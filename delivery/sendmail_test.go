package delivery_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"mixminion/delivery"
)

// command is a shell script in the place of sendmail. It keeps, beside itself, its arguments and the mail of each run.
func command(t *testing.T, end string) (path string, runs func() []string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		missing(t, "a POSIX shell is missing")
	}
	dir := t.TempDir()
	path = filepath.Join(dir, "sendmail")
	text := fmt.Sprintf("#!/bin/sh\nn=1; while [ -e %[1]s/$n ]; do n=$((n+1)); done\n"+
		"for a; do printf '[%%s]' \"$a\"; done > %[1]s/$n\necho >> %[1]s/$n\ncat >> %[1]s/$n\n%[2]s\n", dir, end)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, func() (all []string) {
		for n := 1; ; n++ {
			text, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(n)))
			if err != nil {
				return all
			}
			all = append(all, string(text))
		}
	}
}

func byCommand(args ...string) delivery.SMTPConfig {
	cfg := config("")
	cfg.Servers, cfg.Command = nil, args
	cfg.MaximumRecipients = 8
	return cfg
}

// Each recipient has a run of the command, whose arguments no shell sees.
func TestSendmail(t *testing.T) {
	path, runs := command(t, "")
	x := newSMTP(t, byCommand(path, "-oi", "$(touch x);*"))
	if err := x.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	got, err := deliver(t.Context(), t, x, []delivery.Item{item(t, 1, "b`id`@x.org\x00a@x.org", "\nhello\n.\nthere\n")})
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, ok)
	all := runs()
	if len(all) != 2 {
		t.Fatalf("%d runs", len(all))
	}
	for i, to := range []string{"a@x.org", "b`id`@x.org"} {
		args, text, _ := strings.Cut(all[i], "\n")
		if want := "[-oi][$(touch x);*][-i][-f][nobody@exit.example.org][--][" + to + "]"; args != want {
			t.Errorf("arguments %s, want %s", args, want)
		}
		if !strings.HasPrefix(text, "To: a@x.org,\n b`id`@x.org\nFrom: ") || strings.Contains(text, "\r") || !strings.Contains(text, "\nhello\n.\nthere\n") {
			t.Errorf("mail\n%s", text)
		}
	}
}

// A recipient must not pass for an option, whatever the command makes of "--".
func TestSendmailRecipientLikeAnOption(t *testing.T) {
	path, runs := command(t, "")
	got, err := deliver(t.Context(), t, newSMTP(t, byCommand(path)), batch(t, "-oQ/tmp@x.org", "a@x.org"))
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, malformed, ok)
	if n := len(runs()); n != 1 {
		t.Errorf("%d runs", n)
	}
}

func TestSendmailExitCodes(t *testing.T) {
	for _, tt := range []struct {
		end   string
		want  delivery.Outcome
		fails bool // says something for the operator
	}{
		{"exit 0", ok, false},
		{"echo a@example.com >&2; exit 75", deferred, false},
		{"exit 65", refused, false},
		{"exit 67", refused, false},
		{"exit 68", refused, false},
		{"echo a@example.com; exit 1", unavailable, true},
		{"exit 64", unavailable, true},
		{"exit 69", unavailable, true},
		{"exit 77", unavailable, true},
		{"exit 127", unavailable, true},
		{"kill -9 $$", unsure, true},
	} {
		t.Run(tt.end, func(t *testing.T) {
			path, _ := command(t, tt.end)
			var log bytes.Buffer
			cfg := byCommand(path)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com"))
			if err != nil {
				t.Error(err)
			}
			wantOutcomes(t, got, tt.want)
			if text := log.String(); (text != "") != tt.fails || strings.Contains(text, "example.com") {
				t.Errorf("log:\n%s", text)
			}
			if !tt.fails {
				return
			}
			got, err = deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com", "b@example.com", "c@example.com", "d@example.com"))
			wantOutcomes(t, got, tt.want, tt.want, tt.want)
			if err == nil {
				t.Error("the batch goes on")
			}
		})
	}
}

// A command that was done for some of the addresses is not run for them again.
func TestSendmailSettles(t *testing.T) {
	path, runs := command(t, `case "$5" in b@*) exit 75;; esac`)
	it := item(t, 1, "a@x.org\x00b@x.org\x00c@x.org", "\nhello\n")
	var settled []uint8
	it.Settle = func(served uint8) {
		settled = append(settled, served)
		if n := len(runs()); n != 1 && n != 3 {
			t.Errorf("told after %d runs", n)
		}
	}
	got, err := deliver(t.Context(), t, newSMTP(t, byCommand(path)), []delivery.Item{it})
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, delivery.Outcome{Status: delivery.Retry, Reason: delivery.Deferred, Served: 0b101})
	if len(settled) != 2 || settled[0] != 0b001 || settled[1] != 0b101 {
		t.Errorf("settled %b", settled)
	}
}

// A command that hangs is killed; what it did with the mail nobody knows.
func TestSendmailHangs(t *testing.T) {
	path, _ := command(t, "exec sleep 1000")
	cfg := byCommand(path)
	cfg.Timeout = 100 * time.Millisecond
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com"))
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, unsure)
}

func TestSendmailConfig(t *testing.T) {
	path, _ := command(t, "")
	for says, args := range map[string][]string{
		"no such file": {filepath.Join(t.TempDir(), "nothing")},
		"leave out -t": {path, "-t"},
	} {
		if _, err := delivery.NewSMTP(byCommand(args...)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
	cfg := byCommand(path)
	cfg.Servers = []string{"127.0.0.1"}
	if _, err := delivery.NewSMTP(cfg); err == nil || !strings.Contains(err.Error(), "only one of them") {
		t.Errorf("error %v", err)
	}
}
