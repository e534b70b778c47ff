package logging_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"mixminion/internal/logging"
)

type (
	packetID uint64
	keyID    [20]byte
	secret   string
)

func (keyID) String() string                   { return "0123456789abcdef" }
func (secret) LogValue() slog.Value            { return slog.StringValue("[hidden]") }
func (h hopError) Error() string               { return "send to " + h.host + ": refused" }
func (h hopError) Private() []string           { return []string{h.host} }
func (e *nilError) Error() string              { return e.text }
func (mailboxer) MarshalJSON() ([]byte, error) { return []byte(`"bob@example.com"`), nil }
func (mailboxer) String() string               { return "bob@example.com" }
func (mailboxer) GoString() string             { return "bob@example.com" }
func (mailboxer) Format(f fmt.State, _ rune)   { _, _ = fmt.Fprint(f, "bob@example.com") }

type (
	hopError  struct{ host string }
	nilError  struct{ text string }
	mailboxer struct{}
)

// logger returns a logger and what it has written.
func logger(asJSON bool) (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	var s logging.Settings
	s.Set(logging.LevelTrace, asJSON)
	return logging.New(&out, &s), &out
}

// What must never stand in a log, and what takes its place.
var redacted = map[string]struct {
	value any
	want  string
}{
	"address":            {netip.MustParseAddr("192.0.2.7"), "[address]"},
	"address and port":   {netip.MustParseAddrPort("[2001:db8::7]:48099"), "[address]"},
	"network":            {netip.MustParsePrefix("192.0.2.0/24"), "[address]"},
	"peer":               {&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, "[address]"},
	"old address":        {net.IPv4(192, 0, 2, 7), "[address]"},
	"URL":                {&url.URL{Scheme: "https", Host: "mix.example.com"}, "[address]"},
	"bytes":              {[]byte("a packet"), "[[]uint8]"},
	"hash":               {[20]byte{1}, "[[20]uint8]"},
	"packet id":          {packetID(77), "[logging_test.packetID]"},
	"keyid":              {keyID{1}, "[logging_test.keyID]"},
	"struct":             {struct{ Host string }{"mix.example.com"}, `"[struct { Host string }]"`},
	"pointer":            {&struct{ Host string }{"mix.example.com"}, `"[*struct { Host string }]"`},
	"list of addresses":  {[]netip.Addr{netip.MustParseAddr("192.0.2.7")}, "[[]netip.Addr]"},
	"stringer":           {mailboxer{}, "[logging_test.mailboxer]"},
	"mailbox":            {"for bob@example.com.", `"for [mailbox]`},
	"quoted mailbox":     {`for "b.o"@example.com`, `"for [mailbox]"`},
	"mailbox at address": {"for bob@[192.0.2.7]", `"for [mailbox]"`},
	"user of a URL":      {"http://user:word@dir.example/", "http://[user]@dir.example/"},
	"text with address":  {"from 192.0.2.7:48099 now", `"from [address] now"`},
	"text with IPv6":     {"from [2001:db8::7]:48099 at 01:02:03", `"from [address] at 01:02:03"`},
	"bare IPv6":          {"from fe80::1%eth0: gone", `"from [address]: gone"`},
	"hex":                {"packet 0123456789abcdef0123456789abcdef01234567", `"packet [hash]"`},
	"base64":             {"key AAECAwQFBgcICQoLDA0ODxAREhM=", `"key [hash]"`},
	"group":              {slog.GroupValue(slog.Any("peer", netip.MustParseAddr("192.0.2.7"))), ""},
	"dial": {&net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1},
		Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 2}, Err: syscall.ECONNREFUSED},
		`"dial tcp [address]->[address]: connection refused"`},
	"deep in a chain": {fmt.Errorf("cannot: %w", errors.Join(errors.New("first"), fmt.Errorf("second: %w",
		&net.DNSError{Err: "no such host", Name: "mix.example.com", Server: "192.0.2.53:53"}))), ""},
	"certificate":    {fmt.Errorf("TLS: %w", x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"a.example"}}, Host: "mix.example.com"}), ""},
	"address error":  {&net.AddrError{Err: "missing port", Addr: "mix.example.com"}, `"address [address]: missing port"`},
	"our own errors": {fmt.Errorf("relay: %w", hopError{"mix.example.com"}), `"relay: send to [address]: refused"`},
	"nil pointer":    {(*nilError)(nil), "[error]"},
}

var leaks = regexp.MustCompile(`192\.0\.2|2001:db8|fe80|mix\.example|bob|b\.o|word|0123456789abcdef|a packet|AAECAw`)

func TestRedaction(t *testing.T) {
	for name, c := range redacted {
		t.Run(name, func(t *testing.T) {
			for _, asJSON := range []bool{false, true} {
				log, out := logger(asJSON)
				log.Info("line", "value", c.value)
				log.With("value", c.value).Info("line")
				log.WithGroup("all").Info("line", "value", c.value)
				if text, ok := c.value.(string); ok {
					log.Info(text)
				}
				if leaks.MatchString(out.String()) {
					t.Errorf("logged: %s", out)
				}
				if !asJSON && c.want != "" && !strings.Contains(out.String(), " value="+c.want) {
					t.Errorf("%s has no %s", out, c.want)
				}
			}
		})
	}
}

