package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"mixminion/client/internal/agentwire"
	"mixminion/internal/localsock"
)

// An Agent is a connection to the agent of a home directory: the program that lets the packets of the queue leave at times that say
// nothing (see package client/agent). Its methods may be called by several goroutines; they take turns. After a method was ended by its
// context, the connection is of no more use.
type Agent struct {
	conn    net.Conn
	program string

	mu   sync.Mutex
	in   *bufio.Reader
	last uint64
}

// DialAgent connects to the agent of a home directory. The error wraps ErrNoAgent if there is none. The caller closes the connection.
func DialAgent(ctx context.Context, home string) (*Agent, error) {
	name := filepath.Join(home, agentwire.Socket)
	if len(name) > localsock.MaxName {
		return nil, ErrNoAgent // none can run there
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || missingSocket(err) {
			return nil, ErrNoAgent
		}
		return nil, fmt.Errorf("connect to the agent: %w", err)
	}
	a := &Agent{conn: conn, in: bufio.NewReader(conn)}
	var hello agentwire.HelloResult
	if err := a.call(ctx, agentwire.Hello, agentwire.HelloParams{Version: agentwire.Version}, &hello); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	a.program = hello.Program
	return a, nil
}

// Program is how the agent introduced itself.
func (a *Agent) Program() string { return a.program }

// Close ends the connection, not the agent.
func (a *Agent) Close() error { return a.conn.Close() }

// Status asks how it stands.
func (a *Agent) Status(ctx context.Context) (AgentStatus, error) {
	var s AgentStatus
	err := a.call(ctx, agentwire.Status, nil, &s)
	return s, err
}

// Send has the agent wrap a message and queue its packets, for all recipients or, with an error, for none.
func (a *Agent) Send(ctx context.Context, m AgentMessage) (AgentQueued, error) {
	var q AgentQueued
	err := a.call(ctx, agentwire.Send, m, &q)
	return q, err
}

// Queue lists the packets that wait.
func (a *Agent) Queue(ctx context.Context) ([]AgentPacket, error) {
	var list []AgentPacket
	err := a.call(ctx, agentwire.Queue, nil, &list)
	return list, err
}

// Servers lists the servers that the agent knows.
func (a *Agent) Servers(ctx context.Context) ([]AgentServer, error) {
	var list []AgentServer
	err := a.call(ctx, agentwire.Servers, nil, &list)
	return list, err
}

// Stop asks the agent to end. It answers before it does; what it has begun to send it sends.
func (a *Agent) Stop(ctx context.Context) error { return a.call(ctx, agentwire.Stop, nil, nil) }

// Events asks to be told of events, and returns when the agent has agreed. The sequence ends with an error: that of
// ctx, or ErrAgentGone. The connection is good for nothing else afterwards.
func (a *Agent) Events(ctx context.Context) (iter.Seq2[AgentEvent, error], error) {
	if err := a.call(ctx, agentwire.Watch, nil, nil); err != nil {
		return nil, err
	}
	return func(yield func(AgentEvent, error) bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		stop := a.heed(ctx)
		defer stop()
		for {
			e, err := a.event(ctx)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}, nil
}

func (a *Agent) event(ctx context.Context) (AgentEvent, error) {
	r, err := a.read(ctx)
	if err != nil {
		return AgentEvent{}, err
	}
	var e AgentEvent
	if err := json.Unmarshal(r.Data, &e); err != nil {
		return AgentEvent{}, fmt.Errorf("the agent's event cannot be read: %w", err)
	}
	e.Kind = r.Event
	return e, nil
}

// call sends a request and reads its answer.
func (a *Agent) call(ctx context.Context, method string, params, result any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	stop := a.heed(ctx)
	defer stop()
	a.last++
	request := agentwire.Request{ID: a.last, Method: method}
	if params != nil {
		data, err := json.Marshal(params)
		if err != nil {
			return fmt.Errorf("ask the agent: %w", err)
		}
		request.Params = data
	}
	line, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	if len(line) > agentwire.MaxLine {
		return fmt.Errorf("too much for the agent: %w", ErrTooLarge)
	}
	if _, err := a.conn.Write(append(line, '\n')); err != nil {
		return a.broken(ctx, err)
	}
	r, err := a.read(ctx)
	switch {
	case err != nil:
		return err
	case r.ID != request.ID:
		return errors.New("the agent answered what was not asked")
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return fmt.Errorf("the agent's answer cannot be read: %w", err)
	}
	return nil
}

// read reads a line. One with an error in it is an error.
func (a *Agent) read(ctx context.Context) (agentwire.Reply, error) {
	var r agentwire.Reply
	line, err := agentwire.ReadLine(a.in, agentwire.MaxLine)
	if err != nil {
		return r, a.broken(ctx, err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("the agent's answer cannot be read: %w", err)
	}
	if r.Error != nil {
		return r, &AgentError{Code: r.Error.Code, Message: r.Error.Message}
	}
	return r, nil
}

// heed has reads and writes end when ctx does.
func (a *Agent) heed(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = a.conn.SetDeadline(time.Unix(1, 0)) })
}

func (a *Agent) broken(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("ask the agent: %w", ctx.Err())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return ErrAgentGone
	}
	return fmt.Errorf("ask the agent: %w", err)
}
