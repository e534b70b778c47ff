package mmtp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"mixminion/packet"
)

// agreeVersion is the client's part of the version exchange.
func agreeVersion(conn io.ReadWriter) error {
	if _, err := io.WriteString(conn, versionLine); err != nil {
		return err
	}
	line, err := readLine(conn)
	if err != nil {
		return err
	}
	switch ok, err := offersOurVersion(line); {
	case err != nil:
		return err
	case !ok || line+"\r\n" != versionLine:
		return ErrVersion
	}
	return nil
}

// link is the client's side of one connection, after the versions are agreed. It works over any net.Conn; TLS lies below it.
//
// One call at a time writes; a goroutine of the link's own reads answers and checks them, also while the link is idle, so that it
// is known at once when the server closes it.
type link struct {
	conn    net.Conn
	opened  time.Time
	window  int           // packets that may be without a result
	timeout time.Duration // for one write
	legacy  bool          // to a node of series 0.0.8
	frame   []byte        // of the writer

	results chan bool     // accepted or rejected, in order; has room for all that can be outstanding
	dead    chan struct{} // closed when reading is over
	err     error         // why; set before dead is closed
	reader  sync.WaitGroup

	mu       sync.Mutex
	expected []expectation // for what is unanswered, oldest first
}

type expectation struct {
	digests
	junk bool
}

func newLink(conn net.Conn, now time.Time, window int, timeout time.Duration) *link {
	l := &link{
		conn: conn, opened: now, window: window, timeout: timeout,
		results: make(chan bool, window),
		dead:    make(chan struct{}),
	}
	l.reader.Go(l.read)
	return l
}

// write sends one packet. At most window packets may be without a result.
func (l *link) write(p *packet.Packet, junk bool) error {
	d := digestsOf(p, junk)
	l.mu.Lock()
	l.expected = append(l.expected, expectation{d, junk})
	l.mu.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.timeout)); err != nil {
		return err
	}
	l.frame = appendFrame(l.frame[:0], p, junk, d.sent)
	_, err := l.conn.Write(l.frame)
	return err
}

// read runs until the connection ends or the server breaks the protocol.
func (l *link) read() {
	var f answerFrame
	for {
		if _, err := io.ReadFull(l.conn, f[:]); err != nil {
			l.err = fmt.Errorf("the link ended: %w", err)
			break
		}
		accepted, err := l.check(&f)
		if err != nil {
			l.err = err
			break
		}
		l.results <- accepted
	}
	close(l.dead)      // before the connection is closed, so that a write which fails for that reason can find l.err
	_ = l.conn.Close() // l.err is what matters
}

// check judges an answer by the oldest packet that has none.
func (l *link) check(f *answerFrame) (accepted bool, err error) {
	accepted, digest, err := parseAnswer(f)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.expected) == 0 {
		return false, fmt.Errorf("%w: answer to nothing", ErrProtocol)
	}
	head := l.expected[0]
	want := head.received
	if !accepted {
		if head.junk {
			return false, fmt.Errorf("%w: junk was rejected", ErrProtocol)
		}
		want = head.rejected
	}
	if !sameDigest(digest, want) {
		return false, fmt.Errorf("%w: answer with a wrong digest", ErrProtocol)
	}
	l.expected = append(l.expected[:0], l.expected[1:]...)
	return accepted, nil
}

// cause returns why the link is broken, given the error of the write or wait that noticed it. When the server has closed, answers may
// still be on their way to the reader, which also knows more about the reason; so cause gives it a moment to end.
func (l *link) cause(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	t := time.NewTimer(lingerTimeout)
	defer t.Stop()
	select {
	case <-l.dead:
		return l.err
	case <-t.C:
		return err
	}
}

// alive reports whether the server has not ended the link, as far as is known.
func (l *link) alive() bool {
	select {
	case <-l.dead:
		return false
	default:
		return true
	}
}

// wipe erases what the link remembers of packets. The caller has the right to write.
func (l *link) wipe() { clear(l.frame) }

// partInPeace exchanges close_notify with the server, if nothing is outstanding: nodes of series 0.0.8 take a connection that just ends for
// an error.
func (l *link) partInPeace() {
	l.mu.Lock()
	busy := len(l.expected) > 0
	l.mu.Unlock()
	half, ok := l.conn.(halfCloser)
	if !ok || busy || !l.alive() || half.CloseWrite() != nil {
		return
	}
	t := time.NewTimer(lingerTimeout)
	defer t.Stop()
	select {
	case <-l.dead:
	case <-t.C:
	}
}

// close ends the link and waits for its goroutine.
func (l *link) close() {
	if l.legacy {
		l.partInPeace()
	}
	_ = l.conn.Close() // nothing is outstanding, or it is lost in any case
	l.reader.Wait()
}
