package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type word struct {
	Word string `json:"word"`
}

// daemon runs a server until the test ends, or stop is called.
func daemon(t *testing.T) (base string, stop func()) {
	t.Helper()
	base = t.TempDir()
	if err := os.Chmod(base, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Listen(base, map[string]Handler{
		"echo": func(_ context.Context, args json.RawMessage) (any, error) {
			var w word
			return w, errors.Join(ParseArgs(args, &w), json.Unmarshal(args, &w))
		},
		"refuse": func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("not today") },
		"stop": func(context.Context, json.RawMessage) (any, error) {
			cancel()
			return Hold, nil
		},
		"unwritable": func(context.Context, json.RawMessage) (any, error) { return func() {}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return base, stop
}

func TestCall(t *testing.T) {
	base, _ := daemon(t)
	var got word
	if err := Call(t.Context(), base, "echo", word{"hello"}, &got); err != nil || got.Word != "hello" {
		t.Errorf("%q, %v", got.Word, err)
	}
	var refusal Refusal
	for command, want := range map[string]string{
		"refuse": "not today", "dance": `unknown command "dance"`, "unwritable": "json: unsupported type: func()",
	} {
		if err := Call(t.Context(), base, command, nil, nil); !errors.As(err, &refusal) || string(refusal) != want {
			t.Errorf("%s: %v", command, err)
		}
	}
	if err := Call(t.Context(), base, "echo", map[string]int{"mistake": 1}, nil); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "mistake") {
		t.Error(err)
	}
}

func TestCallToEnd(t *testing.T) {
	base, stop := daemon(t)
	if err := CallToEnd(t.Context(), base, "stop"); err != nil {
		t.Error(err)
	}
	stop()
	if err := Call(t.Context(), base, "echo", nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

func TestNotRunning(t *testing.T) {
	for _, call := range []func() error{
		func() error { return Call(t.Context(), t.TempDir(), "echo", nil, nil) },
		func() error { return CallToEnd(t.Context(), t.TempDir(), "stop") },
	} {
		if err := call(); !errors.Is(err, ErrNotRunning) {
			t.Error(err)
		}
	}
}

// Whatever is said to the socket, there is an answer or an end, and the next one is served.
func TestBadQuestions(t *testing.T) {
	base, _ := daemon(t)
	for _, q := range []string{
		"\n", "hello\n", "{}\n", `{"command": "echo"} {}` + "\n", `{"command": 1}` + "\n", `{"order": "echo"}` + "\n",
		`{"command": "echo", "args": {"word": 1}}` + "\n", `{"command": "` + strings.Repeat("x", maxLine) + "\"}\n",
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", Socket(base))
		if err != nil {
			t.Fatal(err)
		}
		// The server may have heard enough before the end of it.
		_, _ = io.WriteString(conn, q)
		answer, _ := io.ReadAll(conn)
		if !bytes.HasPrefix(answer, []byte(`{"error":`)) || bytes.Count(answer, []byte("\n")) != 1 {
			t.Errorf("%.40q: %q", q, answer)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := Call(t.Context(), base, "echo", word{"still there"}, nil); err != nil {
		t.Error(err)
	}
}

// A server that ends does not wait for those who say nothing, and more than a few are not served.
func TestSilentCallers(t *testing.T) {
	base, stop := daemon(t)
	var conns []net.Conn
	for range maxConnections {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", Socket(base))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	var refusal Refusal
	if err := Call(t.Context(), base, "echo", word{}, nil); !errors.As(err, &refusal) && err == nil {
		t.Error("one too many was served")
	}
	stop()
	for _, conn := range conns {
		if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, io.EOF) && !isReset(err) {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

func isReset(err error) bool { return strings.Contains(err.Error(), "reset") }

func TestCanceledCall(t *testing.T) {
	base, _ := daemon(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Call(ctx, base, "echo", nil, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"command": "status"}`))
	f.Add([]byte(`{"command": "drain", "args": {"off": true}}`))
	f.Add([]byte(`{"command": "drain", "args": [1, 2`))
	f.Add([]byte(`{"error": "no"}`))
	f.Add([]byte(`nul`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRequest(line)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseRequest(again); err != nil {
			t.Errorf("%q: %v", again, err)
		}
		var w word
		_ = ParseArgs(r.Args, &w)
	})
}
