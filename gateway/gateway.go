// Package gateway takes in ordinary mail for people who can be reached through reply blocks only: who has got an
// anonymous mail with a reply block in it can answer from any mail program, by writing to the operator's address and
// enclosing the block. What a gateway accepts, how it reads it and what its owner makes of it is specified in
// docs/spec/gateway.md.
//
// Whoever writes is known to the gateway, and the gateway knows which block they used; who made the block it cannot know. It writes nothing
// of either down. A mail that was accepted has left: its packets are in the pool of the mix, durably, before the mail server hears so.
package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"mixminion/delivery/inmail"
	"mixminion/delivery/mail"
	"mixminion/internal/uniform"
	"mixminion/message"
	"mixminion/packet"
)

// Errors of Receive and of a Network.
var (
	// ErrLater says that a mail cannot be taken now, and that the mail server should keep it.
	ErrLater = errors.New("the gateway takes this mail later")
	// ErrUnusable is what a Network says of a reply block that has been used, is over, or leads nowhere.
	ErrUnusable = errors.New("the reply block cannot be used")
	// ErrSent is what a Network says when it has sent a reply of that name before.
	ErrSent = errors.New("the reply has been sent already")
)

// minLeft is how long a reply block must be good still for an answer to have a chance to arrive.
const minLeft = 3 * time.Hour

// A Network sends replies.
type Network interface {
	// Ready returns an error if no reply can be sent now, whatever the block. It is asked for each mail, so that
	// whether a mail is taken does not tell whether its block is good.
	Ready() error
	// Usable returns an error that wraps ErrUnusable for a reply block through which nothing can be sent.
	Usable(b *packet.SURB) error
	// Reply sends payloads through reply blocks, one each, all or none, and returns nil when neither a crash can lose them nor anybody use the
	// blocks again. name tells this reply from all others: the same one is not sent twice. An error that wraps neither
	// ErrUnusable nor ErrSent may pass.
	Reply(ctx context.Context, name []byte, payloads []packet.Payload, blocks []*packet.SURB) error
}

// Config is what a gateway needs to know.
type Config struct {
	Network Network
	// Address is the mailbox of the gateway.
	Address string
	// MaxMail is how many bytes a mail may have; PerSender and PerDay are how many are taken in a day from one mailbox and in all. 0 means
	// the defaults.
	MaxMail, PerSender, PerDay int
	// Receipt sends a finished mail without a sender in its envelope; nil means that there are no receipts.
	Receipt func(ctx context.Context, to string, data []byte) error
	// Unwilling says who gets no mail from here, receipts included; nil means nobody.
	Unwilling func(addr string) bool
	Now       func() time.Time
	Logger    *slog.Logger
}

// Defaults of a Config.
const (
	DefaultMaxMail   = 1 << 20
	DefaultPerSender = 10
	DefaultPerDay    = 1000
)

// Gateway takes in mails. Its methods may be called from several goroutines.
type Gateway struct {
	cfg      Config
	limits   *limits
	receipts chan string // whom to send one
	slots    chan struct{}
	warned   atomic.Int64 // when the operator was told why mails wait, in seconds since 1970
}

const (
	maxReceipts = 256 // that wait to be sent; more are not
	maxAtOnce   = 2   // mails that are read at a time
	// maxTries is how often a reply is tried, when blocks that were good a moment ago have been used by other mails.
	maxTries = maxAtOnce + 1
)

