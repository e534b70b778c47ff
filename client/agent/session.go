package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"mixminion/client/internal/agentwire"
)

// A session is the connection of one front end.
type session struct {
	agent *Agent
	conn  net.Conn
	in    *bufio.Reader
}

func (s *session) run(ctx context.Context) {
	// A read ends with ctx; an answer that is being written does not.
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() { _ = s.conn.Close() }()
	r, ok := s.read(ctx, helloTimeout)
	if !ok || !s.hello(r) {
		return
	}
	for {
		r, ok := s.read(ctx, idleTimeout)
		if !ok {
			return
		}
		if r.Method == agentwire.Watch {
			s.watch(ctx, r)
			return
		}
		if !s.answer(ctx, r) {
			return
		}
	}
}

// read waits for a request, and reports whether there is one.
func (s *session) read(ctx context.Context, timeout time.Duration) (r agentwire.Request, ok bool) {
	if s.conn.SetReadDeadline(time.Now().Add(timeout)) != nil || ctx.Err() != nil {
		return r, false
	}
	line, err := agentwire.ReadLine(s.in, agentwire.MaxLine)
	if err != nil {
		if errors.Is(err, agentwire.ErrTooLong) {
			s.fail(0, agentwire.CodeLine, err.Error())
		}
		return r, false
	}
	r, bad := agentwire.ParseRequest(line)
	if bad != nil {
		s.fail(0, bad.Code, bad.Message)
	}
	return r, bad == nil
}

// hello agrees on the version.
func (s *session) hello(r agentwire.Request) bool {
	if r.Method != agentwire.Hello {
		s.fail(r.ID, agentwire.CodeHello, "the first request of a connection is hello")
		return false
	}
	// What later versions add to hello is no mistake.
	var p agentwire.HelloParams
	if err := json.Unmarshal(r.Params, &p); err != nil || p.Version != agentwire.Version {
		s.fail(r.ID, agentwire.CodeVersion, fmt.Sprintf("this agent speaks version %d only", agentwire.Version))
		return false
	}
	return s.reply(r.ID, agentwire.HelloResult{Version: agentwire.Version, Program: s.agent.cfg.Program})
}

// answer does what a request asks for, and reports whether the connection goes on.
func (s *session) answer(ctx context.Context, r agentwire.Request) bool {
	result, bad := s.agent.do(ctx, r)
	if bad != nil {
		return s.fail(r.ID, bad.Code, bad.Message)
	}
	ok := s.reply(r.ID, result)
	if r.Method == agentwire.Stop {
		s.agent.stop()
		return false
	}
	return ok
}

// watch tells of events until the front end goes, or says anything more.
func (s *session) watch(ctx context.Context, r agentwire.Request) {
	if bad := agentwire.ParseParams(r.Params, &struct{}{}); bad != nil {
		s.fail(r.ID, bad.Code, bad.Message)
		return
	}
	w := s.agent.events.join()
	defer s.agent.events.leave(w)
	if s.conn.SetReadDeadline(time.Time{}) != nil || ctx.Err() != nil || !s.reply(r.ID, struct{}{}) {
		return
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = s.in.ReadByte() // whatever comes of it, it is over
	}()
	defer func() {
		_ = s.conn.Close() // ends the read
		<-gone
	}()
	for {
		select {
		case e := <-w.events:
			data, err := json.Marshal(e)
			if err != nil || !s.write(agentwire.Reply{Event: e.Kind, Data: data}) {
				return
			}
		case <-w.slow:
			s.fail(0, agentwire.CodeSlow, "events were not read in time")
			return
		case <-gone:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) reply(id uint64, result any) bool {
	data, err := json.Marshal(result)
	if err != nil {
		return s.fail(id, agentwire.CodeFailed, "the answer cannot be written")
	}
	return s.write(agentwire.Reply{ID: id, Result: data})
}

func (s *session) fail(id uint64, code, message string) bool {
	return s.write(agentwire.Reply{ID: id, Error: &agentwire.Error{Code: code, Message: message}})
}

func (s *session) write(r agentwire.Reply) bool {
	data, err := json.Marshal(r)
	if err != nil || s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
		return false
	}
	_, err = s.conn.Write(append(data, '\n'))
	return err == nil
}
