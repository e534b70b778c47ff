// Package directory reads and writes what the network says about itself: the information exchange format, server descriptors, votes and
// directories, with their digests and signatures. The source is dir-spec 2 to dir-spec 4; version numbers are those that the network
// uses ("0.2" for descriptors, "0.3" for directories, "0.1" for sections), not the "1.0" that the specification foresees. What goes
// beyond the specification, such as detached signatures, is written down in docs/spec/directory.md.
//
// The package is pure: it does no I/O, reads no clock and logs nothing. What it skipped while it read a text comes back as Notes.
//
// A Descriptor that ParseDescriptor returned is signed by the key it names as its identity, and nothing more: whether that
// server is listed, recommended or the one a user means by its nickname is for the caller to decide. A Directory that ParseDirectory
// returned may be signed by nobody: only CheckQuorum makes it worth anything.
package directory

import "mixminion/packet"

// Versions that this package writes and understands.
const (
	DescriptorVersion = "0.2"

	sectionVersion = "0.1"
)

// What stands in the Protocols entries of descriptors: versions of the link protocol (minion-spec 4). "0.3" alone has always meant links
// over IPv4. Links over IPv6 speak the same protocol and have a name of their own here, so that programs which know nothing of IPv6, and
// only ask whether two servers have a protocol in common (path-spec 2.3), do not join servers that cannot reach each other.
const (
	MMTPVersion     = "0.3"
	MMTPVersionIPv6 = "0.3-IPv6"
)

// MMTPProtocols lists the protocols of somebody with the given connections to the Internet.
func MMTPProtocols(ipv4, ipv6 bool) []string {
	var out []string
	if ipv4 {
		out = append(out, MMTPVersion)
	}
	if ipv6 {
		out = append(out, MMTPVersionIPv6)
	}
	return out
}

// What stands in the entry TLS-Versions of the MMTP sections, which the first implementation passes over: what the
// links of a server are made with. A server without the entry speaks TLSLegacy alone, as the first implementation does.
// The entry is signed, so whoever stands between two servers that both speak TLS 1.3 cannot make them use anything
// else.
const (
	TLS13     = "1.3"
	TLSLegacy = "1.0" // to 1.2
)

// TLSVersions lists the versions of a server of this program.
func TLSVersions(legacy bool) []string {
	if legacy {
		return []string{TLS13, TLSLegacy}
	}
	return []string{TLS13}
}

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
