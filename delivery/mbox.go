package delivery

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"mixminion/delivery/mail"
)

// MBOXConfig is what an MBOX exit needs to know.
type MBOXConfig struct {
	// Users returns where the mail of a user goes; false if there is no user of that name.
	Users func(name []byte) (addr string, ok bool)
	// Mail, MaximumSize and Blocked are as in SMTPConfig.
	Mail        mail.Options
	MaximumSize int
	Blocked     func(addr string) bool

	// TransportConfig says who takes the mails.
	TransportConfig
}

// MBOX is the exit that mails messages to users of its own, whom senders know by a name only (E2E-spec 3.2). Apart from
// where it goes, the mail is that of SMTP. It may be used by several batches at a time.
type MBOX struct {
	smtp *SMTP
	now  func() time.Time
	log  *slog.Logger

	mu     sync.Mutex
	warned time.Time
}

// NewMBOX checks cfg and reads its CAFile. It connects to nothing.
func NewMBOX(cfg MBOXConfig) (*MBOX, error) {
	if cfg.Users == nil {
		return nil, errors.New("no users given: an MBOX exit needs to know where their mail goes")
	}
	smtp, err := NewSMTP(SMTPConfig{
		Mail: cfg.Mail, MaximumSize: cfg.MaximumSize, MaximumRecipients: 1, Blocked: cfg.Blocked, TransportConfig: cfg.TransportConfig,
	})
	if err != nil {
		return nil, err
	}
	x := &MBOX{smtp: smtp, now: cfg.Now, log: cfg.Logger}
	if x.now == nil {
		x.now = time.Now
	}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	smtp.find = func(name []byte) ([]string, Reason) {
		if len(name) == 0 {
			return nil, Malformed
		}
		addr, ok := cfg.Users(name)
		if !ok {
			x.warn()
			return nil, NoUser
		}
		if _, err := mail.ParseAddress([]byte(addr)); err != nil {
			return nil, Malformed
		}
		return []string{addr}, None
	}
	return x, nil
}

// Deliver implements Exit.
func (x *MBOX) Deliver(ctx context.Context, items iter.Seq[Item], done func(id uint64, o Outcome)) error {
	return x.smtp.Deliver(ctx, items, done)
}

// Probe is that of SMTP.
func (x *MBOX) Probe(ctx context.Context) error { return x.smtp.Probe(ctx) }

// warn says, at most once in an hour, that messages come for users that are not there. Which ones is nobody's business.
func (x *MBOX) warn() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now := x.now(); x.warned.IsZero() || now.Sub(x.warned) >= time.Hour {
		x.warned = now
		x.log.Warn("messages for users who are not in the address file are dropped")
	}
}
