package delivery

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
)

// errHandshake is a TLS handshake that failed after the server had agreed to one.
var errHandshake = errors.New("TLS handshake failed")

// startTLS reads the greeting and asks for TLS. It returns the connection to go on with, greeting included, and whether it is
// encrypted: not, without an error, when the server does not offer STARTTLS or does not want it now.
//
// The SMTP client of the library can do this, too, but only all or nothing: it hangs up when STARTTLS is not offered, and it says
// EHLO with a name of its own before.
func startTLS(ctx context.Context, conn net.Conn, config *tls.Config, helloName string) (next net.Conn, encrypted bool, err error) {
	r := bufio.NewReader(conn)
	answers := textproto.NewReader(r)
	if _, _, err := answers.ReadResponse(220); err != nil {
		return nil, false, err
	}
	ask := func(expect int, command string) (string, error) {
		if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
			return "", err
		}
		_, msg, err := answers.ReadResponse(expect)
		return msg, err
	}

	var refused *textproto.Error
	extensions, err := ask(250, "EHLO "+helloName)
	if err == nil && offers(extensions, "STARTTLS") {
		_, err = ask(220, "STARTTLS")
		encrypted = err == nil
	}
	if err != nil && (!errors.As(err, &refused) || refused.Code == 421) {
		return nil, false, err
	}
	if r.Buffered() > 0 {
		// Whoever sent this wants it to be taken for the beginning of the protected conversation.
		return nil, false, errors.New("the mail server went on talking after its answer")
	}
	if !encrypted {
		return greeted(conn), false, nil
	}
	tlsConn := tls.Client(conn, config)
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		return nil, false, fmt.Errorf("%w: %w", errHandshake, err)
	}
	return greeted(tlsConn), true, nil
}

// offers looks for an extension in the answer to EHLO, whose first line is the server's name.
func offers(answer, extension string) bool {
	lines := strings.Split(answer, "\n")
	for _, line := range lines[1:] {
		if word, _, _ := strings.Cut(line, " "); strings.EqualFold(word, extension) {
			return true
		}
	}
	return false
}
