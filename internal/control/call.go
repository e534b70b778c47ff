package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// answerTimeout is how long a daemon may take for an answer: a reload signs descriptors and reads files.
const answerTimeout = 2 * time.Minute

// Call asks the daemon with this base directory. The answer is read into the struct that result points at, unless that is nil. The error
// wraps ErrNotRunning if there is no daemon, and is a Refusal if it said no.
func Call(ctx context.Context, base, command string, args, result any) error {
	conn, err := call(ctx, base, command, args, result)
	if err != nil {
		return err
	}
	return conn.Close()
}

// CallToEnd asks the daemon for its end, by a command that is answered with Hold, and returns when it has ended.
func CallToEnd(ctx context.Context, base, command string) error {
	conn, err := call(ctx, base, command, nil, nil)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return errors.Join(err, conn.Close())
	}
	_, _ = io.Copy(io.Discard, conn) // however the connection ends, the daemon has ended
	return errors.Join(ctx.Err(), conn.Close())
}

func call(ctx context.Context, base, command string, args, result any) (_ net.Conn, err error) {
	q := request{Command: command}
	if args != nil {
		if q.Args, err = json.Marshal(args); err != nil {
			return nil, fmt.Errorf("ask the daemon: %w", err)
		}
	}
	line, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", Socket(base))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w at %s", ErrNotRunning, base)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", errors.Join(ctx.Err(), err))
	}
	answer, err := readLine(conn)
	if err != nil {
		return nil, fmt.Errorf("the daemon gave no answer: %w", errors.Join(ctx.Err(), err))
	}
	var r reply
	if err := json.Unmarshal(answer, &r); err != nil {
		return nil, fmt.Errorf("the daemon's answer: %w", err)
	}
	if r.Error != "" {
		return nil, Refusal(r.Error)
	}
	if result != nil {
		if err := json.Unmarshal(r.Result, result); err != nil {
			return nil, fmt.Errorf("the daemon's answer: %w", err)
		}
	}
	return conn, nil
}
