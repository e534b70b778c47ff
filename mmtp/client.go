package mmtp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// An Item is one packet to send.
type Item struct {
	// Packet must not be changed until Done is called.
	Packet *packet.Packet
	// Junk sends Packet, which should be random bytes, as padding that the server throws away.
	Junk bool
	// Done, if not nil, is called once, in the order of the items, with what became of the packet: nil if the server has taken it,
	// ErrRejected if it must be tried again later, another error if the link broke; then the server may have it or not, and it
	// must be sent again too: servers drop duplicates. It is called from Send and should not block. A server that rejects one packet
	// will probably reject the next; a sequence may look at what Done was told and end early.
	Done func(error)
}

// defaultLinks is how many links a client has at one time unless it is told otherwise.
const defaultLinks = 16

// ClientConfig configures a Client. Zero values mean the defaults given.
type ClientConfig struct {
	// Dial opens a connection to a host and port. The default is a net.Dialer, which resolves names and tries IPv6 and IPv4.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the clock that certificates and the age of links are judged by: time.Now.
	Now func() time.Time

	// Bandwidth, if not nil, limits what is read and written.
	Bandwidth *Bandwidth
	// Legacy, if not nil, says to which servers a legacy link may be made, of TLS 1.0 to 1.2, when none of TLS 1.3 comes about: to those that
	// are known, by something signed, not to speak TLS 1.3. For others a failure would be all that an attacker needs to get a worse link.
	// Without LegacyAvailable it is not asked.
	Legacy func(to packet.Hop) bool
	// Proven, if not nil, is told of each link that is made, when the server has proved the identity key, and where it is.
	Proven func(to packet.Hop, at netip.Addr)

	Window         int           // packets that may be unanswered on one link: 16
	MaxConnections int           // links at one time, idle ones included: 16
	ConnectTimeout time.Duration // to connect, shake hands and agree on the version: 1 min
	AnswerTimeout  time.Duration // for the server to take a packet, and to answer it: 2 min
	IdleTimeout    time.Duration // how long an unused link is kept: 2 min
	MaxLinkAge     time.Duration // how long a link is used before it is replaced (minion-spec 4): 15 min
}

// A Client sends packets to servers. It keeps one link to each server it talks to and uses it again. It is safe for concurrent use;
// close it when it is not needed any more.
type Client struct {
	cfg   ClientConfig
	users sync.WaitGroup // Send and Probe calls, and timers that are running

	mu      sync.Mutex // guards what follows
	closed  bool
	peers   map[packet.Hop]*peer
	most    int             // ClientConfig.MaxConnections
	open    int             // links that exist or are being made
	waiting []chan struct{} // calls that wait for a place among the links; closing one hands the place over
	idles   uint64          // counts how often a link became idle
}

// peer is a server that some call talks to or that an idle link leads to.
type peer struct {
	hop  packet.Hop
	turn chan struct{} // holds a token while a call uses the link

	calls     int // calls that use the peer or wait for their turn
	idle      *link
	idleTimer *time.Timer
	idleSince uint64 // Client.idles when it became idle
}

// NewClient returns a Client.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Window = cmp.Or(cfg.Window, 16)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, defaultLinks)
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, time.Minute)
	cfg.AnswerTimeout = cmp.Or(cfg.AnswerTimeout, 2*time.Minute)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 2*time.Minute)
	cfg.MaxLinkAge = cmp.Or(cfg.MaxLinkAge, 15*time.Minute)
	return &Client{cfg: cfg, most: cfg.MaxConnections, peers: make(map[packet.Hop]*peer)}
}

// Send sends the items to a server and returns when each item that it took from the sequence has an answer. It takes an item only when
// it can be written, so at most ClientConfig.Window items are in memory, and takes none if the link cannot be made or after it broke.
// Calls for one server wait for each other; calls for different servers run at the same time.
//
// The error says what was wrong with the link, and is nil if the server answered every item; an item's own fate goes to its Done.
// Errors wrap ErrKeyID, ErrCertificate, ErrVersion, ErrProtocol, ErrClosed, the error of ctx, or an error of the network.
func (c *Client) Send(ctx context.Context, to packet.Hop, items iter.Seq[Item]) error {
	p, err := c.take(ctx, to)
	if err != nil {
		return &HopError{"send to", to, err}
	}
	defer c.giveBack(p)
	b := &batch{client: c, peer: p}
	if err := b.run(ctx, items); err != nil {
		return &HopError{"send to", to, err}
	}
	return nil
}

