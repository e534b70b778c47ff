package firstimpl

import (
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Descriptor is what 0.0.8 makes of a server descriptor.
type Descriptor struct {
	Nickname   string
	Published  time.Time
	ValidAfter time.Time
	ValidUntil time.Time
	KeyID      []byte // of the identity key
	PacketKey  *rsa.PublicKey
	Host       string
	Port       uint16
	Incoming   []string // protocols; nil: takes no connections
	Outgoing   []string
	Exits      []string // delivery sections that it understands

	// Skipped is what it passes over with a warning: "[Section]", or "Section/Key" for a key in a section that it knows.
	Skipped []string
}

type line struct{ key, value string }

type section struct {
	name  string
	lines []line
}

func (s *section) get(key string) (value string, n int) {
	for _, l := range s.lines {
		if l.key == key {
			value = l.value
			n++
		}
	}
	return value, n
}

var (
	sectionLine = regexp.MustCompile(`^\[([A-Za-z0-9/-]+)\]$`)
	keyLine     = regexp.MustCompile(`^([A-Za-z0-9-]+): (.*)$`)
	nickname    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,23}$`)
	number      = regexp.MustCompile(`^[0-9]{1,9}$`)
	protocols   = regexp.MustCompile(`^[A-Za-z0-9.-]+(?:, ?[A-Za-z0-9.-]+)*$`)
	contact     = regexp.MustCompile(`^[^@ ]+@[^@ ]+$`)
	base64Text  = regexp.MustCompile(`^[A-Za-z0-9+/]+={0,2}$`)
)

// sections reads the restricted form that descriptors and directories have (dir-spec 2.1): no empty line, comment, continuation or byte
// that is not printable ASCII. It is stricter about blanks than 0.0.8, which strips them; the one behind a colon must stand.
func sections(text string) ([]section, error) {
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("%w: the last line does not end", ErrRefused)
	}
	var out []section
	for i, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r > '~' }) || l == "" || l[0] == ' ' || strings.HasSuffix(strings.TrimSuffix(l, ": "), " ") {
			return nil, fmt.Errorf("%w: line %d: %q", ErrRefused, i+1, l)
		}
		if m := sectionLine.FindStringSubmatch(l); m != nil {
			out = append(out, section{name: m[1]})
		} else if m := keyLine.FindStringSubmatch(l); m != nil && len(out) > 0 {
			s := &out[len(out)-1]
			s.lines = append(s.lines, line{m[1], m[2]})
		} else {
			return nil, fmt.Errorf("%w: line %d: %q", ErrRefused, i+1, l)
		}
	}
	return out, nil
}

// digestOf empties the first two lines that begin with one of the keys, strips blanks, and hashes the text (dir-spec 2.5).
func digestOf(text string, keys ...string) []byte {
	emptied := 0
	var b strings.Builder
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, " \n") + "\n"
		key, _, _ := strings.Cut(l, ":")
		if emptied < 2 && slices.Contains(keys, key) {
			l = key + ":\n"
			emptied++
		}
		b.WriteString(l)
	}
	return hash([]byte(b.String()))
}

// A rule says what 0.0.8 wants of a key.
type rule struct {
	required bool
	ok       func(string) bool
}

func anyText(most int) func(string) bool { return func(s string) bool { return len(s) <= most } }

func isDate(s string) bool {
	_, err := time.Parse("2006-01-02", s)
	return err == nil
}

func isTime(s string) bool {
	_, err := time.Parse("2006-01-02 15:04:05", s)
	return err == nil
}

func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil && base64Text.MatchString(s)
}

func isBoolean(s string) bool { return s == "yes" || s == "no" }

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && number.MatchString(s) && n >= 1 && n <= 65535
}

func isHost(s string) bool { return hostChars.MatchString(s) && !strings.Contains(s, "..") }

var (
	versionRule = rule{true, func(s string) bool { return s == "0.1" }}
	listRule    = rule{true, protocols.MatchString}
	mailRules   = map[string]rule{
		"Version": versionRule, "Maximum-Size": {true, number.MatchString}, "Allow-From": {true, isBoolean},
	}
	descriptorRules = map[string]map[string]rule{
		"Server": {
			"Descriptor-Version": {true, func(s string) bool { return s == "0.2" }}, "Nickname": {true, nickname.MatchString},
			"Identity": {true, isBase64}, "Digest": {true, isBase64}, "Signature": {true, isBase64}, "Published": {true, isTime},
			"Valid-After": {true, isDate}, "Valid-Until": {true, isDate}, "Packet-Key": {true, isBase64}, "Packet-Versions": listRule,
			"Contact": {true, func(s string) bool { return len(s) <= 256 && contact.MatchString(s) }}, "Contact-Fingerprint": {false, anyText(128)},
			"Comments": {false, anyText(1024)}, "Software": {false, anyText(256)}, "Secure-Configuration": {false, isBoolean},
			"Why-Insecure": {false, anyText(4096)},
		},
		"Incoming/MMTP": {
			"Version": versionRule, "IP": {}, "Hostname": {true, isHost}, "Port": {true, isPort}, "Key-Digest": {false, isBase64}, "Protocols": listRule,
		},
		"Outgoing/MMTP":       {"Version": versionRule, "Protocols": listRule},
		"Delivery/SMTP":       mailRules,
		"Delivery/MBOX":       mailRules,
		"Delivery/Fragmented": {"Version": versionRule, "Maximum-Fragments": {true, number.MatchString}},
	}
	// descriptorOrder is the order in which it writes keys; readers do not depend on it, but tests compare.
	descriptorOrder = []string{
		"Descriptor-Version", "Nickname", "Identity", "Digest", "Signature", "Published", "Valid-After", "Valid-Until", "Packet-Key",
		"Packet-Versions", "Software", "Secure-Configuration", "Contact", "Why-Insecure", "Contact-Fingerprint", "Comments",
	}
)

// ReadDescriptor checks a server descriptor by the rules of 0.0.8 at a time (dir-spec 3), and returns what it needs to route packets there.
func ReadDescriptor(text string, now time.Time) (*Descriptor, error) {
	all, err := sections(text)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 || all[0].name != "Server" {
		return nil, fmt.Errorf("%w: [Server] does not come first", ErrRefused)
	}
	d := new(Descriptor)
	seen := map[string]bool{}
	for i := range all {
		s := &all[i]
		if seen[s.name] {
			return nil, fmt.Errorf("%w: a second [%s]", ErrRefused, s.name)
		}
		seen[s.name] = true
		if err := d.section(s); err != nil {
			return nil, err
		}
	}
	return d, d.server(&all[0], text, now)
}

func (d *Descriptor) section(s *section) error {
	rules, known := descriptorRules[s.name]
	if !known {
		if s.name != "Testing" {
			d.Skipped = append(d.Skipped, "["+s.name+"]")
		}
		return nil
	}
	for key, r := range rules {
		value, n := s.get(key)
		if n > 1 || n == 0 && r.required || n == 1 && r.ok != nil && !r.ok(value) {
			return fmt.Errorf("%w: [%s] %s: %d times, %q", ErrRefused, s.name, key, n, value)
		}
	}
	var order []int
	for _, l := range s.lines {
		if _, ok := rules[l.key]; !ok {
			d.Skipped = append(d.Skipped, s.name+"/"+l.key)
		} else if s.name == "Server" {
			order = append(order, slices.Index(descriptorOrder, l.key))
		}
	}
	if !slices.IsSorted(order) {
		return fmt.Errorf("%w: the keys of [Server] are in another order than it writes them", ErrRefused)
	}
	list, _ := s.get("Protocols")
	split := strings.Split(strings.ReplaceAll(list, " ", ""), ",")
	switch s.name {
	case "Incoming/MMTP":
		host, _ := s.get("Hostname")
		port, _ := s.get("Port")
		n, _ := strconv.Atoi(port)
		d.Incoming, d.Host, d.Port = split, strings.ToLower(host), uint16(n)
	case "Outgoing/MMTP":
		d.Outgoing = split
	case "Delivery/SMTP", "Delivery/MBOX", "Delivery/Fragmented":
		d.Exits = append(d.Exits, s.name)
	}
	return nil
}

// server checks keys, dates, digest and signature.
func (d *Descriptor) server(s *section, text string, now time.Time) error {
	value := func(key string) string {
		v, _ := s.get(key)
		return v
	}
	raw := func(key string) []byte {
		b, _ := base64.StdEncoding.DecodeString(value(key))
		return b
	}
	identity, err := publicKey(raw("Identity"), 2048, 4096)
	if err == nil {
		d.PacketKey, err = publicKey(raw("Packet-Key"), 2048, 2048)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	d.Nickname, d.KeyID = value("Nickname"), hash(raw("Identity"))
	d.Published, _ = time.Parse("2006-01-02 15:04:05", value("Published"))
	d.ValidAfter, _ = time.Parse("2006-01-02", value("Valid-After"))
	d.ValidUntil, _ = time.Parse("2006-01-02", value("Valid-Until"))
	if d.Published.After(now.Add(10*time.Minute)) || !d.ValidUntil.After(d.ValidAfter) {
		return fmt.Errorf("%w: published %v, valid from %v until %v", ErrRefused, d.Published, d.ValidAfter, d.ValidUntil)
	}
	digest := digestOf(text, "Digest", "Signature")
	if string(digest) != string(raw("Digest")) {
		return fmt.Errorf("%w: the digest is wrong", ErrRefused)
	}
	if err := checkSignature(identity, digest, raw("Signature")); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// CanRelayTo reports whether a server of 0.0.8 would be put in front of another on a path (path-spec 2.3).
func (d *Descriptor) CanRelayTo(to *Descriptor) bool {
	return strings.EqualFold(d.Nickname, to.Nickname) ||
		slices.ContainsFunc(d.Outgoing, func(p string) bool { return slices.Contains(to.Incoming, p) })
}

// StartsPaths reports whether clients of 0.0.8 would send packets to d.
func (d *Descriptor) StartsPaths() bool { return slices.Contains(d.Incoming, "0.3") }
