package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"

	"github.com/emersion/go-smtp"
)

// maxMail bounds a mail that a Sink takes.
const maxMail = 64 << 20

// Mail is a mail as a Sink got it.
type Mail struct {
	To   string
	Data []byte // headers and body, lines ending with CRLF
}

// A Sink is an SMTP server on loopback that takes every mail and keeps it for whoever reads Mails.
type Sink struct {
	Addr  string
	Mails chan Mail

	server *smtp.Server
	served chan error
}

// NewSink starts a Sink. Mails blocks the sender when it is full; it holds many.
func NewSink(ctx context.Context) (*Sink, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the mail sink: %w", err)
	}
	s := &Sink{Addr: l.Addr().String(), Mails: make(chan Mail, 1024), served: make(chan error, 1)}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &sinkSession{sink: s}, nil }))
	s.server.Domain = "localhost"
	s.server.MaxMessageBytes = maxMail
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	go func() { s.served <- s.server.Serve(l) }() // Close waits for it
	return s, nil
}

// Close stops the server.
func (s *Sink) Close() error {
	err := s.server.Close()
	if serveErr := <-s.served; !errors.Is(serveErr, smtp.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

type sinkSession struct {
	sink *Sink
	to   []string
}

func (s *sinkSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	for _, to := range s.to {
		s.sink.Mails <- Mail{To: to, Data: data}
	}
	return nil
}

func (s *sinkSession) Reset()        { s.to = nil }
func (s *sinkSession) Logout() error { return nil }

// Body returns the body of a mail without its transfer encoding.
func Body(mailData []byte) ([]byte, error) {
	m, err := mail.ReadMessage(bytes.NewReader(mailData))
	if err != nil {
		return nil, fmt.Errorf("read a mail: %w", err)
	}
	body := m.Body
	if strings.EqualFold(m.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read a mail's body: %w", err)
	}
	return data, nil
}
