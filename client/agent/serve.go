package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"mixminion/client/internal/agentwire"
	"mixminion/internal/localsock"
)

// Limits of connections. They run on real time, as deadlines of sockets do.
const (
	maxConnections = 16
	helloTimeout   = 10 * time.Second // from the connection to the end of hello
	idleTimeout    = 10 * time.Minute // from an answer to the end of the next request
	writeTimeout   = 10 * time.Second // for the front end to take an answer
)

// listen opens the socket. Its caller holds the agent's lock, so a socket that is there is left over.
func listen(home string) (net.Listener, error) {
	l, err := localsock.Listen(filepath.Join(home, agentwire.Socket))
	switch {
	case errors.Is(err, localsock.ErrNameTooLong):
		return nil, fmt.Errorf("open the agent's socket: %w: name a shorter directory with UserDir in your configuration", err)
	case err != nil:
		return nil, fmt.Errorf("open the agent's socket: %w", err)
	}
	return l, nil
}

// serve talks to front ends until ctx ends, and waits for all of them.
func (a *Agent) serve(ctx context.Context) error {
	var open sync.WaitGroup
	defer open.Wait()
	stop := context.AfterFunc(ctx, func() { _ = a.listener.Close() }) // Close closes it again and tells
	defer stop()
	places := make(chan struct{}, maxConnections)
	for {
		conn, err := localsock.Accept(ctx, a.listener)
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept front ends: %w", err)
		}
		s := &session{agent: a, conn: conn, in: bufio.NewReader(conn)}
		select {
		case places <- struct{}{}:
			open.Go(func() {
				defer func() { <-places }()
				s.run(ctx)
			})
		default:
			s.fail(0, agentwire.CodeBusy, fmt.Sprintf("more than %d connections", maxConnections))
			_ = conn.Close() // what it should know was said
		}
	}
}
