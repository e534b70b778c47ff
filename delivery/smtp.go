package delivery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"mixminion/delivery/mail"
	"mixminion/internal/logging"
	"mixminion/packet"
)

// maxTroubles is after how many messages in a row that found no working connection a batch is given up.
const maxTroubles = 3

// SMTP is the exit that sends messages to mail addresses, through a smart host (E2E-spec 3.3). It may be used by several batches at
// a time; each of them has a connection of its own.
type SMTP struct {
	host        *smartHost
	mail        *mail.Writer
	maximumSize int
	recipients  int // the most of one packet
	blocked     func(addr string) bool
}

// NewSMTP checks cfg and reads its CAFile. It does not connect to anything.
func NewSMTP(cfg SMTPConfig) (*SMTP, error) {
	host, err := newSmartHost(cfg)
	if err != nil {
		return nil, err
	}
	w, err := mail.NewWriter(cfg.Mail)
	if err != nil {
		return nil, err
	}
	if cfg.MaximumSize < 0 {
		return nil, errors.New("maximum size: it must not be negative")
	}
	blocked := cfg.Blocked
	if blocked == nil {
		blocked = func(string) bool { return false }
	}
	if cfg.MaximumRecipients < 0 || cfg.MaximumRecipients > packet.MaxRecipients {
		return nil, fmt.Errorf("maximum number of recipients: it must be from 1 to %d", packet.MaxRecipients)
	}
	return &SMTP{
		host: host, mail: w, blocked: blocked,
		maximumSize: orDefault(cfg.MaximumSize, DefaultMaximumSize), recipients: orDefault(cfg.MaximumRecipients, 1),
	}, nil
}

// Deliver sends items over one connection, which it makes when there is a first mail to send and makes anew when it breaks.
func (x *SMTP) Deliver(ctx context.Context, items iter.Seq[Item], done func(id uint64, o Outcome)) error {
	b := batch{host: x.host, from: x.mail.ReturnAddress()}
	defer b.close()
	for item := range items {
		to, data, why := x.prepare(b.buf[:0], item)
		b.buf = data
		if why != None {
			done(item.ID, dropped(why))
		} else {
			outcomes, err := b.send(ctx, to.names, data)
			done(item.ID, to.outcome(outcomes))
			if err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Probe connects to the mail server as for a mail, logs in if that is configured, and takes its leave.
func (x *SMTP) Probe(ctx context.Context) error {
	s, err := x.host.connect(ctx)
	if err != nil {
		return err
	}
	s.close(true)
	return nil
}

// prepare appends the mail that item is to become to buf. A reason other than None says why it can never be delivered.
func (x *SMTP) prepare(buf []byte, item Item) (to recipients, data []byte, why Reason) {
	tag, addr, ok := splitInfo(item)
	if !ok {
		return to, buf, Malformed
	}
	all, err := mail.ParseAddresses(addr)
	if err != nil || len(all) > x.recipients {
		return to, buf, Malformed
	}
	if to = x.open(all, item.Served); len(to.names) == 0 {
		return to, buf, Blocked
	}
	m, why := decode(item, tag, x.maximumSize)
	if why != None {
		return to, buf, why
	}
	m.To = all
	m.ID = item.Nonce
	m.Date = item.Queued
	if data, err = x.mail.Append(buf, m); err != nil {
		return to, buf, Corrupt
	}
	return to, data, None
}

// batch is the state of one Deliver.
type batch struct {
	host     *smartHost
	from     string
	session  *session // nil: none
	troubles int      // messages in a row that found no working connection
	warned   bool     // about policy
	buf      []byte   // the mail
}

// send sends one mail. An error ends the batch; there are outcomes all the same.
func (b *batch) send(ctx context.Context, rcpts []string, data []byte) ([]Outcome, error) {
	if b.session != nil && b.session.mails >= b.host.maxPerConnection {
		b.close()
	}
	fresh := b.session == nil
	outcomes, err := b.try(ctx, rcpts, data)
	if err != nil && !errors.Is(err, errLostAnswer) && !fresh && ctx.Err() == nil {
		// A server may have had enough of a connection at any time, and hang up or refuse the next mail; only a new connection shows
		// whether it still takes mail.
		outcomes, err = b.try(ctx, rcpts, data)
	}
	if err == nil {
		b.troubles = 0
		if !b.warned && slices.Contains(outcomes, retryLater(Unavailable)) {
			b.warned = true
			b.host.log.Warn("the mail server refuses recipients by policy and has taken no mail yet; does it relay for this exit?",
				"server", logging.Public(b.host.addr))
		}
		return outcomes, nil
	}
	b.troubles++
	mayPass := errors.Is(err, errLost) || errors.Is(err, errLostAnswer) || errors.Is(err, errBusy)
	if !mayPass || b.troubles >= maxTroubles || ctx.Err() != nil {
		return outcomes, fmt.Errorf("delivering mail: %w", err)
	}
	b.host.log.Warn("trouble with the mail server", "error", err)
	return outcomes, nil
}

// try sends one mail over the present connection, or else over a new one.
func (b *batch) try(ctx context.Context, rcpts []string, data []byte) ([]Outcome, error) {
	if b.session == nil {
		s, err := b.host.connect(ctx)
		if err != nil {
			outcomes := make([]Outcome, len(rcpts))
			for i := range outcomes {
				outcomes[i] = retryLater(Unavailable)
			}
			return outcomes, err
		}
		b.session = s
	}
	outcomes, err := b.session.send(b.from, rcpts, data)
	if err != nil {
		b.session.close(false)
		b.session = nil
		err = fmt.Errorf("mail server %s: %w", b.host.addr, err)
	}
	return outcomes, err
}

// close ends the connection, if there is one.
func (b *batch) close() {
	if b.session != nil {
		b.session.close(true)
		b.session = nil
	}
}
