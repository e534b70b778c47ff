// Package directory reads and writes what the network says about itself: the information exchange format, and server descriptors
// with their digests and signatures. The source is dir-spec 2 and dir-spec 3; version numbers are those that the network uses
// ("0.2" for descriptors, "0.1" for their sections), not the "1.0" that the specification foresees.
//
// The package is pure: it does no I/O, reads no clock and logs nothing. What it skipped while it read a text comes back as Notes.
//
// A Descriptor that ParseDescriptor returned is signed by the key it names as its identity, and nothing more: whether that
// server is listed, recommended or the one a user means by its nickname is for the caller to decide.
package directory

import "mixminion/packet"

// Versions that this package writes and understands.
const (
	DescriptorVersion = "0.2"
	// MMTPVersion is the version of the link protocol that a path begins with (minion-spec 4).
	MMTPVersion = "0.3"

	sectionVersion = "0.1"
)

// Limits on descriptors (dir-spec 3). Sizes are in bytes.
const (
	MaxDescriptorLen = 64 << 10
	MaxNicknameLen   = 24

	maxContactLen     = 256
	maxCommentsLen    = 1024
	maxFingerprintLen = 128
	maxSoftwareLen    = 255
)

// RSA moduli, in bits (dir-spec 3).
const (
	minIdentityBits = 2048
	maxIdentityBits = 4096
	packetKeyBits   = 2048
)

// ValidNickname reports whether name can be a server's nickname: a letter, then letters, digits and "-", 24 characters at most
// (dir-spec 3). Nicknames are compared without regard to case.
func ValidNickname(name string) bool {
	if name == "" || len(name) > MaxNicknameLen || !isLetter(name[0]) {
		return false
	}
	for _, c := range []byte(name) {
		if !isLetter(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// validHost is the rule for Hostname: whatever routing information can carry. IPv6 addresses cannot stand there, so a server
// that is reached over IPv6 needs a name.
func validHost(host string) bool { return packet.ValidHost(host) }
