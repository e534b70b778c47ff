package delivery

import (
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// maxAnswer is how many bytes a server may send before it is our turn. It leaves room for a TLS handshake.
const maxAnswer = 256 << 10

var errTalkative = errors.New("the mail server sent far more than an answer")

// timedConn is a connection on which nothing waits for ever: where the SMTP client lifts a deadline (it does so between a command
// and the next, the transfer of a mail included), one of timeout from now stays in force. It bounds the length of answers, too.
type timedConn struct {
	net.Conn
	timeout time.Duration
	read    int // bytes since the last write
}

func (c *timedConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		t = time.Now().Add(c.timeout)
	}
	return c.Conn.SetDeadline(t)
}

func (c *timedConn) Read(p []byte) (int, error) {
	if c.read >= maxAnswer {
		return 0, errTalkative
	}
	n, err := c.Conn.Read(p)
	c.read += n
	return n, err
}

func (c *timedConn) Write(p []byte) (int, error) {
	c.read = 0
	return c.Conn.Write(p)
}

// greetedConn gives the SMTP client the greeting that a connection began with, once more.
type greetedConn struct {
	net.Conn
	r io.Reader
}

func greeted(c net.Conn) net.Conn {
	return &greetedConn{c, io.MultiReader(strings.NewReader("220 ready\r\n"), c)}
}

func (c *greetedConn) Read(p []byte) (int, error) { return c.r.Read(p) }
