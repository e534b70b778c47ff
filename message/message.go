// Package message turns a message of any size into the payloads of packets and back: mail headers, compression, k-of-n fragments,
// whitening, end-to-end encryption, replies, and the armored forms in which an exit delivers what it got. The source is E2E-spec 2
// and 3.1.
//
// Where the specification and the first implementation differ on the wire, this package does what interoperates:
//   - what an exit needs to know about a fragmented message stands before the compressed data, not inside it, and has the
//     routing type first (E2E-spec 2.2.2.1);
//   - the message size in a fragment is that of the whitened string (E2E-spec 2.2.1.2);
//   - the session key of an encrypted forward message has 16 bytes, and the first bit of its RSA block is zero, as everywhere in a
//     decoding handle (E2E-spec 2.2.3).
//
// The package is pure: it does no I/O and reads no clock. Randomness comes from the caller, apart from the OAEP padding, which always
// comes from the system's generator. What is sent depends on the message and that randomness only: no date, version or name of a
// program enters a payload.
package message

import (
	"errors"

	"mixminion/packet"
)

// Sizes in bytes (E2E-spec 2.2.1.2).
const (
	SingletonHeaderLen = 22
	FragmentHeaderLen  = 47
	IDLen              = 20

	// ForwardOverhead is what end-to-end encryption takes of a payload (E2E-spec 2.2.3): OAEP padding and session key, less the
	// part of the ciphertext that is carried in the decoding handle.
	ForwardOverhead = 38
)

// Errors of this package. None of them carries contents of a message.
var (
	// ErrHeader: a mail header cannot be sent as it is.
	ErrHeader = errors.New("mail header cannot be sent")
	// ErrLength: a message has no bytes, or more than its size field can tell.
	ErrLength = errors.New("impossible message length")
	// ErrPayload: a payload's hash is right, but its fields contradict each other. No correct sender makes such a payload.
	ErrPayload = errors.New("malformed payload")
	// ErrCorrupt: compressed data is damaged or not in the protocol's form of compression.
	ErrCorrupt = errors.New("compressed message is corrupt")
	// ErrOvercompressed: a message expands far more than honest text does (E2E-spec 2.3.2).
	ErrOvercompressed = errors.New("message is overcompressed")
	// ErrNotForUs: no secret or key at hand opens an encrypted message. It may be for somebody else, corrupt or junk.
	ErrNotForUs = errors.New("no key opens this message")
	// ErrForm: an armored message is not of a form that exits deliver.
	ErrForm = errors.New("unknown form of delivered message")
	// ErrInconsistent: two fragments of one message contradict each other, so that somebody has tampered (E2E-spec 2.3.3).
	// The whole message must be given up.
	ErrInconsistent = errors.New("fragments contradict each other")
	// ErrOtherMessage: a fragment was offered to the assembly of another message. The assembly is unchanged.
	ErrOtherMessage = errors.New("fragment of another message")
	// ErrIncomplete: fragments are missing.
	ErrIncomplete = errors.New("fragments are missing")
)

// ID names a fragmented message.
type ID [IDLen]byte

// How much of a message a payload without overhead holds.
const (
	singletonCapacity = packet.PayloadLen - SingletonHeaderLen
	fragmentCapacity  = packet.PayloadLen - FragmentHeaderLen
)