// serverError names a server of the configuration.
type serverError struct{ err error }

func (e serverError) Error() string    { return "mail server mx.example:25: " + e.err.Error() }
func (e serverError) Unwrap() error    { return e.err }
func (e serverError) Public() []string { return []string{"mail server mx.example:25"} }

// What an error says of the configuration is logged, though something else in it is struck out, be it the same.
func TestPublicPartsOfErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"name":      {serverError{&net.DNSError{Err: "no such host", Name: "mx.example"}}, "mail server mx.example:25: lookup [address]: no such host"},
		"recipient": {serverError{errors.New("bob@mx.example refused")}, "mail server mx.example:25: [mailbox] refused"},
		"several": {fmt.Errorf("delivering: %w; %w", serverError{errors.New("busy")}, serverError{errors.New("192.0.2.7 is full")}),
			"delivering: mail server mx.example:25: busy; mail server mx.example:25: [address] is full"},
		"forged": {serverError{errors.New("\x000\x00 from 192.0.2.7")}, "from [address]"},
	} {
		log, out := logger(false)
		log.Info("line", "error", c.err)
		if !strings.Contains(out.String(), c.want) || leaks.MatchString(out.String()) {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestHarmlessValues(t *testing.T) {
	log, out := logger(false)
	log.Warn("it goes on", "n", 7, "on", true, "wait", time.Minute, "at", time.Unix(0, 0).UTC(), "file", logging.Public("/var/lib/a b"),
		"server", logging.Public("192.0.2.1:25"), "error", fmt.Errorf("open: %w", fs.ErrNotExist), "secret", secret("x"), "share", 0.5,
		slog.Group("mix", slog.Int("keys", 2)), "none", nil, "empty", "", "of", "2026-11-22")
	want := ` \[WARN\] it goes on n=7 on=true wait=1m0s at=1970-01-01T00:00:00Z file="/var/lib/a b" server=192\.0\.2\.1:25 ` +
		`error="open: file does not exist" secret=\[hidden\] share=0\.5 mix\.keys=2 none=none empty="" of=2026-11-22\n$`
	if !regexp.MustCompile(`^[A-Z][a-z][a-z] \d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d{4}` + want).Match(out.Bytes()) {
		t.Errorf("%q", out)
	}
}

func TestLinesCannotBeForged(t *testing.T) {
	log, out := logger(false)
	log.Info("one\nNov 22 [FATAL] two", "from outside", "a\nb\x1b[2J\u202e")
	if strings.Count(out.String(), "\n") != 1 || strings.ContainsAny(out.String(), "\x1b\u202e") {
		t.Errorf("%q", out)
	}
}

func TestJSON(t *testing.T) {
	log, out := logger(true)
	log.With("a", 1).WithGroup("g").Log(t.Context(), logging.LevelFatal, "end", "b", netip.MustParseAddr("192.0.2.7"))
	var line struct {
		Time       time.Time
		Level, Msg string
		A          int
		G          struct{ B string }
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Level != "FATAL" || line.Msg != "end" || line.A != 1 || line.G.B != "[address]" || line.Time.Nanosecond()%1e6 != 0 {
		t.Errorf("%s", out)
	}
}

func TestLevels(t *testing.T) {
	all := []slog.Level{logging.LevelTrace, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, logging.LevelFatal}
	names := []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}
	var s logging.Settings
	var out bytes.Buffer
	log := logging.New(&out, &s)
	for i := range len(all) + 1 {
		least := logging.LevelNever
		if i < len(all) {
			least = all[i]
		}
		for _, asJSON := range []bool{false, true} {
			out.Reset()
			s.Set(least, asJSON) // while the logger is in use
			for _, level := range all {
				log.Log(context.Background(), level, "line")
			}
			if n := strings.Count(out.String(), "\n"); n != len(all)-i {
				t.Errorf("from %v on %d lines", least, n)
			}
			for j, name := range names {
				if strings.Contains(out.String(), name) != (j >= i) {
					t.Errorf("from %v on: %s", least, out.String())
				}
			}
		}
	}
}

func FuzzText(f *testing.F) {
	for _, c := range redacted {
		if s, ok := c.value.(string); ok {
			f.Add(s)
		}
	}
	f.Add("::\n[::]:@\xff")
	f.Fuzz(func(t *testing.T, text string) {
		for _, asJSON := range []bool{false, true} {
			log, out := logger(asJSON)
			log.Info(text, "value", text, "error", errors.New(text))
			if bytes.Count(out.Bytes(), []byte("\n")) != 1 {
				t.Errorf("%q", out)
			}
		}
	})
}
