package delivery

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"mixminion/delivery/ceiling"
	"mixminion/delivery/mail"
	"mixminion/packet"
)

// SMTP is the exit that sends messages to mail addresses (E2E-spec 3.3). It may be used by several batches at a time; each of them has
// connections of its own.
type SMTP struct {
	transport   Transport
	mail        *mail.Writer
	maximumSize int
	recipients  int // the most of one packet
	blocked     func(addr string) bool
	ceiling     *ceiling.Ceiling
	// find returns the mailboxes that an address, without decoding handle, stands for. A reason other than None says why it stands for none.
	find func(addr []byte) ([]string, Reason)
}

// NewSMTP checks cfg and reads its CAFile. It does not connect to anything.
func NewSMTP(cfg SMTPConfig) (*SMTP, error) {
	transport, err := NewTransport(cfg.TransportConfig)
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
	limit := cfg.Ceiling
	if limit == nil {
		if limit, err = ceiling.New(ceiling.Limits{}, nil, cfg.Now); err != nil {
			return nil, err
		}
	}
	x := &SMTP{
		transport: transport, mail: w, blocked: blocked, ceiling: limit,
		maximumSize: orDefault(cfg.MaximumSize, DefaultMaximumSize), recipients: orDefault(cfg.MaximumRecipients, 1),
	}
	x.find = x.mailboxes
	return x, nil
}

func (x *SMTP) mailboxes(addr []byte) ([]string, Reason) {
	all, err := mail.ParseAddresses(addr)
	if err != nil || len(all) > x.recipients {
		return nil, Malformed
	}
	return all, None
}

// Deliver sends items as one batch of the transport.
func (x *SMTP) Deliver(ctx context.Context, items iter.Seq[Item], done func(id uint64, o Outcome)) error {
	b := x.transport.Begin()
	defer b.Close()
	var buf []byte
	for item := range items {
		to, data, why := x.prepare(buf[:0], item)
		buf = data
		if why == None {
			to.takeShare(x.ceiling)
		}
		switch {
		case why != None:
			done(item.ID, dropped(why))
		case len(to.names) == 0:
			done(item.ID, to.outcome(nil))
		default:
			outcomes, err := b.Send(ctx, to.envelope(x.mail.ReturnAddress(), item), data)
			to.giveBack(x.ceiling, outcomes)
			done(item.ID, to.outcome(outcomes))
			if err != nil {
				return fmt.Errorf("delivering mail: %w", err)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Probe finds out whether a mail could be sent now: it connects to every mail server as for a mail, logs in if that is
// configured, and takes its leave.
func (x *SMTP) Probe(ctx context.Context) error { return x.transport.Probe(ctx) }

// Inherit goes on counting what each recipient gets where before is, whose place x takes. It is called before the first batch of x.
func (x *SMTP) Inherit(before *SMTP) { x.ceiling.Share(before.ceiling.Counter()) }

// prepare appends the mail that item is to become to buf. A reason other than None says why it can never be delivered.
func (x *SMTP) prepare(buf []byte, item Item) (to recipients, data []byte, why Reason) {
	tag, addr, ok := splitInfo(item)
	if !ok {
		return to, buf, Malformed
	}
	all, why := x.find(addr)
	if why != None {
		return to, buf, why
	}
	if to = x.open(all, item.Served); len(to.names) == 0 {
		return to, buf, Blocked
	}
	m, why := decode(item, tag, x.maximumSize)
	if why != None {
		return to, buf, why
	}
	to.kind = kindOf(m.Form)
	m.To = all
	m.ID = item.Nonce
	m.Date = item.Queued
	data, err := x.mail.Append(buf, m)
	if err != nil {
		return to, buf, Corrupt
	}
	return to, data, None
}
