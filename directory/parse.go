package directory

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"mixminion/internal/crypt"
)

// The sections of a descriptor. All but the first are optional.
const (
	sectionServer     = "Server"
	sectionIncoming   = "Incoming/MMTP"
	sectionOutgoing   = "Outgoing/MMTP"
	sectionSMTP       = "Delivery/SMTP"
	sectionMBOX       = "Delivery/MBOX"
	sectionFragmented = "Delivery/Fragmented"
	sectionTesting    = "Testing" // free text for debugging, never examined
)

// ParseDescriptor reads a server descriptor, checks all of its fields and verifies its digest and signature (dir-spec 3). Sections
// and entries that it does not know, sections of another version, and optional sections that are corrupt are left out with a Note.
// The error is a *SyntaxError, or matches ErrVersion, ErrDigest or crypt.ErrSignature.
//
// Whether the descriptor is valid at some time is not examined: see CheckPublished, LiveAt and ValidOver.
func ParseDescriptor(text []byte) (*Descriptor, error) {
	sections, err := Parse(text, DescriptorLimits)
	if err != nil {
		return nil, err
	}
	p := descriptorParser{d: &Descriptor{text: clean(text)}}
	if err := p.parse(sections); err != nil {
		return nil, err
	}
	d := p.d
	d.digest = descriptorDigest(d.text)
	if d.digest != p.claimed {
		return nil, ErrDigest
	}
	if err := crypt.Verify(d.Identity, d.digest, p.signature); err != nil {
		return nil, fmt.Errorf("descriptor of %s: %w", d.Nickname, err)
	}
	return d, nil
}

type descriptorParser struct {
	d         *Descriptor
	claimed   crypt.Digest
	signature []byte
}

func (p *descriptorParser) note(line int, corrupt bool, format string, args ...any) {
	p.d.Notes = append(p.d.Notes, Note{Line: line, Msg: fmt.Sprintf(format, args...), Corrupt: corrupt})
}

func (p *descriptorParser) parse(sections []Section) error {
	seen := make(map[string]bool)
	for i := range sections {
		s := &sections[i]
		if (s.Name == sectionServer) != (i == 0) {
			return syntaxError(s.Line, "a descriptor has one [Server] section, and it comes first")
		}
		if seen[s.Name] {
			return syntaxError(s.Line, "second section [%s]", s.Name)
		}
		seen[s.Name] = true
		if err := p.section(s); err != nil {
			return err
		}
	}
	return nil
}

func (p *descriptorParser) section(s *Section) error {
	var fields []field
	switch s.Name {
	case sectionServer:
		fields = p.serverFields()
	case sectionIncoming:
		in := new(Incoming)
		fields, p.d.Incoming = incomingFields(in), in
	case sectionOutgoing:
		out := new(Outgoing)
		fields, p.d.Outgoing = outgoingFields(out), out
	case sectionSMTP:
		smtp := new(Delivery)
		fields, p.d.SMTP = append(deliveryFields(smtp), field{
			key: "Maximum-Recipients", set: into(&smtp.MaximumRecipients, parsePositive),
		}), smtp
	case sectionMBOX:
		mbox := new(Delivery)
		fields, p.d.MBOX = deliveryFields(mbox), mbox
	case sectionFragmented:
		frag := new(Fragmented)
		fields, p.d.Fragmented = fragmentedFields(frag), frag
	case sectionTesting:
		return nil
	default:
		p.note(s.Line, false, "unknown section [%s]", s.Name)
		return nil
	}
	if s.Name == sectionServer {
		if v, ok := s.get("Descriptor-Version"); ok && v.Value != DescriptorVersion {
			return fmt.Errorf("%w: %s", ErrVersion, quote(v.Value))
		}
		return p.read(s, fields)
	}
	if v, ok := s.get("Version"); ok && v.Value != sectionVersion {
		p.note(v.Line, false, "section [%s] has the unknown version %s", s.Name, quote(v.Value))
		p.drop(s.Name)
		return nil
	}
	err := p.read(s, fields)
	var corrupt *corruptError
	if errors.As(err, &corrupt) {
		p.note(corrupt.line, true, "section [%s] is ignored: %s", s.Name, corrupt.msg)
		p.drop(s.Name)
		return nil
	}
	return err
}

