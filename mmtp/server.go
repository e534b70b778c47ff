package mmtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"mixminion/packet"
)

// Kind says what arrived.
type Kind int

// The kinds of what a server takes in. Whichever it is, the handler acknowledges it at its next tick, so that all look alike
// from outside.
const (
	KindPacket Kind = iota // a packet whose digest is right; ack(true) answers RECEIVED, ack(false) REJECTED
	KindJunk               // padding; the answer is RECEIVED, whatever ack is told
	KindBad                // the digest was wrong; the answer is REJECTED
	KindNoRoom             // Room was false: not examined; the answer is REJECTED
)

// A Handler takes what a Server receives. Its methods are called from many goroutines at once, and in order for one connection.
type Handler interface {
	// Room reports whether a packet could be stored now. While it is false every SEND is rejected unexamined.
	Room() bool
	// Handle takes over one arrival. p is nil unless kind is KindPacket; the handler owns it and may give it to Recycle when it needs
	// it no longer. The handler calls ack once, from any goroutine, when the packet is safe or refused; later calls do nothing, and
	// ack never blocks. Handle may block for a while: then the connection is not read.
	Handle(kind Kind, p *packet.Packet, ack func(accepted bool))
}

// ServerConfig configures a Server. Zero values of the limits mean the defaults given with them.
type ServerConfig struct {
	// Certificate gives the link certificate for a new connection; see LinkIdentity.
	Certificate func() (*tls.Certificate, error)
	Handler     Handler
	Logger      *slog.Logger // nil: silent

	// Legacy, if not nil, makes the server accept legacy links, of TLS 1.0 to 1.2, too. It looks at the first message of each client before it
	// chooses.
	Legacy *LegacyIdentity

	// Limits are those at the start.
	Limits
	// Known, if not nil, tells the addresses of mixes in the directory: a flood of strangers does not shut them out. It is called often and
	// from many goroutines.
	Known func(netip.Addr) bool
	// Bandwidth, if not nil, limits what is read and written.
	Bandwidth *Bandwidth

	// MaxBuffered is how many bytes of packets may be in reading or wait for their ack. The default is 32 KiB for each of
	// MaxConnections, so that peers who stop in the middle of a packet cannot take all of it, and 32 MiB more.
	MaxBuffered int

	WriteTimeout time.Duration // for the peer to take an answer: 1 min
	DrainTimeout time.Duration // for outstanding acks before a connection is closed: 10 s
	MaxLinkAge   time.Duration // after this a link is closed by us (minion-spec 4): 20 min
}

// A Server accepts links and gives what arrives to its Handler. Its memory is bounded by the limits of its configuration: a connection
// costs some ten kilobytes, and a buffer for a packet exists only once a command has arrived.
type Server struct {
	cfg     ServerConfig
	log     *slog.Logger
	tls     *tls.Config
	limits  atomic.Pointer[Limits]
	door    *door
	turns   turns[netip.Prefix] // to hand packets over
	buffers places              // one is taken by each packet that is being read or waits for its ack

	overLimit, acceptFails rareLog
}

// NewServer returns a Server; call Serve to run it.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Certificate == nil || cfg.Handler == nil {
		return nil, errors.New("MMTP server needs a certificate and a handler")
	}
	cfg.Limits = cfg.withDefaults()
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, time.Minute)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 10*time.Second)
	cfg.MaxLinkAge = cmp.Or(cfg.MaxLinkAge, 20*time.Minute)
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg,
		log: log,
		tls: serverTLS(cfg.Certificate),
	}
	s.SetLimits(cfg.Limits)
	s.door = newDoor(s.limits.Load, cfg.Known)
	return s, nil
}

// Connections is how many connections are open now.
func (s *Server) Connections() int { return s.door.open() }

// Serve accepts connections from the listeners until ctx is done or a listener breaks, and closes the listeners. Before it returns it
// stops reading, waits, for a bounded time, until what the handler already has is acknowledged, and closes every link; so the handler
// must work until Serve has returned. It returns nil when ctx ended it. A Server may be run once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var accepting, open sync.WaitGroup
	broken := make(chan error, len(listeners))
	for _, l := range listeners {
		accepting.Go(func() {
			if err := s.accept(ctx, l, &open); err != nil {
				broken <- err
				cancel()
			}
		})
	}
	<-ctx.Done()
	for _, l := range listeners {
		_ = l.Close() // a listener that was closed already is as good
	}
	accepting.Wait()
	open.Wait()
	close(broken)
	return <-broken
}

// accept runs one listener. It returns an error only if the listener was closed by someone else.
func (s *Server) accept(ctx context.Context, l net.Listener, open *sync.WaitGroup) error {
	var pause time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			// Out of file descriptors or a connection that died in the queue: the listener itself is still good.
			if pause == 0 {
				s.acceptFails.warn(s.log, "cannot accept MMTP connections for now", "error", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if !sleep(ctx, pause) {
				return nil
			}
			continue
		}
		pause = 0
		g := s.door.admit(conn.RemoteAddr(), func() { _ = conn.Close() })
		if g == nil {
			_ = conn.Close() // nothing was promised to this peer
			s.overLimit.warn(s.log, "too many MMTP connections; new ones are being closed")
			continue
		}
		open.Go(func() {
			defer s.door.leave(g)
			s.serve(ctx, g, conn)
		})
	}
}

// serve runs one connection: the handshake, then the protocol.
func (s *Server) serve(ctx context.Context, g *guest, raw net.Conn) {
	deadline := time.Now().Add(s.limits.Load().HandshakeTimeout)
	greeting := &greeted{Conn: s.cfg.Bandwidth.conn(ctx, raw)}
	stop := context.AfterFunc(ctx, func() { _ = greeting.Close() })
	var conn net.Conn
	err := greeting.SetDeadline(deadline)
	if err == nil {
		conn, err = s.serverHandshake(ctx, greeting)
	}
	if err != nil || !stop() {
		stop()
		_ = greeting.Close() // the peer has nothing from us yet
		return
	}
	greeting.over.Store(true)
	session := newSession(s, conn)
	session.guest = g
	session.run(ctx, deadline)
}

// sleep waits for d; it returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// rareLog lets a line about the whole server through at most once in a while: an attacker must not fill the log, and the log must
// not become a record of traffic.
type rareLog struct {
	mu   sync.Mutex
	last time.Time
}

const rareInterval = time.Hour

func (r *rareLog) warn(log *slog.Logger, line string, args ...any) {
	r.mu.Lock()
	now := time.Now()
	quiet := !r.last.IsZero() && now.Sub(r.last) < rareInterval
	if !quiet {
		r.last = now
	}
	r.mu.Unlock()
	if !quiet {
		log.Warn(line, args...)
	}
}
