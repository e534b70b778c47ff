package directory

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// Errors about descriptors. Breaches of the format are of type *SyntaxError; a wrong signature matches crypt.ErrSignature.
var (
	ErrDigest   = errors.New("digest does not match the text")
	ErrVersion  = errors.New("descriptor version is not " + DescriptorVersion)
	ErrFuture   = errors.New("descriptor is published in the future")
	ErrConflict = errors.New("nickname and identity key contradict a server that is known already")
)

// Fields is what a server says about itself: all of a descriptor that is neither identity nor signature. It is what SignDescriptor
// takes and what ParseDescriptor finds.
type Fields struct {
	Nickname       string
	Published      time.Time // whole seconds, UTC
	ValidAfter     time.Time // midnight UTC: valid from this moment on
	ValidUntil     time.Time // midnight UTC: no longer valid from this moment on
	PacketKey      *rsa.PublicKey
	PacketVersions []string // versions of packets that the server unwraps
	Software       string   // "" if it does not say
	Secure         bool     // Secure-Configuration; when false WhyInsecure says why
	Contact        string
	WhyInsecure    string

	ContactFingerprint string
	Comments           string

	// Family names the other servers of the same operator, by nickname or by fingerprint (upper case); see SameFamily.
	Family []string

	Incoming   *Incoming   // nil: takes no connections
	Outgoing   *Outgoing   // nil: makes no connections
	SMTP       *Delivery   // nil: does not deliver to SMTP
	MBOX       *Delivery   // nil: does not deliver to mailboxes of its own
	Fragmented *Fragmented // nil: does not reassemble
}

// Incoming is the section [Incoming/MMTP].
type Incoming struct {
	IP        netip.Addr // IPv4 or zero; for people, nothing in the protocol uses it
	Hostname  string     // lower case; a name or a dotted IPv4 address
	Port      uint16
	Protocols []string // what links to it can speak: MMTPVersion, MMTPVersionIPv6
	TLS       []string // what they are made with: TLS13, TLSLegacy; none means TLSLegacy
}

// Outgoing is the section [Outgoing/MMTP].
type Outgoing struct {
	Protocols []string // what links it makes can speak: MMTPVersion, MMTPVersionIPv6
	TLS       []string // what they are made with: TLS13, TLSLegacy; none means TLSLegacy
}

// Delivery is the section [Delivery/SMTP] or [Delivery/MBOX] (E2E-spec 3.2.4, E2E-spec 3.3.4).
type Delivery struct {
	MaximumSize int // in KB, before compression
	AllowFrom   bool
	// MaximumRecipients is how many addresses one packet may name; 0 if the section does not say, which means one. It is an addition
	// to the specification, in [Delivery/SMTP] only: the first implementation passes over it and takes one address.
	MaximumRecipients int
}

// Recipients is how many addresses a packet to d may name, at least one and at most packet.MaxRecipients. d may be nil.
func (d *Delivery) Recipients() int {
	if d == nil {
		return 1
	}
	return min(max(d.MaximumRecipients, 1), packet.MaxRecipients)
}

// Fragmented is the section [Delivery/Fragmented] (E2E-spec 3.4.1).
type Fragmented struct{ MaximumFragments int }

// A Note is about something that was skipped in a text.
type Note struct {
	Line int
	Msg  string
	// Corrupt says that a section was ignored because it breaks its own rules (dir-spec 2.3). The first implementation refuses a directory
	// that holds such a descriptor, so a directory authority must not list it.
	Corrupt bool
}

func (n Note) String() string { return fmt.Sprintf("line %d: %s", n.Line, n.Msg) }

// A Descriptor is what ParseDescriptor found: a server's promise about what it does and until when, under its own signature
// (dir-spec 3). It must not be changed.
type Descriptor struct {
	Fields
	Identity *rsa.PublicKey
	Notes    []Note

	digest crypt.Digest
	text   []byte
}

// KeyID is what identifies the server: SHA-1 of its identity key.
func (d *Descriptor) KeyID() crypt.KeyID { return crypt.NewKeyID(d.Identity) }

// Fingerprint is KeyID in the form that people compare: 40 upper-case hexadecimal digits.
func (d *Descriptor) Fingerprint() string { return d.KeyID().Fingerprint() }

// Digest identifies the descriptor itself: what its signature covers.
func (d *Descriptor) Digest() crypt.Digest { return d.digest }

// Text is the descriptor as it was signed: NL line ends, no blanks around lines. The caller must not change it.
func (d *Descriptor) Text() []byte { return d.text }

// Node is the server as a hop of a path. Host and port are zero if the server takes no connections.
func (d *Descriptor) Node() packet.Node {
	n := packet.Node{PacketKey: d.PacketKey}
	n.KeyID = d.KeyID()
	if d.Incoming != nil {
		n.Host, n.Port = d.Incoming.Hostname, d.Incoming.Port
	}
	return n
}

// HasNickname reports whether name is the server's nickname, without regard to case.
func (d *Descriptor) HasNickname(name string) bool { return strings.EqualFold(d.Nickname, name) }

// UnwrapsVersion reports whether the server handles packets of the given version, such as packet.Version.
func (d *Descriptor) UnwrapsVersion(version string) bool {
	return slices.Contains(d.PacketVersions, version)
}

// AcceptsConnections reports whether the server takes packets from somebody who makes links of one of the given protocols. With none
// given, these are links over IPv4, which everybody is taken to have.
func (d *Descriptor) AcceptsConnections(protocols ...string) bool {
	switch {
	case d.Incoming == nil:
		return false
	case len(protocols) == 0:
		return slices.Contains(d.Incoming.Protocols, MMTPVersion)
	}
	return slices.ContainsFunc(protocols, func(p string) bool { return slices.Contains(d.Incoming.Protocols, p) })
}

// AcceptsTLS13 reports whether links to the server are made with TLS 1.3, and so never with anything older by those who know TLS 1.3.
func (d *Descriptor) AcceptsTLS13() bool {
	return d.AcceptsTLS(TLS13)
}

// AcceptsTLS reports whether the server takes links from somebody who makes them with the given versions of TLS, as in Outgoing.TLS: none,
// on either side, means TLSLegacy.
func (d *Descriptor) AcceptsTLS(versions ...string) bool {
	if d.Incoming == nil {
		return false
	}
	return slices.ContainsFunc(orLegacy(versions), func(v string) bool { return slices.Contains(orLegacy(d.Incoming.TLS), v) })
}

func orLegacy(versions []string) []string {
	if len(versions) == 0 {
		return []string{TLSLegacy}
	}
	return versions
}

// CanRelayTo reports whether the server can pass packets on to another one (path-spec 2.3), or to itself: whether both have a protocol and
// a version of TLS in common.
func (d *Descriptor) CanRelayTo(to *Descriptor) bool {
	if d.HasNickname(to.Nickname) {
		return true
	}
	return d.Outgoing != nil && len(d.Outgoing.Protocols) > 0 && to.AcceptsConnections(d.Outgoing.Protocols...) &&
		to.AcceptsTLS(d.Outgoing.TLS...)
}

// Capabilities names what the server does: "mbox", "smtp", "relay", "frag", in this order. A server that takes no connections
// has none.
func (d *Descriptor) Capabilities() []string {
	if d.Incoming == nil {
		return nil
	}
	var caps []string
	for _, c := range []struct {
		name string
		has  bool
	}{
		{"mbox", d.MBOX != nil},
		{"smtp", d.SMTP != nil},
		{"relay", d.Outgoing != nil},
		{"frag", d.Fragmented != nil},
	} {
		if c.has {
			caps = append(caps, c.name)
		}
	}
	return caps
}
