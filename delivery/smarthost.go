package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"mixminion/internal/logging"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// smartHost is a mail server that takes the mail of an exit, how to talk to it, and how it has behaved.
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
	now              func() time.Time

	mu         sync.Mutex
	took       time.Time // when it last took a mail from us
	refusals   int       // mails in a row since then of which it refused everything, for reasons that may be about us
	asideUntil time.Time
}

// tookMail takes note that the server has taken a mail.
func (h *smartHost) tookMail() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.took, h.refusals, h.asideUntil = h.now(), 0, time.Time{}
}

// believed reports whether the server has taken a mail since a time, so that what it refuses now is more likely unwanted than we are.
func (h *smartHost) believed(since time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.took.IsZero() && !h.took.Before(since)
}

// maxRefusals is how many mails in a row a server may refuse before others are asked first.
const maxRefusals = 5

// refusedAll takes note that the server took nothing of a mail, and may mean us by it.
func (h *smartHost) refusedAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refusals++; h.refusals >= maxRefusals {
		h.asideUntil = h.now().Add(asideFor)
	}
}

// aside puts the server behind all others until a time.
func (h *smartHost) aside(until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asideUntil = until
}

func (h *smartHost) isAside(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Before(h.asideUntil)
}

// connect makes a connection that is ready for the first mail. It ends when ctx does.
func (h *smartHost) connect(ctx context.Context) (*session, error) {
	s, err := h.open(ctx, h.mode)
	if errors.Is(err, errHandshake) && h.mode == TLSOpportunistic {
		h.log.Warn("the mail server offers TLS and fails at it; going on without", "server", logging.Public(h.addr), "error", err)
		s, err = h.open(ctx, TLSOff)
	}
	return s, err
}

func (h *smartHost) open(ctx context.Context, mode TLSMode) (_ *session, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, h.dialTimeout)
	defer cancel()
	raw, err := h.dial(dialCtx, "tcp", h.addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	s := &session{host: h, unwatch: context.AfterFunc(ctx, func() { _ = raw.Close() })}
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

	s.client = smtp.NewClient(sevenBit(conn))
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
