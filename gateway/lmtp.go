package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"mixminion/delivery/inmail"
	"mixminion/delivery/mail"
	"mixminion/internal/localsock"
)

const (
	maxConnections = 32
	lmtpTimeout    = time.Minute
	maxLine        = 2000
)

// Private makes a listener of a local socket that lets only our own user connect. Close ends its Accept.
func Private(l net.Listener) net.Listener { return privateListener{l} }

type privateListener struct{ net.Listener }

func (l privateListener) Accept() (net.Conn, error) {
	return localsock.Accept(context.Background(), l.Listener)
}

// serve answers LMTP (RFC 2033) until ctx is done.
func (g *Gateway) serve(ctx context.Context, l net.Listener) error {
	b := &backend{g: g, ctx: ctx}
	s := smtp.NewServer(b)
	s.LMTP = true
	s.Domain = "localhost"
	s.MaxMessageBytes = int64(g.cfg.MaxMail) + 1
	s.MaxLineLength = g.cfg.MaxMail + maxLine // programs write whole paragraphs in a line, and pipes do not break it
	s.MaxRecipients = 1
	s.ReadTimeout, s.WriteTimeout = lmtpTimeout, lmtpTimeout
	s.ErrorLog = log.New(io.Discard, "", 0) // it would name people
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = s.Close() // the listener may be closed already
	})
	err := s.Serve(l)
	if !stop() {
		<-done
	}
	if ctx.Err() != nil || errors.Is(err, smtp.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("the gateway cannot listen any more: %w", err)
}

type backend struct {
	g    *Gateway
	ctx  context.Context
	open atomic.Int32
}

// NewSession implements smtp.Backend.
func (b *backend) NewSession(*smtp.Conn) (smtp.Session, error) {
	if b.open.Add(1) > maxConnections {
		b.open.Add(-1)
		return nil, &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "too many connections"}
	}
	return &session{b: b}, nil
}

type session struct {
	b      *backend
	sender string
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.sender = "" }

// Logout implements smtp.Session.
func (s *session) Logout() error {
	s.b.open.Add(-1)
	return nil
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.sender = from
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if mail.Canonical(to) != mail.Canonical(s.b.g.cfg.Address) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	return nil
}

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	raw, err := inmail.ReadLimited(r, s.b.g.cfg.MaxMail)
	if errors.Is(err, inmail.ErrTooLarge) || errors.Is(err, smtp.ErrDataTooLarge) {
		return &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 3, 4}, Message: "mail too large"}
	}
	if err != nil {
		return err
	}
	err = s.b.g.Receive(s.b.ctx, raw, s.sender)
	switch {
	case err == nil, errors.Is(err, inmail.ErrMalformed):
		// To refuse it would have the mail server write to somebody who perhaps has not written.
		return nil
	}
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "try again later"}
}

// Submit hands a mail to the gateway that serves a local socket. The error wraps ErrLater if it should be tried again.
func Submit(ctx context.Context, socket, sender, address string, raw []byte) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLater, err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c := smtp.NewClientLMTP(conn)
	c.CommandTimeout, c.SubmissionTimeout = lmtpTimeout, 2*lmtpTimeout
	defer func() { _ = c.Close() }() // the answer has come
	if err := submit(c, sender, address, raw); err != nil {
		var answer *smtp.SMTPError
		if errors.As(err, &answer) && answer.Code/100 == 5 {
			return fmt.Errorf("the gateway refuses this mail: %d", answer.Code)
		}
		return ErrLater // the words of the answer could name somebody
	}
	return nil
}

func submit(c *smtp.Client, sender, address string, raw []byte) error {
	if err := c.Hello("localhost"); err != nil {
		return err
	}
	if err := c.Mail(sender, nil); err != nil {
		return err
	}
	if err := c.Rcpt(address, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return err
	}
	return w.Close()
}
