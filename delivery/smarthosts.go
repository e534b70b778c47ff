package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mixminion/internal/logging"
)

const (
	// maxTroubles is after how many messages in a row that found no working connection a batch is given up.
	maxTroubles = 3
	// asideFor is how long a smart host that cannot be reached, or takes nothing from us, is asked after all others.
	asideFor = 15 * time.Minute
)

// smartHosts is the Transport over SMTP: mail servers in the order in which they are asked.
type smartHosts struct {
	hosts []*smartHost
	now   func() time.Time
	log   *slog.Logger

	mu     sync.Mutex
	warned time.Time // that a server refuses recipients
}

func newSmartHosts(cfg TransportConfig) (*smartHosts, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("no mail server given: an exit needs one that takes its mail, or a command that does")
	}
	t := &smartHosts{now: cfg.Now, log: cfg.Logger}
	for _, server := range cfg.Servers {
		h, err := newSmartHost(server, cfg)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(t.hosts, func(o *smartHost) bool { return o.addr == h.addr }) {
			return nil, fmt.Errorf("mail server %s is given twice", h.addr)
		}
		t.hosts = append(t.hosts, h)
	}
	return t, nil
}

// Begin implements Transport.
func (t *smartHosts) Begin() Batch {
	b := &hostsBatch{smartHosts: t}
	for _, h := range t.hosts {
		b.links = append(b.links, &link{host: h})
	}
	return b
}

// Probe connects to every server as for a mail, logs in if that is configured, and takes its leave.
func (t *smartHosts) Probe(ctx context.Context) error {
	var all error
	for _, h := range t.hosts {
		s, err := h.connect(ctx)
		switch {
		case err == nil:
			s.close(true)
		case all == nil:
			all = &serverError{h.addr, err}
		default:
			all = fmt.Errorf("%w; %w", all, &serverError{h.addr, err})
		}
	}
	return all
}

// serverError says which mail server is in trouble, in the log too.
type serverError struct {
	addr string
	err  error
}

func (e *serverError) name() string { return "mail server " + e.addr }

// Error names the server.
func (e *serverError) Error() string { return e.name() + ": " + e.err.Error() }

// Unwrap returns the trouble.
func (e *serverError) Unwrap() error { return e.err }

// Public returns the part of the text that is logged as it is: the configuration has it.
func (e *serverError) Public() []string { return []string{e.name()} }

// hostsBatch is the state of one batch. Its links are in the order of the hosts.
type hostsBatch struct {
	*smartHosts
	links    []*link
	troubles int // messages in a row that found no working connection
}

// Send implements Batch. It asks one server after the other for those addresses that none has taken or refused for good.
func (b *hostsBatch) Send(ctx context.Context, e Envelope, mail []byte) ([]Outcome, error) {
	outcomes := make([]Outcome, len(e.To))
	open := make([]int, len(e.To))
	for i := range open {
		open[i] = i
		outcomes[i] = retryLater(Unavailable)
	}
	var trouble error
	worked := false
	for _, l := range b.order() {
		for i := range e.To {
			if outcomes[i].Status != Retry {
				e.settled(i) // the next server takes its time
			}
		}
		part := Envelope{From: e.From, Queued: e.Queued, Settled: func(i int) { e.settled(open[i]) }}
		for _, i := range open {
			part.To = append(part.To, e.To[i])
		}
		tried := len(open)
		now, err := l.send(ctx, part, mail)
		var rest []int
		for j, i := range open {
			outcomes[i] = now[j]
			if now[j] == retryLater(Unavailable) {
				rest = append(rest, i)
			}
		}
		if err != nil {
			err = &serverError{l.host.addr, err}
			if ctx.Err() == nil {
				l.host.aside(b.now().Add(asideFor))
			}
			if trouble != nil {
				err = fmt.Errorf("%w; %w", trouble, err)
			}
			trouble = err
		} else {
			worked = true
			if len(rest) == tried {
				l.host.refusedAll()
			}
			b.warn(l.host, len(rest))
		}
		if open = rest; len(open) == 0 || ctx.Err() != nil {
			break
		}
	}
	if trouble == nil || worked {
		b.troubles = 0
		if trouble != nil {
			b.log.Warn("trouble with a mail server; another one is there", "error", trouble)
		}
		return outcomes, nil
	}
	b.troubles++
	mayPass := errors.Is(trouble, errLost) || errors.Is(trouble, errLostAnswer) || errors.Is(trouble, errBusy)
	if !mayPass || b.troubles >= maxTroubles || ctx.Err() != nil {
		return outcomes, trouble
	}
	b.log.Warn("trouble with the mail server", "error", trouble)
	return outcomes, nil
}

// warn tells the operator, at most once in an hour since anybody can cause it, that a server refuses addresses and has
// not shown yet that it takes mail for any.
func (t *smartHosts) warn(h *smartHost, refused int) {
	if refused == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.now(); t.warned.IsZero() || now.Sub(t.warned) >= time.Hour {
		t.warned = now
		t.log.Warn("the mail server refuses recipients and has taken no mail since these came; does it relay for this exit?",
			"server", logging.Public(h.addr))
	}
}

// order returns the links in the order in which to try them.
func (b *hostsBatch) order() []*link {
	now := b.now()
	links := slices.Clone(b.links)
	slices.SortStableFunc(links, func(a, c *link) int {
		switch x, y := a.host.isAside(now), c.host.isAside(now); {
		case x == y:
			return 0
		case x:
			return 1
		}
		return -1
	})
	return links
}

// Close implements Batch.
func (b *hostsBatch) Close() {
	for _, l := range b.links {
		l.close()
	}
}

// link is a smart host within a batch, and the connection to it, if there is one.
type link struct {
	host    *smartHost
	session *session
}

// send sends one mail over the present connection or a new one.
func (l *link) send(ctx context.Context, e Envelope, data []byte) ([]Outcome, error) {
	if l.session != nil && l.session.mails >= l.host.maxPerConnection {
		l.close()
	}
	fresh := l.session == nil
	outcomes, err := l.try(ctx, e, data)
	if err == nil || errors.Is(err, errLostAnswer) || fresh || ctx.Err() != nil {
		return outcomes, err
	}
	// A server may have had enough of a connection at any time, and hang up or refuse the next mail; only a new connection shows whether
	// it still takes mail. Whom it has refused for good before it did, it need not be asked again.
	var again []int
	part := Envelope{From: e.From, Queued: e.Queued, Settled: func(i int) { e.settled(again[i]) }}
	for i, o := range outcomes {
		if o.Status == Retry {
			again = append(again, i)
			part.To = append(part.To, e.To[i])
		}
	}
	now, err := l.try(ctx, part, data)
	for j, i := range again {
		outcomes[i] = now[j]
	}
	return outcomes, err
}

func (l *link) try(ctx context.Context, e Envelope, data []byte) ([]Outcome, error) {
	if l.session == nil {
		s, err := l.host.connect(ctx)
		if err != nil {
			outcomes := make([]Outcome, len(e.To))
			for i := range outcomes {
				outcomes[i] = retryLater(Unavailable)
			}
			return outcomes, err
		}
		l.session = s
	}
	outcomes, err := l.session.send(e, data)
	if err != nil {
		l.session.close(false)
		l.session = nil
	}
	return outcomes, err
}

// close ends the connection, if there is one.
func (l *link) close() {
	if l.session != nil {
		l.session.close(true)
		l.session = nil
	}
}
