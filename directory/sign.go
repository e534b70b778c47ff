package directory

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// ErrFields says that a descriptor cannot be made of the given fields.
var ErrFields = errors.New("cannot make a server descriptor")

// minDeliverySize is the least Maximum-Size, in KB, that a server may announce (E2E-spec 3.2.4).
const minDeliverySize = 32

// SignDescriptor writes the descriptor of the server with the given identity key and signs it. The text passes ParseDescriptor
// without notes. Errors match ErrFields or crypt.ErrKey.
func SignDescriptor(identity *rsa.PrivateKey, f Fields) ([]byte, error) {
	if err := f.check(&identity.PublicKey); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFields, err)
	}
	sections := f.sections(&identity.PublicKey)
	stub, err := Format(sections)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFields, err)
	}
	digest := descriptorDigest(stub)
	signature, err := crypt.Sign(identity, digest)
	if err != nil {
		return nil, fmt.Errorf("sign server descriptor: %w", err)
	}
	sections[0].set("Digest", encodeBase64(digest[:]))
	sections[0].set("Signature", encodeBase64(signature))
	text, err := Format(sections)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFields, err)
	}
	// Reading it back is what keeps limits and rules in one place, and a server from publishing what nobody accepts.
	d, err := ParseDescriptor(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFields, err)
	}
	if len(d.Notes) > 0 {
		return nil, fmt.Errorf("%w: %v", ErrFields, d.Notes[0])
	}
	return text, nil
}

// check finds what ParseDescriptor would let pass or could not name.
func (f *Fields) check(identity *rsa.PublicKey) error {
	switch {
	case f.PacketKey == nil:
		return errors.New("no packet key")
	case f.PacketKey.Equal(identity):
		return errors.New("the packet key is the identity key")
	case f.Contact == "":
		return errors.New("no contact address")
	case f.Secure != (f.WhyInsecure == ""):
		return errors.New("an insecure configuration needs its reason, a secure one has none")
	case !f.Published.Equal(f.Published.Truncate(time.Second)):
		return errors.New("time of publication is finer than a second")
	case !isMidnight(f.ValidAfter) || !isMidnight(f.ValidUntil):
		return errors.New("validity does not begin and end at midnight UTC")
	}
	if in := f.Incoming; in != nil {
		if in.IP.IsValid() && !in.IP.Is4() {
			return errors.New("the IP entry takes IPv4 addresses only")
		}
		if strings.Contains(in.Hostname, ":") {
			return errors.New("packets of version 0.3 cannot carry IPv6 addresses; give the server a host name")
		}
		if looksNumeric(in.Hostname) {
			if ip, err := netip.ParseAddr(in.Hostname); err != nil || !ip.Is4() {
				return errors.New("the host name is neither a name nor a dotted IPv4 address")
			}
			if slices.Contains(in.Protocols, MMTPVersionIPv6) {
				return errors.New("nobody finds an IPv6 address by a dotted IPv4 address; give the server a host name")
			}
		}
	}
	for _, d := range []*Delivery{f.SMTP, f.MBOX} {
		if d != nil && d.MaximumSize < minDeliverySize {
			return fmt.Errorf("a maximum size of %d KB is below the %d KB that every exit takes", d.MaximumSize, minDeliverySize)
		}
	}
	if f.SMTP != nil && (f.SMTP.MaximumRecipients < 0 || f.SMTP.MaximumRecipients > packet.MaxRecipients) {
		return fmt.Errorf("a packet cannot have %d recipients, but 1 to %d", f.SMTP.MaximumRecipients, packet.MaxRecipients)
	}
	if f.MBOX != nil && f.MBOX.MaximumRecipients != 0 {
		return errors.New("a packet to a mailbox names one")
	}
	if f.Fragmented != nil && f.Fragmented.MaximumFragments < 1 {
		return errors.New("maximum number of fragments is below 1")
	}
	return nil
}

func isMidnight(t time.Time) bool { return t.Equal(t.UTC().Truncate(24 * time.Hour)) }

// looksNumeric reports whether some resolvers would take host for an address: its last label consists of digits.
func looksNumeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// sections lays the fields out in the order in which every implementation writes them, without digest and signature.
func (f *Fields) sections(identity *rsa.PublicKey) []Section {
	keyID := crypt.NewKeyID(identity)
	server := Section{Name: sectionServer}
	server.add("Descriptor-Version", DescriptorVersion)
	server.add("Nickname", f.Nickname)
	server.add("Identity", encodeBase64(crypt.EncodePublicKey(identity)))
	server.add("Digest", "")
	server.add("Signature", "")
	server.add("Published", f.Published.UTC().Format(timeLayout))
	server.add("Valid-After", f.ValidAfter.UTC().Format(dateLayout))
	server.add("Valid-Until", f.ValidUntil.UTC().Format(dateLayout))
	server.add("Packet-Key", encodeBase64(crypt.EncodePublicKey(f.PacketKey)))
	server.add("Packet-Versions", formatList(f.PacketVersions))
	server.addOptional("Software", f.Software)
	server.add("Secure-Configuration", formatBoolean(f.Secure))
	server.add("Contact", f.Contact)
	server.addOptional("Why-Insecure", f.WhyInsecure)
	server.addOptional("Contact-Fingerprint", f.ContactFingerprint)
	server.addOptional("Comments", f.Comments)
	server.addOptional("MyFamily", formatList(sortFamily(f.Family)))
	out := []Section{server}

	section := func(name string) *Section {
		out = append(out, Section{Name: name})
		s := &out[len(out)-1]
		s.add("Version", sectionVersion)
		return s
	}
	if in := f.Incoming; in != nil {
		s := section(sectionIncoming)
		if in.IP.IsValid() {
			s.add("IP", in.IP.String())
		}
		s.add("Hostname", strings.ToLower(in.Hostname))
		s.add("Port", strconv.Itoa(int(in.Port)))
		s.add("Key-Digest", encodeBase64(keyID[:]))
		s.add("Protocols", formatList(in.Protocols))
		s.addOptional("TLS-Versions", formatList(in.TLS))
	}
	if out := f.Outgoing; out != nil {
		s := section(sectionOutgoing)
		s.add("Protocols", formatList(out.Protocols))
		s.addOptional("TLS-Versions", formatList(out.TLS))
	}
	for _, d := range []struct {
		name string
		*Delivery
	}{{sectionSMTP, f.SMTP}, {sectionMBOX, f.MBOX}} {
		if d.Delivery != nil {
			s := section(d.name)
			s.add("Maximum-Size", strconv.Itoa(d.MaximumSize))
			s.add("Allow-From", formatBoolean(d.AllowFrom))
			if d.MaximumRecipients > 0 {
				s.add("Maximum-Recipients", strconv.Itoa(d.MaximumRecipients))
			}
		}
	}
	if f.Fragmented != nil {
		section(sectionFragmented).add("Maximum-Fragments", strconv.Itoa(f.Fragmented.MaximumFragments))
	}
	return out
}

func (s *Section) add(key, value string) {
	s.Entries = append(s.Entries, Entry{Key: key, Value: value})
}

func (s *Section) addOptional(key, value string) {
	if value != "" {
		s.add(key, value)
	}
}

func (s *Section) set(key, value string) {
	for i := range s.Entries {
		if s.Entries[i].Key == key {
			s.Entries[i].Value = value
			return
		}
	}
}