// drop forgets an optional section that turned out to be unusable.
func (p *descriptorParser) drop(name string) {
	switch name {
	case sectionIncoming:
		p.d.Incoming = nil
	case sectionOutgoing:
		p.d.Outgoing = nil
	case sectionSMTP:
		p.d.SMTP = nil
	case sectionMBOX:
		p.d.MBOX = nil
	case sectionFragmented:
		p.d.Fragmented = nil
	}
}

// A field says how one key of a section is read.
type field struct {
	key      string
	required bool
	many     bool // may occur more than once
	set      func(value string) error
}

// A corruptError is a missing or malformed field: fatal in [Server], the end of an optional section (dir-spec 2.3).
type corruptError struct {
	line int
	msg  string
}

func (e *corruptError) Error() string { return (&SyntaxError{e.line, e.msg}).Error() }

// Unwrap lets callers see the SyntaxError that a fatal one is.
func (e *corruptError) Unwrap() error { return &SyntaxError{e.line, e.msg} }

// read fills in fields from a section of a descriptor.
func (p *descriptorParser) read(s *Section, fields []field) error {
	notes, err := readSection(s, fields)
	p.d.Notes = append(p.d.Notes, notes...)
	if err != nil {
		return err
	}
	if s.Name == sectionServer && !p.d.ValidUntil.After(p.d.ValidAfter) {
		e, _ := s.get("Valid-Until")
		return syntaxError(e.Line, "Valid-Until: not after Valid-After")
	}
	return nil
}

// readSection fills in fields from a section. Unknown keys are noted. A key given twice is an error that no section survives.
func readSection(s *Section, fields []field) (notes []Note, err error) {
	lines := make(map[string]int)
	var corrupt error
	for _, e := range s.Entries {
		f := findField(fields, e.Key)
		if f == nil {
			notes = append(notes, Note{Line: e.Line, Msg: fmt.Sprintf("unknown key %s in [%s]", quote(e.Key), s.Name)})
			continue
		}
		if lines[e.Key] != 0 && !f.many {
			return notes, syntaxError(e.Line, "second %s in [%s]", e.Key, s.Name)
		}
		lines[e.Key] = e.Line
		if err := f.set(e.Value); err != nil && corrupt == nil {
			corrupt = &corruptError{e.Line, fmt.Sprintf("%s: %v", e.Key, err)}
		}
	}
	if corrupt != nil {
		return notes, corrupt
	}
	for _, f := range fields {
		if f.required && lines[f.key] == 0 {
			return notes, &corruptError{s.Line, fmt.Sprintf("[%s] has no %s", s.Name, f.key)}
		}
	}
	return notes, nil
}