// New makes a gateway. Its receipts leave while Run runs.
func New(cfg Config) (*Gateway, error) {
	if _, err := mail.ParseAddress([]byte(cfg.Address)); err != nil {
		return nil, fmt.Errorf("address of the gateway: %w", err)
	}
	for _, v := range []struct {
		p   *int
		def int
	}{{&cfg.MaxMail, DefaultMaxMail}, {&cfg.PerSender, DefaultPerSender}, {&cfg.PerDay, DefaultPerDay}} {
		if *v.p <= 0 {
			*v.p = v.def
		}
	}
	if cfg.Unwilling == nil {
		cfg.Unwilling = func(string) bool { return false }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Gateway{
		cfg: cfg, limits: newLimits(cfg.PerSender, cfg.PerDay, cfg.Now), receipts: make(chan string, maxReceipts), slots: make(chan struct{}, maxAtOnce),
	}, nil
}

// Receive takes in a mail. sender is the address in its envelope, or inmail.NoSender. When it returns nil the mail is
// done with: what can be sent of it will leave, even after a crash. The error wraps ErrLater, or inmail.ErrMalformed
// for what is no mail.
func (g *Gateway) Receive(ctx context.Context, raw []byte, sender string) error {
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrLater, ctx.Err())
	}
	m, err := inmail.Read(raw)
	if err != nil {
		return err
	}
	if m.Automatic(sender) || mail.Canonical(m.From) == mail.Canonical(g.cfg.Address) {
		return nil
	}
	senders := []string{m.From}
	if addr, err := mail.ParseAddress([]byte(strings.Trim(sender, "<> "))); err == nil && sender != inmail.NoSender {
		senders = append(senders, addr) // who gets the receipt
	}
	if !g.limits.take(senders...) {
		return fmt.Errorf("%w: too many mails in a day", ErrLater)
	}
	if err := g.accept(ctx, m); err != nil {
		g.limits.giveBack(senders...)
		return err
	}
	g.acknowledge(senders[len(senders)-1])
	return nil
}

// accept reads a mail and sends what it says. The error is one of Receive.
func (g *Gateway) accept(ctx context.Context, m *inmail.Mail) error {
	c, err := read(m)
	if err != nil {
		return err
	}
	err = g.cfg.Network.Ready()
	if err == nil {
		err = g.send(ctx, m, c)
	}
	if err != nil {
		g.warnOfTrouble(ctx, err)
		return fmt.Errorf("%w: %w", ErrLater, err)
	}
	return nil
}

// warnOfTrouble tells the operator, once in an hour, why mails wait.
func (g *Gateway) warnOfTrouble(ctx context.Context, err error) {
	now := g.cfg.Now().Unix()
	last := g.warned.Load()
	if ctx.Err() == nil && now-last >= 60*60 && g.warned.CompareAndSwap(last, now) {
		g.cfg.Logger.Warn("the gateway can send no replies; mail for it waits", "error", err)
	}
}

// send sends what a mail says, if it says something and has good blocks for it. An error may pass.
func (g *Gateway) send(ctx context.Context, m *inmail.Mail, c *content) error {
	blocks := g.usable(c.blocks)
	if len(c.text) == 0 || len(blocks) == 0 {
		return nil
	}
	prefix, err := message.Headers{}.Encode()
	if err != nil {
		return err
	}
	text := fmt.Appendf(prefix, "This came by mail to %s. Nobody has checked who wrote it.\nFrom: %s\nSubject: %s\n\n", g.cfg.Address, m.From, m.Subject)
	enc, err := message.Encode(rand.Reader, append(text, c.text...), 0)
	if err != nil {
		return err
	}
	n := len(enc.Payloads)
	if err := uniform.ShuffleSlice(rand.Reader, enc.Payloads); err != nil {
		return err
	}
	for range maxTries {
		if n > len(blocks) {
			return nil // a part of a message would be of no use
		}
		err = g.cfg.Network.Reply(ctx, name(m), enc.Payloads, blocks[:n])
		if !errors.Is(err, ErrUnusable) {
			break
		}
		blocks = g.usable(blocks) // another mail was faster
	}
	if errors.Is(err, ErrUnusable) || errors.Is(err, ErrSent) {
		return nil
	}
	return err
}

// usable leaves out what is given twice, and what cannot be used.
func (g *Gateway) usable(all []*packet.SURB) (out []*packet.SURB) {
	seen := map[[packet.HeaderLen]byte]bool{}
	for _, b := range all {
		if seen[b.Header] || b.Expires.Sub(g.cfg.Now()) < minLeft || g.cfg.Network.Usable(b) != nil {
			continue
		}
		seen[b.Header] = true
		out = append(out, b)
	}
	return out
}

// name is what makes a mail different from others: a mail server that did not hear that it was taken will bring the same one again.
func name(m *inmail.Mail) []byte {
	var out []byte
	for _, field := range []string{"Message-Id", "Date", "From", "Subject"} {
		out = fmt.Appendf(out, "%q\n", m.Header[field])
	}
	return append(out, m.Body...)
}
