package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"mixminion/internal/localsock"
)

// A Handler does a command and returns what to answer, as something that package json can write. ctx ends with the server.
type Handler func(ctx context.Context, args json.RawMessage) (result any, err error)

// A Server answers an operator.
type Server struct {
	listener net.Listener
	handlers map[string]Handler

	mu     sync.Mutex
	held   []net.Conn // of those who wait for the end
	closed bool
}

var errStopping = errors.New("the daemon is stopping")

// Hold is a result that answers with nothing and leaves the connection open until the Server is closed, so that the other side sees when
// the daemon has ended.
var Hold any = hold{}

type hold struct{}

// Listen opens the socket in a daemon's base directory, of which the caller holds the lock. The error may wrap those of localsock.Listen.
// The caller calls Serve, once, and Close.
func Listen(base string, handlers map[string]Handler) (*Server, error) {
	l, err := localsock.Listen(Socket(base))
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	return &Server{listener: l, handlers: handlers}, nil
}

// Serve answers until ctx ends, and waits until all have their answers.
func (s *Server) Serve(ctx context.Context) error {
	var open sync.WaitGroup
	defer open.Wait()
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() }) // Close closes it again
	defer stop()
	places := make(chan struct{}, maxConnections)
	for {
		conn, err := localsock.Accept(ctx, s.listener)
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("control socket: %w", err)
		}
		select {
		case places <- struct{}{}:
			open.Go(func() {
				defer func() { <-places }()
				s.answer(ctx, conn)
			})
		default:
			write(conn, reply{Error: "too many connections"})
			_ = conn.Close() // what it should know was said
		}
	}
}

// Close ends the connections of those who wait for the end. It must not be called while Serve runs.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, conn := range s.held {
		_ = conn.Close() // that it ends is the message
	}
	s.held = nil
	if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *Server) answer(ctx context.Context, conn net.Conn) {
	result, err := s.do(ctx, conn)
	var r reply
	if err == nil && result != Hold {
		r.Result, err = json.Marshal(result)
	}
	if err != nil {
		r = reply{Error: err.Error()}
	}
	if write(conn, r) && err == nil && result == Hold && s.hold(conn) {
		return
	}
	_ = conn.Close() // the answer is on its way, or nobody wants it
}

// do reads a question and does what it asks for.
func (s *Server) do(ctx context.Context, conn net.Conn) (any, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, errStopping
	}
	line, err := readLine(conn)
	if err != nil {
		return nil, fmt.Errorf("read the question: %w", err)
	}
	r, err := parseRequest(line)
	if err != nil {
		return nil, err
	}
	h := s.handlers[r.Command]
	if h == nil {
		return nil, fmt.Errorf("%w %q", ErrCommand, r.Command)
	}
	return h(ctx, r.Args)
}

func (s *Server) hold(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.held) >= maxConnections {
		return false
	}
	s.held = append(s.held, conn)
	return true
}

func write(conn net.Conn, r reply) bool {
	data, err := json.Marshal(r)
	if err != nil || conn.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
		return false
	}
	_, err = conn.Write(append(data, '\n'))
	return err == nil
}

// readLine reads a line of at most maxLine bytes.
func readLine(conn net.Conn) ([]byte, error) {
	line, err := bufio.NewReaderSize(conn, maxLine).ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("it is longer than %d bytes", maxLine)
	}
	return bytes.TrimSpace(line), err
}
