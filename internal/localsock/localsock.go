// Package localsock opens the Unix sockets by which a program that runs is talked to by others of the same user, and by nobody else.
//
// Three things keep others away: the socket lies in a directory that only its owner may enter, its mode is 0600, and where the system
// tells who is at the other end (Linux, FreeBSD, macOS), SameUser sees to it that it is the same user, or root.
package localsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// MaxName is how long the name of a socket may be, in bytes; macOS has the shortest.
const MaxName = 103

// Why a socket cannot be opened.
var (
	// ErrNameTooLong: systems allow short names only.
	ErrNameTooLong = errors.New("the name of the socket is longer than systems allow")
	// ErrNotPrivate: others may enter the directory.
	ErrNotPrivate = errors.New("other users may enter the directory of the socket")
)

// CheckDir refuses a directory that other users may enter; the error wraps ErrNotPrivate.
func CheckDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a user's directories are private there, and modes say nothing
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w: %s", ErrNotPrivate, dir)
	}
	return nil
}

// Listen opens a socket in a private directory. A socket that is there is taken for left over: the caller has a lock that keeps others from
// listening. The error may wrap ErrNameTooLong or ErrNotPrivate.
func Listen(name string) (net.Listener, error) {
	if len(name) > MaxName {
		return nil, fmt.Errorf("%w: %s", ErrNameTooLong, name)
	}
	if err := CheckDir(filepath.Dir(name)); err != nil {
		return nil, err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", name)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, 0o600); err != nil && runtime.GOOS != "windows" {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// acceptAgain is how long Accept waits when the system has nothing left to accept with.
const acceptAgain = 100 * time.Millisecond

// Accept returns the next connection of our own user, and closes others. An error means that ctx has ended or that the listener is closed:
// a process that is out of file descriptors for a while must not end for it.
func Accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil && ctx.Err() == nil && SameUser(conn):
			return conn, nil
		case err == nil:
			_ = conn.Close() // it is told nothing
		case errors.Is(err, net.ErrClosed):
			return nil, err
		default:
			select {
			case <-ctx.Done():
			case <-time.After(acceptAgain):
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}
