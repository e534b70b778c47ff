// Package agentwire is the form of what the agent and its front ends say to each other over a Unix socket: lines of JSON. The document is
// docs/spec/agent-api.md.
package agentwire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Version is the version of the protocol.
const Version = 1

// Names in the home directory.
const (
	Socket = "agent.sock"
	Lock   = "agent.lock" // held by the one agent that runs
)

// MaxLine bounds a line, its newline not counted, in bytes.
const MaxLine = 16 << 20

// Methods.
const (
	Hello   = "hello"
	Status  = "status"
	Send    = "send"
	Queue   = "queue"
	Servers = "servers"
	Watch   = "watch"
	Stop    = "stop"
)

// Codes of errors.
const (
	CodeLine    = "bad_line"       // not a request; the connection ends
	CodeHello   = "no_hello"       // the first request is not hello; the connection ends
	CodeVersion = "bad_version"    // hello asks for a version that is not spoken; the connection ends
	CodeMethod  = "unknown_method" //
	CodeParams  = "bad_params"     // the parameters are not those of the method
	CodeBusy    = "too_many"       // too many connections; this one ends
	CodeFailed  = "failed"         // what was asked for could not be done; the message says why
	CodeSlow    = "too_slow"       // events were not read; the connection ends
)

// A Request asks for something.
type Request struct {
	ID     uint64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

// A Reply answers the request of the same ID, or, with Event, tells of something that nobody asked for.
type Reply struct {
	ID     uint64          `json:"id"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
	Event  string          `json:"event,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// An Error says why a request was not done.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// HelloParams begin a connection.
type HelloParams struct {
	Version int `json:"version"`
}

// HelloResult answers them.
type HelloResult struct {
	Version int    `json:"version"`
	Program string `json:"program"`
}

// ErrTooLong says that a line is longer than MaxLine.
var ErrTooLong = fmt.Errorf("a line is longer than %d MB", MaxLine>>20)

// ReadLine reads a line without its end. At the end of input the error is io.EOF, within a line io.ErrUnexpectedEOF.
func ReadLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit+1 {
			return nil, ErrTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// ParseRequest reads a request. The error's text repeats nothing of the line.
func ParseRequest(line []byte) (Request, *Error) {
	var r Request
	if err := unmarshal(line, &r); err != nil {
		return r, &Error{CodeLine, "a request is an object with id, method and params: " + describe(err)}
	}
	return r, nil
}

// ParseParams reads the parameters of a request; what it does not know is an error. The error's text repeats no values.
func ParseParams(params json.RawMessage, into any) *Error {
	if len(params) == 0 || string(params) == "null" {
		params = json.RawMessage("{}")
	}
	if err := unmarshal(params, into); err != nil {
		return &Error{CodeParams, "the parameters are not those of the method: " + describe(err)}
	}
	return nil
}

// unmarshal refuses unknown fields and anything behind the value.
func unmarshal(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one value")
	}
	return nil
}

// maxFieldName bounds the names of fields that errors repeat.
const maxFieldName = 40

// describe says what is wrong with JSON without its values, which may be part of a message.
func describe(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("malformed JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf("%s has the wrong type", kind.Field)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the JSON ends too early"
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && len(name) < maxFieldName {
		return "unknown field " + name
	}
	return "it cannot be read"
}
