package mmtp

import "errors"

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
