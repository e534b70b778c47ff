package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"mixminion/client/internal/agentwire"
)

// Limits of connections. They run on real time, as deadlines of sockets do.
const (
	maxConnections = 16
	helloTimeout   = 10 * time.Second // from the connection to the end of hello
	idleTimeout    = 10 * time.Minute // from an answer to the end of the next request
	writeTimeout   = 10 * time.Second // for the front end to take an answer
)

// checkPrivate refuses a home directory that other users may enter.
func checkPrivate(home string) error {
	if runtime.GOOS == "windows" {
		return nil // a user's directories are private there, and modes say nothing
	}
	info, err := os.Stat(home)
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("other users may enter %s, where the agent's socket is: chmod 700 it", home)
	}
	return nil
}

// listen opens the socket. Its caller holds the agent's lock, so a socket that is there is left over.
func listen(name string) (net.Listener, error) {
	if len(name) > agentwire.MaxSocketName {
		return nil, fmt.Errorf("the name of the agent's socket, %s, is longer than systems allow: name a shorter directory with UserDir in your configuration", name)
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the agent's socket: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", name)
	if err != nil {
		return nil, fmt.Errorf("open the agent's socket: %w", err)
	}
	if err := os.Chmod(name, 0o600); err != nil && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("open the agent's socket: %w", errors.Join(err, l.Close()))
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
		conn, err := a.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close() // nothing was said on it
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept front ends: %w", err)
		}
		if !samePeer(conn) {
			_ = conn.Close() // it is told nothing
			continue
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
