package delivery_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mixminion/delivery"
)

// A gossip is a connection to a mail server that answers as it likes, and names recipients and the text of mails as soon as it has
// been told.
type gossip struct {
	answer func(command string) string // without end of line; "" hangs up
	knows  bool
	line   []byte
	inMail bool
	say    bytes.Buffer
	closed bool
}

func newGossip(answer func(string) string) *gossip {
	g := &gossip{answer: answer}
	g.respond("")
	return g
}

func (g *gossip) respond(command string) {
	text := g.answer(command)
	switch {
	case text == "":
		g.closed = true
	case g.knows:
		text += " hidden-name@hidden.example hidden text"
	}
	if !g.closed {
		g.say.WriteString(text + "\r\n")
	}
	g.inMail = command == "DATA" && strings.HasPrefix(text, "354")
}

func (g *gossip) Write(p []byte) (int, error) {
	if g.closed {
		return 0, io.ErrClosedPipe
	}
	for _, c := range p {
		g.line = append(g.line, c)
		if c != '\n' {
			continue
		}
		line := strings.TrimRight(string(g.line), "\r\n")
		g.line = g.line[:0]
		if g.inMail {
			if line == "." {
				g.respond(".")
			}
			continue
		}
		command, _, _ := strings.Cut(line, " ")
		g.knows = g.knows || command == "RCPT"
		g.respond(command)
	}
	return len(p), nil
}

func (g *gossip) Read(p []byte) (int, error) {
	if g.say.Len() == 0 {
		return 0, io.EOF
	}
	return g.say.Read(p)
}

func (g *gossip) Close() error                     { return nil }
func (g *gossip) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (g *gossip) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (g *gossip) SetDeadline(time.Time) error      { return nil }
func (g *gossip) SetReadDeadline(time.Time) error  { return nil }
func (g *gossip) SetWriteDeadline(time.Time) error { return nil }

// Whatever mail servers answer, and to what: no log line and no error has a recipient, the text of a message or the
// name of a mail in it; each message has one outcome; and only a mail that a server has taken is delivered to anybody,
// once at most.
func TestNothingIsTold(t *testing.T) {
	usual := map[string]string{"": "220", "EHLO": "250", "MAIL": "250", "RCPT": "250", "DATA": "354", ".": "250", "RSET": "250", "QUIT": "221"}
	rapid.Check(t, func(rt *rapid.T) {
		taken := 0
		answer := func(command string) string {
			code := usual[command]
			if code == "" || rapid.IntRange(0, 3).Draw(rt, "usual") == 0 {
				code = rapid.SampledFrom([]string{
					"", "250", "354", "421 4.3.2", "421", "450 4.2.0", "451", "452", "500", "501 5.5.4", "530 5.7.0", "550", "550 5.1.1", "550 5.7.1",
					"550 relay not permitted", "552", "554 5.7.1 relay", "999", "25",
				}).Draw(rt, "answer")
			}
			if command == "." && strings.HasPrefix(code, "250") {
				taken++
			}
			return code
		}
		var log bytes.Buffer
		cfg := config("one.example.org")
		cfg.Servers = append(cfg.Servers, "two.example.org")
		cfg.MaximumRecipients = 8
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return newGossip(answer), nil }
		x := newSMTP(t, cfg)
		var items []delivery.Item
		for i := range rapid.IntRange(1, 4).Draw(rt, "items") {
			var to []string
			for n := range rapid.IntRange(1, 3).Draw(rt, "recipients") {
				to = append(to, fmt.Sprintf("hidden-name%d@hidden.example", n))
			}
			items = append(items, item(t, uint64(i+1), strings.Join(to, "\x00"), "SUBJECT:hidden subject\n\nhidden text\n"))
		}
		settled := uint8(0)
		for i := range items {
			items[i].Settle = func(served uint8) {
				if served == 0 {
					rt.Error("nothing is settled")
				}
				settled |= served
			}
		}
		got, err := deliver(t.Context(), t, x, items)
		all := log.String() + fmt.Sprint(err)
		for _, hidden := range []string{"hidden", fmt.Sprintf("%x", items[0].Nonce)} {
			if strings.Contains(all, hidden) {
				rt.Errorf("%q is told:\n%s", hidden, all)
			}
		}
		delivered := 0
		for _, o := range got {
			if o == ok {
				delivered++
			}
		}
		if delivered > taken {
			rt.Errorf("%d messages delivered, %d mails taken", delivered, taken)
		}
	})
}
