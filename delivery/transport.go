package delivery

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"
)

// Envelope is where a mail comes from and where it is to go.
type Envelope struct {
	// From gets the bounces; To are at most packet.MaxRecipients mailboxes. All are in the form that mail.ParseAddress accepts.
	From string
	To   []string
	// Queued is when the mail was to be sent for the first time. A server that has taken a mail since then is believed when it refuses this
	// one; see docs/exits.md. The zero time means: believe one that has taken any.
	Queued time.Time
	// Settled, if not nil, is told as soon as an address, by its place in To, is done with for good while others may not be. The transport
	// goes on when it returns.
	Settled func(i int)
}

func (e *Envelope) settled(i int) {
	if e.Settled != nil {
		e.Settled(i)
	}
}

// Transport takes finished mails out of the house: through smart hosts or a command. It may be used by several batches at a time.
type Transport interface {
	// Begin begins a batch. It connects to nothing yet.
	Begin() Batch
	// Probe finds out whether a mail could be sent now, without sending one.
	Probe(ctx context.Context) error
}

// Batch is a run of mails, one after the other. It must be closed.
type Batch interface {
	// Send sends a mail, with CRLF line ends, and returns an outcome for each address of the envelope. An error says that the next mail
	// would fare no better now; there are outcomes all the same. It names no address.
	Send(ctx context.Context, e Envelope, mail []byte) ([]Outcome, error)
	Close()
}

// SendOne sends a single mail.
func SendOne(ctx context.Context, t Transport, e Envelope, mail []byte) ([]Outcome, error) {
	b := t.Begin()
	defer b.Close()
	return b.Send(ctx, e, mail)
}

// TransportConfig says who takes the mails: smart hosts or a command.
type TransportConfig struct {
	// Servers are the smart hosts, the most preferred one first: host names or addresses, with a port or without (25; 465 for TLSImplicit).
	// A mail goes to the next one when one before cannot be reached or does not want our mail. The settings below hold for all of them.
	Servers []string
	// TLS protects the connection to them.
	TLS TLSMode
	// CAFile holds certificates (PEM) that the server's must descend from. "" means those of the system.
	CAFile string
	// Username and Password log in to them. They go over TLS with a checked certificate or over loopback only.
	Username string
	Password Secret
	// HelloName is what we call ourselves in EHLO.
	HelloName string
	// MaxPerConnection is how many mails are sent before the connection is made anew.
	MaxPerConnection int
	// Timeout bounds each command of a mail server and the transfer of a mail; twice as long is waited for the answer after a mail, and for
	// the end of Command.
	Timeout time.Duration
	// DialTimeout bounds making a connection.
	DialTimeout time.Duration
	// Dial makes a connection. Nil means a plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Command, in the place of Servers, is a program and its arguments, which is run for each recipient of a mail as sendmail would be:
	// followed by -i -f FROM -- RECIPIENT, with the mail on its standard input.
	Command []string

	// Now is the time. Nil means that of the system.
	Now func() time.Time
	// Logger takes what an operator should know about the transport. Nil means nobody does.
	Logger *slog.Logger
}

// NewTransport checks cfg and reads its CAFile. It connects to nothing.
func NewTransport(cfg TransportConfig) (Transport, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case len(cfg.Command) > 0 && len(cfg.Servers) > 0:
		return nil, errors.New("a mail server and a command given: only one of them can take the mail")
	case len(cfg.Command) > 0:
		return newSendmail(cfg)
	}
	return newSmartHosts(cfg)
}