// Probe makes a new link to a server, checks its certificates and the version of the protocol, and closes the link. It returns the keyid
// that the server proved to have. That must be to.KeyID, else the error wraps ErrKeyID; if to.KeyID is zero any keyid is good.
func (c *Client) Probe(ctx context.Context, to packet.Hop) (crypt.KeyID, error) {
	if err := c.begin(); err != nil {
		return crypt.KeyID{}, &HopError{"probe", to, err}
	}
	defer c.users.Done()
	var proven crypt.KeyID
	expected := expectKeyID(to.KeyID)
	l, err := c.connect(ctx, to, func(id crypt.KeyID) error {
		proven = id
		if to.KeyID == (crypt.KeyID{}) {
			return nil
		}
		return expected(id)
	})
	if err != nil {
		return crypt.KeyID{}, &HopError{"probe", to, err}
	}
	l.close()
	return proven, nil
}

// Close waits until all calls of Send and Probe have returned (end their contexts to hurry them) and closes the idle links. Later calls
// fail with ErrClosed.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	var idle []*link
	for _, p := range c.peers {
		if l := c.takeIdle(p); l != nil {
			idle = append(idle, l)
		}
	}
	c.mu.Unlock()
	for _, l := range idle {
		l.close()
		c.releasePlace()
	}
	c.users.Wait()
}

// begin counts a call, so that Close waits for it.
func (c *Client) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.users.Add(1)
	return nil
}

// connect makes a link. check judges the keyid that the server proved.
func (c *Client) connect(ctx context.Context, to packet.Hop, check func(crypt.KeyID) error) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.ConnectTimeout,
		fmt.Errorf("no link within %v: %w", c.cfg.ConnectTimeout, context.DeadlineExceeded))
	defer cancel()
	l, err := c.try(ctx, to, check, modernHandshake)
	if err == nil || c.cfg.Legacy == nil || !mayFallBack(ctx, err) || !c.cfg.Legacy(to) {
		return l, err
	}
	l, err = c.try(ctx, to, check, legacyHandshake)
	if err != nil {
		return nil, err
	}
	l.window, l.legacy = min(l.window, legacyWindow), true
	return l, nil
}

type handshake func(context.Context, net.Conn, func() time.Time, func(crypt.KeyID) error) (halfCloser, error)

// try makes a link with one kind of handshake.
func (c *Client) try(ctx context.Context, to packet.Hop, check func(crypt.KeyID) error, shake handshake) (*link, error) {
	raw, err := c.cfg.Dial(ctx, "tcp", address(to))
	if err != nil {
		return nil, explain(ctx, err)
	}
	_, at := sourceOf(raw.RemoteAddr())
	raw = c.cfg.Bandwidth.conn(context.WithoutCancel(ctx), raw) // the link outlives ctx
	conn, err := shake(ctx, raw, c.cfg.Now, check)
	if err != nil {
		_ = raw.Close() // the handshake's error says more
		return nil, explain(ctx, err)
	}
	if c.cfg.Proven != nil && at.IsValid() {
		c.cfg.Proven(to, at)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	err = agreeVersion(conn)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close() // err says more
		return nil, explain(ctx, fmt.Errorf("version exchange: %w", err))
	}
	return newLink(conn, c.cfg.Now(), c.cfg.Window, c.cfg.AnswerTimeout), nil
}

// explain replaces err by the reason why ctx ended, if that is what caused it.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ErrCertificate) && !errors.Is(err, ErrKeyID) {
		return context.Cause(ctx)
	}
	return err
}

func address(h packet.Hop) string { return net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port))) }
