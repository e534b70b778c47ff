package mmtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mixminion/packet"
)

// scriptConn is a connection whose peer has said everything already. Each part arrives in reads of its own.
type scriptConn struct {
	parts [][]byte
	out   bytes.Buffer
}

func (c *scriptConn) Read(b []byte) (int, error) {
	for len(c.parts) > 0 && len(c.parts[0]) == 0 {
		c.parts = c.parts[1:]
	}
	if len(c.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.parts[0])
	c.parts[0] = c.parts[0][n:]
	return n, nil
}

func (c *scriptConn) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *scriptConn) Close() error                     { return nil }
func (c *scriptConn) LocalAddr() net.Addr              { return nil }
func (c *scriptConn) RemoteAddr() net.Addr             { return nil }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

// model says what a server that accepts everything answers to the version line and the rest.
func model(line, rest []byte) string {
	text, ok := strings.CutSuffix(string(line), "\r\n")
	list, ok2 := strings.CutPrefix(text, "MMTP ")
	if !ok || !ok2 || len(line) > 4096 || strings.ContainsAny(text, "\n") {
		return ""
	}
	found := false
	for _, v := range strings.Split(list, ",") {
		for _, r := range v {
			if r < '!' || r > '~' {
				return ""
			}
		}
		if v == "" {
			return ""
		}
		found = found || v == "0.3"
	}
	if !found {
		return ""
	}
	out := "MMTP 0.3\r\n"
	for len(rest) >= 32794 {
		cmd, p, digest := string(rest[:6]), (*packet.Packet)(rest[6:]), string(rest[32774:32794])
		rest = rest[32794:]
		switch {
		case cmd == "SEND\r\n" && digest == sum(p, "SEND"):
			out += "RECEIVED\r\n" + sum(p, "RECEIVED")
		case cmd == "SEND\r\n":
			out += "REJECTED\r\n" + sum(p, "REJECTED")
		case cmd == "JUNK\r\n" && digest == sum(p, "JUNK"):
			out += "RECEIVED\r\n" + sum(p, "RECEIVED JUNK")
		default:
			return out
		}
	}
	return out
}

func FuzzSession(f *testing.F) {
	good := []byte("MMTP 0.3\r\n")
	send, junk := frame(fill(1), false), frame(fill(2), true)
	bad := bytes.Clone(send)
	bad[frameLen-1] ^= 1
	for _, line := range []string{"MMTP 0.3,0.4\r\n", "MMTP 0.4\r\n", "MMTP 0.3\n", "MMTP 0.3\r\nSEND\r\n", "", strings.Repeat("x", 5000)} {
		f.Add([]byte(line), send)
	}
	f.Add(good, []byte{})
	f.Add(good, []byte("SEND\r\nshort"))
	f.Add(good, []byte("QUIT\r\n"))
	f.Add(good, bytes.Join([][]byte{send, junk, bad, send, []byte("SE")}, nil))
	f.Add(good, bytes.Join([][]byte{junk, bad, bad[:frameLen-1]}, nil))
	s, err := NewServer(ServerConfig{Certificate: testCertificate(f), Handler: &recorder{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line, rest []byte) {
		conn := &scriptConn{parts: [][]byte{bytes.Clone(line), bytes.Clone(rest)}}
		newSession(s, conn).run(context.Background(), time.Time{})
		want := model(line, rest)
		if want == "" && bytes.Contains(rest, []byte("\n")) {
			// The line may go on in the second part; that it does not make an answer without a version line is enough.
			if got := conn.out.String(); got != "" && !strings.HasPrefix(got, versionLine) {
				t.Errorf("answered %q", got)
			}
			return
		}
		if got := conn.out.String(); got != want {
			t.Errorf("answered %q, want %q", got, want)
		}
		if s.buffers.inUse() != 0 {
			t.Error("a buffer is still reserved")
		}
	})
}

// FuzzAnswers feeds a server's bytes to a client that waits for three answers.
func FuzzAnswers(f *testing.F) {
	ps := []*packet.Packet{fill(1), fill(2), fill(3)}
	yes := func(i int) string { return "RECEIVED\r\n" + sum(ps[i], "RECEIVED") }
	no := func(i int) string { return "REJECTED\r\n" + sum(ps[i], "REJECTED") }
	junk := "RECEIVED\r\n" + sum(ps[2], "RECEIVED JUNK")
	f.Add([]byte(versionLine), []byte(yes(0)+yes(1)+junk))
	f.Add([]byte(versionLine), []byte(yes(0)+no(1)+no(2)))
	f.Add([]byte(versionLine), []byte(no(0)+yes(1)+junk+junk))
	f.Add([]byte(versionLine), []byte(yes(1)))
	f.Add([]byte(versionLine), []byte("RECEIVED\r\nshort"))
	f.Add([]byte("MMTP 0.4\r\n"), []byte{})
	f.Add([]byte("nonsense"), []byte("\r\n"))
	f.Fuzz(func(t *testing.T, line, answers []byte) {
		conn := &scriptConn{parts: [][]byte{line}}
		if err := agreeVersion(conn); err != nil {
			if string(line) == versionLine {
				t.Error(err)
			}
			return
		}
		if string(line) != versionLine {
			t.Errorf("version line %q", line)
		}
		l := &link{conn: conn, timeout: time.Minute, results: make(chan bool, 3), dead: make(chan struct{})}
		for i, p := range ps {
			if err := l.write(p, i == 2); err != nil {
				t.Fatal(err)
			}
		}
		conn.parts = [][]byte{bytes.Clone(answers)}
		l.read()
		close(l.results)
		i, rest := 0, string(answers)
		for accepted := range l.results {
			want := no(i)
			if accepted {
				want = yes(i)
			}
			if i == 2 {
				want = junk
			}
			var ok bool
			if rest, ok = strings.CutPrefix(rest, want); !ok {
				t.Fatalf("answer %d was believed", i)
			}
			i++
		}
		if len(rest) == 0 && !errors.Is(l.err, io.EOF) || len(rest) >= answerLen && !errors.Is(l.err, ErrProtocol) {
			t.Errorf("ended with %v", l.err)
		}
	})
}
