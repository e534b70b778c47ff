package delivery

import (
	"bufio"
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

// sevenBitConn hides from the SMTP client of the library that a server offers 8BITMIME: it would announce every mail as one with 8-bit
// bytes, which none is, and a server on the way might encode it anew.
type sevenBitConn struct {
	net.Conn
	r    *bufio.Reader
	line []byte // what is left of the present line
}

func sevenBit(c net.Conn) net.Conn { return &sevenBitConn{Conn: c, r: bufio.NewReader(c)} }

// Read gives out the answers of the server line by line, as the client waits for them.
func (c *sevenBitConn) Read(p []byte) (int, error) {
	if len(c.line) == 0 {
		line, err := c.r.ReadSlice('\n')
		if len(line) == 0 {
			return 0, err
		}
		if word := "8BITMIME"; len(line) >= 4+len(word) && strings.EqualFold(string(line[4:4+len(word)]), word) {
			line[4] = 'X'
		}
		c.line = line // an error comes again at the next call
	}
	n := copy(p, c.line)
	c.line = c.line[n:]
	return n, nil
}
