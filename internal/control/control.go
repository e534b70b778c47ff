// Package control is how an operator talks to a daemon that runs: over a Unix socket in its base directory, one
// question and one answer for each connection, each a line of JSON:
//
//	{"command": "status", "args": {...}}
//	{"result": {...}}
//	{"error": "what is wrong"}
//
// Only the daemon's own user and root are answered; see package localsock. What is asked and answered is bounded, and whoever is slow is
// dropped. The daemon decides what it answers; nothing is written down.
package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// socketFile is the socket's name in the base directory.
const socketFile = "control.sock"

// Limits of connections.
const (
	maxLine        = 64 << 10
	maxConnections = 8
	readTimeout    = 10 * time.Second // for the question to come
	writeTimeout   = 10 * time.Second // for the answer to be taken
)

// Errors of calls.
var (
	// ErrNotRunning says that no daemon answers at a base directory.
	ErrNotRunning = errors.New("nothing seems to be running")
	// ErrCommand says that the daemon does not know the command.
	ErrCommand = errors.New("unknown command")
)

// A Refusal is why the daemon did not do what it was asked for.
type Refusal string

func (r Refusal) Error() string { return string(r) }

type request struct {
	Command string          `json:"command"`
	Args    json.RawMessage `json:"args,omitempty"`
}

type reply struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// Socket is the name of the socket of a daemon with this base directory.
func Socket(base string) string { return filepath.Join(base, socketFile) }

// parseRequest reads a question.
func parseRequest(line []byte) (r request, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("not a question: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("not a question: something follows it")
	}
	return r, nil
}

// ParseArgs reads what a command was given into the struct that to points at. Unknown fields are an error; no arguments
// are those of the zero value.
func ParseArgs(args json.RawMessage, to any) error {
	if len(args) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	return nil
}
