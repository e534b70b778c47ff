package mmtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// maxUnacked is how many packets of one connection may wait for their ack; then it is not read (minion-spec 4 lets a client
// pause at 16).
const maxUnacked = 16

// lingerTimeout bounds how long either side, when a link ends, waits for the other to close. Closing at once with unread data would
// make the kernel throw away answers that are still on their way.
const lingerTimeout = 2 * time.Second

var errStopped = errors.New("server is stopping")

// session is the server's side of the protocol on one connection. It works over any net.Conn; TLS lies below it.
//
// One goroutine (run) reads. Answers are written by a flusher, a goroutine that exists only while answers are ready.
type session struct {
	server  *Server
	conn    net.Conn
	guest   *guest
	opened  time.Time
	scratch [cmdLen + crypt.HashLen]byte // of run

	flushers sync.WaitGroup
	wake     chan struct{} // tells run that the queue got shorter or that the session is broken

	mu       sync.Mutex // guards what follows
	stopped  bool       // reading is over
	broken   bool       // writing is over: answers are dropped
	flushing bool
	queue    []*answer // unanswered arrivals, oldest first
}

// answer is the place of one arrival in the queue of answers.
type answer struct {
	session  *session
	yes, no  answerFrame
	buffered bool // holds a place of Server.buffers until acknowledged

	settled, accepted bool // guarded by session.mu
}

func newSession(s *Server, conn net.Conn) *session {
	return &session{server: s, conn: conn, guest: new(guest), opened: time.Now(), wake: make(chan struct{}, 1)}
}

// run speaks the protocol until the peer closes, breaks a rule or takes too long, or ctx ends; then it lets outstanding acks leave
// and closes. The versions must be agreed before deadline.
func (s *session) run(ctx context.Context, deadline time.Time) {
	stop := context.AfterFunc(ctx, s.stopReading)
	defer stop()
	err := s.agreeVersion(deadline)
	for err == nil {
		err = s.receive(ctx)
	}
	s.drain()
	s.close(!errors.Is(err, ErrProtocol) && !errors.Is(err, ErrVersion) && !errors.Is(err, io.EOF))
}

func (s *session) agreeVersion(deadline time.Time) error {
	if err := s.setReadDeadline(deadline); err != nil {
		return err
	}
	line, err := readLine(s.conn)
	if err != nil {
		return err
	}
	ok, err := offersOurVersion(line)
	if err != nil {
		return err
	}
	if !ok {
		return ErrVersion
	}
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err = io.WriteString(s.conn, versionLine)
	return err
}

// receive reads one command with what belongs to it and hands it over. It returns io.EOF if the peer closed between two commands.
func (s *session) receive(ctx context.Context) error {
	limits := s.server.limits.Load()
	if err := s.waitForAcks(ctx, maxUnacked-1, nil); err != nil {
		return err
	}
	if err := s.setReadDeadline(earlier(time.Now().Add(limits.IdleTimeout), s.opened.Add(s.server.cfg.MaxLinkAge))); err != nil {
		return err
	}
	cmd := s.scratch[:cmdLen]
	n, err := io.ReadAtLeast(s.conn, cmd, 1)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(limits.PacketTimeout)
	if err := s.setReadDeadline(deadline); err != nil {
		return err
	}
	if _, err := io.ReadFull(s.conn, cmd[n:]); err != nil {
		return unexpectedEOF(err)
	}
	var junk bool
	switch string(cmd) {
	case cmdSend:
	case cmdJunk:
		junk = true
	default:
		return fmt.Errorf("%w: unknown command", ErrProtocol)
	}
	if err := s.server.buffers.take(ctx, deadline); err != nil {
		return err
	}
	p := newPacket()
	kind, d, err := s.readPacket(p, junk)
	if err != nil {
		s.server.buffers.giveBack()
		Recycle(p)
		return err
	}
	s.guest.heard.Store(time.Now().UnixNano())
	return s.handOver(ctx, kind, p, d)
}

// readPacket reads 32 KB and a digest and judges them.
func (s *session) readPacket(p *packet.Packet, junk bool) (Kind, digests, error) {
	sent := s.scratch[cmdLen:]
	if _, err := io.ReadFull(s.conn, p[:]); err != nil {
		return 0, digests{}, unexpectedEOF(err)
	}
	if _, err := io.ReadFull(s.conn, sent); err != nil {
		return 0, digests{}, unexpectedEOF(err)
	}
	d := digestsOf(p, junk)
	good := sameDigest(d.sent, crypt.Digest(sent))
	room := s.server.cfg.Handler.Room()
	switch {
	case junk && good:
		return KindJunk, d, nil
	case junk:
		return 0, d, fmt.Errorf("%w: wrong digest", ErrProtocol)
	case !room:
		return KindNoRoom, d, nil
	case !good:
		return KindBad, d, nil
	}
	return KindPacket, d, nil
}