func findField(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

func (p *descriptorParser) serverFields() []field {
	d := p.d
	return []field{
		{key: "Descriptor-Version", required: true, set: ignore},
		{key: "Nickname", required: true, set: func(s string) error {
			if !ValidNickname(s) {
				return errors.New("not a letter followed by at most 23 letters, digits and hyphens")
			}
			d.Nickname = s
			return nil
		}},
		{key: "Identity", required: true, set: publicKey(&d.Identity, minIdentityBits, maxIdentityBits)},
		{key: "Digest", required: true, set: func(s string) error {
			b, err := decodeBase64(s)
			if err == nil && len(b) != len(p.claimed) {
				err = errBase64
			}
			copy(p.claimed[:], b)
			return err
		}},
		{key: "Signature", required: true, set: func(s string) (err error) {
			p.signature, err = decodeBase64(s)
			return err
		}},
		{key: "Published", required: true, set: into(&d.Published, parseTime)},
		{key: "Valid-After", required: true, set: into(&d.ValidAfter, parseDate)},
		{key: "Valid-Until", required: true, set: into(&d.ValidUntil, parseDate)},
		{key: "Packet-Key", required: true, set: publicKey(&d.PacketKey, packetKeyBits, packetKeyBits)},
		{key: "Packet-Versions", required: true, set: into(&d.PacketVersions, parseList)},
		{key: "Software", set: text(&d.Software, maxSoftwareLen)},
		{key: "Secure-Configuration", set: into(&d.Secure, parseBoolean)},
		{key: "Contact", required: true, set: text(&d.Contact, maxContactLen)},
		{key: "Why-Insecure", set: text(&d.WhyInsecure, math.MaxInt)},
		{key: "Contact-Fingerprint", set: text(&d.ContactFingerprint, maxFingerprintLen)},
		{key: "Comments", set: text(&d.Comments, maxCommentsLen)},
		{key: "MyFamily", set: into(&d.Family, ParseFamily)},
	}
}

func incomingFields(in *Incoming) []field {
	return []field{
		{key: "Version", required: true, set: ignore},
		{key: "IP", set: func(s string) error {
			// The key is obsolete and is not checked by anybody (dir-spec 3); it is kept when it makes sense.
			if ip, err := netip.ParseAddr(s); err == nil && ip.Is4() {
				in.IP = ip
			}
			return nil
		}},
		{key: "Hostname", required: true, set: func(s string) error {
			if !validHost(s) {
				return errors.New("neither a host name nor an IPv4 address")
			}
			in.Hostname = strings.ToLower(s)
			return nil
		}},
		{key: "Port", required: true, set: func(s string) error {
			n, err := parseNumber(s, 1, math.MaxUint16)
			in.Port = uint16(n)
			return err
		}},
		{key: "Key-Digest", set: ignore}, // the keyid is always computed from Identity
		{key: "Protocols", required: true, set: into(&in.Protocols, parseList)},
		{key: "TLS-Versions", set: into(&in.TLS, parseList)},
		{key: "Allow", many: true, set: checkAddressPattern},
		{key: "Deny", many: true, set: checkAddressPattern},
	}
}

func outgoingFields(out *Outgoing) []field {
	return []field{
		{key: "Version", required: true, set: ignore},
		{key: "Protocols", required: true, set: into(&out.Protocols, parseList)},
		{key: "TLS-Versions", set: into(&out.TLS, parseList)},
		{key: "Allow", many: true, set: checkAddressPattern},
		{key: "Deny", many: true, set: checkAddressPattern},
	}
}

func deliveryFields(d *Delivery) []field {
	return []field{
		{key: "Version", required: true, set: ignore},
		{key: "Maximum-Size", required: true, set: into(&d.MaximumSize, parseCount)},
		{key: "Allow-From", required: true, set: into(&d.AllowFrom, parseBoolean)},
	}
}

func fragmentedFields(f *Fragmented) []field {
	return []field{
		{key: "Version", required: true, set: ignore},
		{key: "Maximum-Fragments", required: true, set: into(&f.MaximumFragments, parseCount)},
	}
}

func ignore(string) error { return nil }

// into stores what parse makes of a value.
func into[T any](to *T, parse func(string) (T, error)) func(string) error {
	return func(s string) (err error) {
		*to, err = parse(s)
		return err
	}
}

func text(to *string, most int) func(string) error {
	return func(s string) error {
		if len(s) > most {
			return fmt.Errorf("longer than %d characters", most)
		}
		*to = s
		return nil
	}
}

func publicKey(to **rsa.PublicKey, minBits, maxBits int) func(string) error {
	return func(s string) error {
		der, err := decodeBase64(s)
		if err != nil {
			return err
		}
		*to, err = crypt.ParsePublicKey(der, minBits, maxBits)
		return err
	}
}

func parsePositive(s string) (int, error) { return parseNumber(s, 1, math.MaxInt32) }

func parseCount(s string) (int, error) { return parseNumber(s, 0, math.MaxInt32) }
