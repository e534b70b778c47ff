package mmtp

import (
	"errors"
	"fmt"

	"mixminion/packet"
)

// What can be wrong with the other side of a link.
var (
	// ErrCertificate: the server's chain is not two valid certificates as minion-spec 4 wants them.
	ErrCertificate = errors.New("the server's certificates are not acceptable")
	// ErrKeyID: the chain is in order but belongs to another identity key than the one asked for.
	ErrKeyID = errors.New("the server has another identity key than its descriptor says")
	// ErrVersion: the two sides have no version of the protocol in common.
	ErrVersion = errors.New("no common version of MMTP")
	// ErrProtocol: the peer sent what the protocol does not allow at this point.
	ErrProtocol = errors.New("MMTP protocol error")
)

// What can become of a packet.
var (
	// ErrRejected: the server answered REJECTED. The packet must be kept and tried again later (minion-spec 4).
	ErrRejected = errors.New("the server rejected the packet for now")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("the MMTP client is closed")
)

// A HopError says what went wrong with a server, and names it.
type HopError struct {
	Op  string // "send to" or "probe"
	Hop packet.Hop
	Err error
}

func (e *HopError) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, address(e.Hop), e.Err) }

// Unwrap returns what went wrong.
func (e *HopError) Unwrap() error { return e.Err }

// Private returns what a log must not hold: to which servers packets go.
func (e *HopError) Private() []string { return []string{address(e.Hop), e.Hop.Host} }