// handOver queues the answer and gives the arrival to the handler, when it is the turn of the peer's network: who has
// many links, or sends as fast as it can, is not served before others. The error is errStopped.
func (s *session) handOver(ctx context.Context, kind Kind, p *packet.Packet, d digests) error {
	yes, no := makeAnswer(received, d.received), makeAnswer(rejected, d.rejected)
	a := &answer{session: s, yes: yes, no: no}
	switch kind {
	case KindPacket:
		a.buffered = true
	case KindJunk:
		a.no = yes
	default:
		a.yes = no
	}
	if !a.buffered {
		s.server.buffers.giveBack()
		Recycle(p)
		p = nil
	}
	if s.server.turns.enter(ctx, s.guest.share()) != nil {
		if a.buffered {
			s.server.buffers.giveBack()
			Recycle(p)
		}
		return errStopped
	}
	defer s.server.turns.leave()
	s.mu.Lock()
	s.queue = append(s.queue, a)
	s.mu.Unlock()
	s.server.cfg.Handler.Handle(kind, p, a.ack)
	return nil
}

// ack is what the handler calls.
func (a *answer) ack(accepted bool) {
	s := a.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.settled {
		return
	}
	a.settled, a.accepted = true, accepted
	if a.buffered {
		s.server.buffers.giveBack()
	}
	if !s.broken && !s.flushing && s.queue[0] == a {
		s.flushing = true
		s.flushers.Go(s.flush)
	}
}

// flush writes the answers that are ready, in order, as many at a time as there are.
func (s *session) flush() {
	buf := make([]byte, 0, maxUnacked*answerLen)
	for {
		buf = buf[:0]
		s.mu.Lock()
		n := 0
		for n < len(s.queue) && s.queue[n].settled {
			a := s.queue[n]
			if a.accepted {
				buf = append(buf, a.yes[:]...)
			} else {
				buf = append(buf, a.no[:]...)
			}
			n++
		}
		if n == 0 || s.broken {
			s.flushing = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()

		err := s.conn.SetWriteDeadline(time.Now().Add(s.server.cfg.WriteTimeout))
		if err == nil {
			_, err = s.conn.Write(buf)
		}

		if err != nil {
			_ = s.conn.Close() // ends the pending read too
		}
		s.mu.Lock()
		s.broken = s.broken || err != nil
		s.queue = append(s.queue[:0], s.queue[n:]...)
		s.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// waitForAcks waits until at most n arrivals are unanswered. It returns an error if the session is broken, ctx ends or timeout fires.
func (s *session) waitForAcks(ctx context.Context, n int, timeout <-chan time.Time) error {
	for {
		s.mu.Lock()
		waiting, broken := len(s.queue), s.broken
		s.mu.Unlock()
		switch {
		case broken:
			return net.ErrClosed
		case waiting <= n:
			return nil
		}
		select {
		case <-s.wake:
		case <-timeout:
			return context.DeadlineExceeded
		case <-ctx.Done():
			return errStopped
		}
	}
}

// drain waits, not for ever, until everything that was handed over is answered.
func (s *session) drain() {
	t := time.NewTimer(s.server.cfg.DrainTimeout)
	defer t.Stop()
	_ = s.waitForAcks(context.Background(), 0, t.C) // late answers are lost, which the client survives
}

// close ends the connection. If linger is true it waits a moment for the peer to close first.
func (s *session) close(linger bool) {
	s.mu.Lock()
	broken := s.broken
	s.broken = true
	s.mu.Unlock()
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok && linger && !broken && half.CloseWrite() == nil {
		if s.conn.SetReadDeadline(time.Now().Add(lingerTimeout)) == nil {
			_, _ = io.CopyN(io.Discard, s.conn, maxUnacked*int64(frameLen)) // whatever comes is unwanted
		}
	}
	_ = s.conn.Close() // nothing is owed to the peer any more
	s.flushers.Wait()
}

// stopReading makes the pending read, and all later ones, fail.
func (s *session) stopReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // fails only if the connection is closed
}

func (s *session) setReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errStopped
	}
	return s.conn.SetReadDeadline(t)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
