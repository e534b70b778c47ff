package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"mixminion/internal/logging"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// smartHost is the mail server that takes all mail of an exit, and how to talk to it.
type smartHost struct {
	addr             string // host:port
	mode             TLSMode
	tls              *tls.Config
	username         string
	password         Secret
	helloName        string
	maxPerConnection int
	timeout          time.Duration
	dialTimeout      time.Duration
	dial             func(ctx context.Context, network, address string) (net.Conn, error)
	log              *slog.Logger
	proven           atomic.Bool // it has taken a mail from us
}

// connect makes a connection that is ready for the first mail. It ends when ctx does.
func (h *smartHost) connect(ctx context.Context) (*session, error) {
	s, err := h.open(ctx, h.mode)
	if errors.Is(err, errHandshake) && h.mode == TLSOpportunistic {
		h.log.Warn("the mail server offers TLS and fails at it; going on without", "server", logging.Public(h.addr), "error", err)
		s, err = h.open(ctx, TLSOff)
	}
	if err != nil {
		return nil, fmt.Errorf("mail server %s: %w", h.addr, err)
	}
	return s, nil
}

func (h *smartHost) open(ctx context.Context, mode TLSMode) (_ *session, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, h.dialTimeout)
	defer cancel()
	raw, err := h.dial(dialCtx, "tcp", h.addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	s := &session{proven: &h.proven, unwatch: context.AfterFunc(ctx, func() { _ = raw.Close() })}
	defer func() {
		if err != nil {
			s.unwatch()
			_ = raw.Close()
		}
	}()

	var conn net.Conn = &timedConn{Conn: raw, timeout: h.timeout}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	encrypted := false
	switch mode {
	case TLSImplicit:
		tlsConn := tls.Client(conn, h.tls)
		if err := tlsConn.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", errHandshake, err)
		}
		conn, encrypted = tlsConn, true
	case TLSRequired, TLSOpportunistic:
		if conn, encrypted, err = startTLS(ctx, conn, h.tls, h.helloName); err != nil {
			return nil, fmt.Errorf("STARTTLS: %w", spoken(err))
		}
		if !encrypted && mode == TLSRequired {
			return nil, errors.New("it does not offer STARTTLS, which the configuration requires")
		}
	}

	s.client = smtp.NewClient(conn)
	s.client.CommandTimeout = h.timeout
	s.client.SubmissionTimeout = 2 * h.timeout
	if err := s.client.Hello(h.helloName); err != nil {
		return nil, fmt.Errorf("EHLO: %w", spoken(err))
	}
	if h.username != "" {
		if err := h.login(s.client, encrypted, raw.RemoteAddr()); err != nil {
			return nil, fmt.Errorf("logging in: %w", spoken(err))
		}
	}
	return s, nil
}

// login sends the password if nobody on the way can read it.
func (h *smartHost) login(c *smtp.Client, encrypted bool, peer net.Addr) error {
	checked := encrypted && !h.tls.InsecureSkipVerify
	if tcp, ok := peer.(*net.TCPAddr); !checked && (!ok || !tcp.IP.IsLoopback()) {
		return errors.New("a password is only sent with TLS required or implicit, or to this machine itself")
	}
	switch {
	case c.SupportsAuth(sasl.Plain):
		return c.Auth(sasl.NewPlainClient("", h.username, string(h.password)))
	case c.SupportsAuth(sasl.Login):
		return c.Auth(sasl.NewLoginClient(h.username, string(h.password)))
	}
	return errors.New("it offers neither PLAIN nor LOGIN")
}
