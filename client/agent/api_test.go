package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/client/internal/agentwire"
	"mixminion/internal/clock"
)

// serving runs an agent whose next event is far away.
func serving(t testing.TB) (a *Agent, stop func() error) {
	t.Helper()
	a, err := New(home(t, clock.Real{}), Config{Mean: maxMean, Program: "Test 1"})
	if err != nil {
		t.Fatal(err)
	}
	a.deliver = func(context.Context, client.PreparedPacket) error { return errors.New("no network") }
	return a, start(t, a)
}

func dial(t testing.TB, a *Agent) *client.Agent {
	t.Helper()
	c, err := client.DialAgent(t.Context(), a.client.Home())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// raw is a front end that says what it likes.
type raw struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func dialRaw(t testing.TB, a *Agent) *raw {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", filepath.Join(a.client.Home(), agentwire.Socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &raw{t, conn, bufio.NewReader(conn)}
}

// say writes a line; the agent may have closed the connection before its end.
func (r *raw) say(line string) { _, _ = r.conn.Write([]byte(line + "\n")) }

// hear reads a line, "" at the end.
func (r *raw) hear() string {
	line, err := agentwire.ReadLine(r.in, agentwire.MaxLine)
	if err != nil {
		return ""
	}
	return string(line)
}

const hello = `{"id":1,"method":"hello","params":{"version":1}}`

func TestAPI(t *testing.T) {
	a, stop := serving(t)
	c := dial(t, a)
	if c.Program() != "Test 1" {
		t.Errorf("program %q", c.Program())
	}
	ctx := t.Context()
	s, err := c.Status(ctx)
	if err != nil || s != (client.AgentStatus{Mean: client.Seconds(maxMean.Seconds()), PerEvent: 1}) {
		t.Errorf("%+v, %v", s, err)
	}
	listener := dial(t, a)
	events, err := listener.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	q, err := c.Send(ctx, client.AgentMessage{
		To: []string{"bob@example.com", "Bob@EXAMPLE.com", "carol@example.com", "bob@example.com"}, Body: []byte("Hello"), Subject: "Hi", Path: "alder,?,?",
	})
	if err != nil || q.Packets != 3 || q.Status.Queued != 3 || len(q.Warnings) == 0 || q.Overcompressed {
		t.Errorf("%+v, %v", q, err)
	}
	if e := q.Status; e.Expected.Duration() != 3*maxMean || e.Bound <= e.Expected {
		t.Errorf("%+v", e)
	}
	for e, err := range events {
		if err != nil || e != (client.AgentEvent{Kind: client.EventQueued, Queued: 3}) {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
	list, err := c.Queue(ctx)
	if err != nil || len(list) != 3 || list[0].First != "alder.example.net:48099" || list[0].Day != time.Now().UTC().Format(time.DateOnly) || list[0].ID == "" {
		t.Errorf("%+v, %v", list, err)
	}
	servers, err := c.Servers(ctx)
	if err != nil || len(servers) != len(serverNames) || servers[0].Nickname != "alder" || servers[0].Address != "alder.example.net:48099" ||
		len(servers[0].Fingerprint) < 40 || strings.Join(servers[0].Caps, " ") != "smtp relay" || servers[0].ValidUntil == "" {
		t.Errorf("%+v, %v", servers, err)
	}
	if err := c.Stop(ctx); err != nil {
		t.Error(err)
	}
	<-a.stopped.Done()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := c.Status(ctx); !errors.Is(err, client.ErrAgentGone) {
		t.Error(err)
	}
	if _, err := client.DialAgent(ctx, a.client.Home()); !errors.Is(err, client.ErrNoAgent) {
		t.Error(err)
	}
	if _, err := client.DialAgent(ctx, filepath.Join(t.TempDir(), strings.Repeat("x", 200))); !errors.Is(err, client.ErrNoAgent) {
		t.Error(err)
	}
}

// What cannot be sent is an error that says why and repeats nothing of the message, and queues nothing.
func TestAPISendErrors(t *testing.T) {
	a, _ := serving(t)
	c := dial(t, a)
	for name, m := range map[string]client.AgentMessage{
		"nobody":        {},
		"no address":    {To: []string{"bob@example.com", "se cret@"}},
		"too many":      {To: make([]string, client.MaxRecipients+1)},
		"bad path":      {To: []string{"bob@example.com"}, Path: ",,"},
		"unknown mix":   {To: []string{"bob@example.com"}, Path: "nobody,?,?,?"},
		"bad header":    {To: []string{"bob@example.com"}, Subject: "secret\nBcc: x"},
		"shared mbox":   {To: []string{"bob@example.com", "mbox:secret@alder"}, SharePacket: true},
		"headers apart": {To: []string{"bob@example.com"}, Subject: "secret", DeliverFragments: true},
	} {
		_, err := c.Send(t.Context(), m)
		var e *client.AgentError
		if !errors.As(err, &e) || e.Code != agentwire.CodeFailed || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	checkQueued(t, a, 0)
	if _, err := c.Send(t.Context(), client.AgentMessage{To: []string{"bob@example.com"}, Body: make([]byte, agentwire.MaxLine)}); !errors.Is(err, client.ErrTooLarge) {
		t.Error(err)
	}
}

func TestAPIMalformed(t *testing.T) {
	a, _ := serving(t)
	for _, c := range []struct {
		name, line string
		code       string
		goesOn     bool
	}{
		{"no JSON", "hello", agentwire.CodeLine, false},
		{"empty", "", agentwire.CodeLine, false},
		{"no object", "[]", agentwire.CodeLine, false},
		{"two", hello + hello, agentwire.CodeLine, false},
		{"cut", hello[:20], agentwire.CodeLine, false},
		{"unknown field", `{"id":2,"method":"status","extra":1}`, agentwire.CodeLine, false},
		{"negative id", `{"id":-2,"method":"status"}`, agentwire.CodeLine, false},
		{"deep", strings.Repeat("[", 100000), agentwire.CodeLine, false},
		{"no method", `{"id":2}`, agentwire.CodeMethod, true},
		{"unknown method", `{"id":2,"method":"decode"}`, agentwire.CodeMethod, true},
		{"hello again", hello, agentwire.CodeMethod, true},
		{"unknown parameter", `{"id":2,"method":"send","params":{"too":["secret"]}}`, agentwire.CodeParams, true},
		{"parameter of no use", `{"id":2,"method":"status","params":{"a":1}}`, agentwire.CodeParams, true},
		{"wrong type", `{"id":2,"method":"send","params":{"to":"secret"}}`, agentwire.CodeParams, true},
		{"body no base64", `{"id":2,"method":"send","params":{"body":"secret!"}}`, agentwire.CodeParams, true},
		{"params no object", `{"id":2,"method":"status","params":7}`, agentwire.CodeParams, true},
		{"null params", `{"id":2,"method":"status","params":null}`, "", true},
		{"null body", `{"id":2,"method":"send","params":{"to":["x@example.com"],"body":null}}`, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := dialRaw(t, a)
			r.say(hello)
			if got := r.hear(); !strings.Contains(got, `"program":"Test 1"`) {
				t.Fatalf("hello: %s", got)
			}
			r.say(c.line)
			var reply agentwire.Reply
			line := r.hear()
			if err := json.Unmarshal([]byte(line), &reply); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if c.code == "" && reply.Error != nil || c.code != "" && (reply.Error == nil || reply.Error.Code != c.code) || strings.Contains(line, "secret") {
				t.Errorf("answer %s", line)
			}
			r.say(`{"id":9,"method":"status"}`)
			if got := r.hear(); strings.HasPrefix(got, `{"id":9,"result":{"queued":`) != c.goesOn {
				t.Errorf("afterwards: %q", got)
			}
		})
	}
	for name, c := range map[string]struct{ line, code string }{
		"no hello":     {`{"id":1,"method":"status"}`, agentwire.CodeHello},
		"next version": {`{"id":1,"method":"hello","params":{"version":2}}`, agentwire.CodeVersion},
		"no version":   {`{"id":1,"method":"hello"}`, agentwire.CodeVersion},
		"too long":     {strings.Repeat("x", agentwire.MaxLine+1), agentwire.CodeLine},
	} {
		r := dialRaw(t, a)
		go r.say(c.line) // the agent does not read all of it
		if got := r.hear(); !strings.Contains(got, `"code":"`+c.code+`"`) {
			t.Errorf("%s: %.200q", name, got)
		}
		if got := r.hear(); got != "" {
			t.Errorf("%s: the connection goes on: %.200q", name, got)
		}
	}
	// What a later hello may have besides is no mistake.
	r := dialRaw(t, a)
	r.say(`{"id":1,"method":"hello","params":{"version":1,"name":"x"}}`)
	if got := r.hear(); !strings.Contains(got, "result") {
		t.Error(got)
	}
}

func TestAPIConnections(t *testing.T) {
	a, _ := serving(t)
	for i := range maxConnections {
		r := dialRaw(t, a)
		r.say(hello)
		if got := r.hear(); !strings.Contains(got, "result") {
			t.Fatalf("connection %d: %s", i+1, got)
		}
	}
	if got := dialRaw(t, a).hear(); !strings.Contains(got, `"code":"too_many"`) {
		t.Error(got)
	}
	if _, err := client.DialAgent(t.Context(), a.client.Home()); err == nil {
		t.Error("one more was accepted")
	}
}

// A front end that does not read its events loses its connection, and nobody waits for it.
func TestSlowWatcher(t *testing.T) {
	var h hub
	w, quick := h.join(), h.join()
	for range backlog + 3 {
		h.tell(client.AgentEvent{Kind: client.EventSent})
		<-quick.events
	}
	select {
	case <-w.slow:
	default:
		t.Error("not told")
	}
	select {
	case <-quick.slow:
		t.Error("the quick one too")
	default:
	}
	h.leave(w)
	h.leave(quick)
}

// The contexts of calls end them.
func TestAPICancelled(t *testing.T) {
	a, _ := serving(t)
	c := dial(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	events, err := c.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for _, err := range events {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if _, err := client.DialAgent(ctx, a.client.Home()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Only the user, and root, are talked to; here the user is at both ends.
func TestSamePeer(t *testing.T) {
	a, _ := serving(t)
	if dial(t, a) == nil {
		t.Error("refused")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(hello))
	for _, m := range []string{"status", "queue", "servers", "decode"} {
		f.Add(fmt.Appendf(nil, `{"id":2,"method":%q,"params":{}}`, m))
	}
	f.Add([]byte(`{"id":3,"method":"send","params":{"to":["bob@example.com"],"body":"SGVsbG8=","path":"*4"}}`))
	f.Add([]byte(`{"id":3,"method":"send","params":{"to":[],"x":1}}`))
	f.Add([]byte(`{"id":1e3}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, bad := agentwire.ParseRequest(line)
		if bad == nil {
			var m client.AgentMessage
			if bad = agentwire.ParseParams(r.Params, &m); bad == nil {
				if _, err := recipients(m); err == nil && len(m.To) == 0 {
					t.Error("nobody is a recipient")
				}
			}
		}
		if bad != nil && (bad.Code == "" || strings.ContainsAny(bad.Message, "\n\r")) {
			t.Errorf("%+v", bad)
		}
	})
}
