package delivery_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// received is one mail as the server got it.
type received struct {
	from string
	to   []string
	data string
	tls  bool
}

// mailServer is an SMTP server on loopback. Its hooks answer the commands; nil accepts.
type mailServer struct {
	smtp *smtp.Server
	addr string

	onMail func(from string) error
	onRcpt func(to string) error
	onData func(c *smtp.Conn) error // before the mail is taken
	user   string                   // "" offers no AUTH
	pass   string

	mu       sync.Mutex
	conns    int
	sessions int
	auths    int
	hellos   []string
	mails    []received
}

// startServer starts a server with the given TLS configuration for STARTTLS (nil: not offered).
func startServer(t testing.TB, config *tls.Config, prepare func(*mailServer)) *mailServer {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln, config, prepare)
}

func serve(t testing.TB, ln net.Listener, config *tls.Config, prepare func(*mailServer)) *mailServer {
	t.Helper()
	m := &mailServer{addr: ln.Addr().String()}
	m.smtp = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sessions++
		m.hellos = append(m.hellos, c.Hostname())
		return &mailSession{server: m, conn: c}, nil
	}))
	m.smtp.Domain = "smart.example.net"
	m.smtp.TLSConfig = config
	m.smtp.MaxMessageBytes = 200 << 10
	m.smtp.ErrorLog = log.New(io.Discard, "", 0)
	if prepare != nil {
		prepare(m)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.smtp.Serve(countingListener{ln, m})
	}()
	t.Cleanup(func() {
		_ = m.smtp.Close()
		<-done
	})
	return m
}

type countingListener struct {
	net.Listener
	m *mailServer
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.m.mu.Lock()
		l.m.conns++
		l.m.mu.Unlock()
	}
	return c, err
}

func (m *mailServer) connections() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conns
}

func (m *mailServer) received() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mails)
}

type mailSession struct {
	server *mailServer
	conn   *smtp.Conn
	mail   received
	authed bool
}

func (s *mailSession) Reset()        { s.mail = received{} }
func (s *mailSession) Logout() error { return nil }

func (s *mailSession) Mail(from string, opts *smtp.MailOptions) error {
	if want := (smtp.MailOptions{Size: opts.Size}); *opts != want {
		return &smtp.SMTPError{Code: 555, EnhancedCode: smtp.EnhancedCode{5, 5, 4}, Message: "MAIL with more parameters than the size"}
	}
	if s.server.user != "" && !s.authed {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	s.mail.from = from
	_, s.mail.tls = s.conn.TLSConnectionState()
	if s.server.onMail != nil {
		return s.server.onMail(from)
	}
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.server.onRcpt != nil {
		if err := s.server.onRcpt(to); err != nil {
			return err
		}
	}
	s.mail.to = append(s.mail.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	if s.server.onData != nil {
		if err := s.server.onData(s.conn); err != nil {
			return err
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.data = string(data)
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.mails = append(s.server.mails, s.mail)
	return nil
}

func (s *mailSession) AuthMechanisms() []string {
	if s.server.user == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		s.server.mu.Lock()
		s.server.auths++
		s.server.mu.Unlock()
		if username != s.server.user || password != s.server.pass {
			return smtp.ErrAuthFailed
		}
		s.authed = true
		return nil
	}), nil
}

// smtpError is an answer for the hooks.
func smtpError(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: text}
}

// script is a server that says what a test wants it to say: one function per connection, in order. More connections are refused.
type script struct {
	addr  string
	conns int // accepted; read it after stop
	stop  func()
}

// talk is one end of a scripted connection.
type talk struct {
	net.Conn
	t *testing.T
}

func (c talk) say(text string) { _, _ = io.WriteString(c, text+"\r\n") }

// hear reads one line byte by byte, so that nothing is lost to a buffer when the connection becomes another's.
func (c talk) hear(prefix string) bool {
	line, ok := c.line()
	if ok && !strings.HasPrefix(line, prefix) {
		c.t.Errorf("server heard %q, want %q", line, prefix)
	}
	return ok
}

func (c talk) line() (string, bool) {
	var line strings.Builder
	for b := make([]byte, 1); ; {
		if _, err := c.Read(b); err != nil {
			return "", false
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(line.String(), "\r"), true
		}
		line.WriteByte(b[0])
	}
}

// hello greets and answers EHLO with some extensions.
func (c talk) hello(extensions ...string) {
	c.say("220 smart.example.net")
	c.ehlo(extensions...)
}

func (c talk) ehlo(extensions ...string) {
	if !c.hear("EHLO ") {
		return
	}
	lines := append([]string{"smart.example.net"}, extensions...)
	for i, l := range lines {
		if i+1 < len(lines) {
			c.say("250-" + l)
		} else {
			c.say("250 " + l)
		}
	}
}

// upToData takes a mail up to the answer to its final dot.
func (c talk) upToData() bool {
	for _, step := range []struct{ hear, say string }{{"MAIL FROM:", "250 ok"}, {"RCPT TO:", "250 ok"}, {"DATA", "354 go"}} {
		if !c.hear(step.hear) {
			return false
		}
		c.say(step.say)
	}
	tail := make([]byte, 0, 5)
	for b := make([]byte, 1); string(tail) != "\r\n.\r\n"; {
		if _, err := c.Read(b); err != nil {
			return false
		}
		if len(tail) == 5 {
			tail = tail[1:]
		}
		tail = append(tail, b[0])
	}
	return true
}

func startScript(t *testing.T, parts ...func(talk)) *script {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{addr: ln.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			} else if err != nil {
				t.Error(err)
				return
			}
			s.conns++
			if i < len(parts) {
				parts[i](talk{c, t})
			}
			_ = c.Close()
		}
	}()
	s.stop = sync.OnceFunc(func() {
		_ = ln.Close()
		<-done
	})
	t.Cleanup(s.stop)
	return s
}

// certificate makes a self-signed certificate for names and addresses, and a file that holds it.
func certificate(t testing.TB, names ...string) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}
