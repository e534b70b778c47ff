package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"mixminion/delivery/ceiling"
	"mixminion/delivery/mail"
)

// TLSMode is how the connection to the smart host is protected.
type TLSMode uint8

const (
	// TLSOpportunistic means STARTTLS when the server offers it, whatever its certificate; else in the clear. Nobody who only listens
	// can read along, but whoever can change the traffic can.
	TLSOpportunistic TLSMode = iota
	// TLSRequired means STARTTLS with a certificate that is valid for the server's name, or no mail.
	TLSRequired
	// TLSImplicit means TLS from the first byte, with a certificate that is valid for the server's name.
	TLSImplicit
	// TLSOff means in the clear. For a mail server on the same machine.
	TLSOff
)

// String names the mode as configuration files do.
func (m TLSMode) String() string {
	switch m {
	case TLSOpportunistic:
		return "opportunistic"
	case TLSRequired:
		return "required"
	case TLSImplicit:
		return "implicit"
	case TLSOff:
		return "off"
	}
	return fmt.Sprintf("TLSMode(%d)", uint8(m))
}

// ParseTLSMode is the reverse of String.
func ParseTLSMode(s string) (TLSMode, error) {
	for m := TLSOpportunistic; m <= TLSOff; m++ {
		if strings.EqualFold(s, m.String()) {
			return m, nil
		}
	}
	return 0, fmt.Errorf("unknown TLS mode %q: it must be opportunistic, required, implicit or off", s)
}

// Secret is a password. It prints as "[hidden]".
type Secret string

// String hides the secret.
func (Secret) String() string { return "[hidden]" }

// GoString hides the secret.
func (Secret) GoString() string { return "[hidden]" }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// What an SMTPConfig means by 0 or "".
const (
	DefaultHelloName        = "localhost" // does not tell the machine's name
	DefaultMaximumSize      = 100 << 10
	DefaultMaxPerConnection = 100
	DefaultTimeout          = 5 * time.Minute // RFC 5321, 4.5.3.2
	DefaultDialTimeout      = 30 * time.Second
)

// SMTPConfig is what an SMTP exit needs to know.
type SMTPConfig struct {
	// Mail is the form of the mails.
	Mail mail.Options
	// MaximumSize is how many bytes a message may have, decompressed and before it is armored. A larger one is dropped.
	MaximumSize int
	// MaximumRecipients is how many addresses a packet may name, at most packet.MaxRecipients; 0 means one. They get one mail, and see
	// each other. A packet with more is dropped.
	MaximumRecipients int
	// Blocked reports that nothing is to be delivered to a mailbox. Nil blocks nobody.
	Blocked func(addr string) bool

	// Ceiling bounds the mails that each recipient gets in a day. Nil means that nothing does.
	Ceiling *ceiling.Ceiling

	// TransportConfig says who takes the mails.
	TransportConfig
}

// newSmartHost checks the address of a server and the part of cfg that is about the connection.
func newSmartHost(server string, cfg TransportConfig) (*smartHost, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = strings.Trim(server, "[]"), "25"
		if cfg.TLS == TLSImplicit {
			port = "465"
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, " \t\r\n[]/@") {
		return nil, fmt.Errorf("mail server %q: write it as host or host:port", server)
	}
	if cfg.TLS > TLSOff {
		return nil, fmt.Errorf("mail server: %v is no TLS mode", cfg.TLS)
	}
	h := &smartHost{
		addr:             net.JoinHostPort(host, port),
		mode:             cfg.TLS,
		username:         cfg.Username,
		password:         cfg.Password,
		helloName:        orDefault(cfg.HelloName, DefaultHelloName),
		maxPerConnection: orDefault(cfg.MaxPerConnection, DefaultMaxPerConnection),
		timeout:          orDefault(cfg.Timeout, DefaultTimeout),
		dialTimeout:      orDefault(cfg.DialTimeout, DefaultDialTimeout),
		dial:             cfg.Dial,
		log:              cfg.Logger,
		now:              cfg.Now,
	}
	if strings.ContainsFunc(h.helloName, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("name %q for EHLO: it must be a host name", h.helloName)
	}
	if (cfg.Username == "") != (cfg.Password == "") {
		return nil, errors.New("mail server: a user name and a password go together")
	}
	checked := cfg.TLS == TLSRequired || cfg.TLS == TLSImplicit
	if cfg.Username != "" && !checked && !isLoopback(host) {
		return nil, errors.New("mail server: a password is only sent with TLS required or implicit, or to this machine itself")
	}
	if h.dial == nil {
		h.dial = new(net.Dialer).DialContext
	}
	h.tls = &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: host,
		// An opportunistic connection would go on in the clear if the certificate were refused.
		InsecureSkipVerify: !checked,
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificates for the mail server: %w", err)
		}
		h.tls.RootCAs = x509.NewCertPool()
		if !h.tls.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates for the mail server: %s holds none in PEM form", cfg.CAFile)
		}
	}
	return h, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
