package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MMTPPort is the port on which mixes listen unless told otherwise.
const MMTPPort = 48099

// Port is a TCP port; zero means that none is given.
type Port uint16

func (v *Port) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%s is not a port number from 1 to 65535", quote(text))
	}
	*v = Port(n)
	return nil
}

func (v *Port) String() string {
	if *v == 0 {
		return ""
	}
	return strconv.Itoa(int(*v))
}

func (v *Port) Kind() string { return "port" }

// Loopback is an address of this machine that others cannot reach, and a port. The zero value means none.
type Loopback netip.AddrPort

func (v *Loopback) Set(text string) error {
	if strings.EqualFold(text, "none") {
		*v = Loopback{}
		return nil
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil || !a.Addr().IsLoopback() || a.Addr().Zone() != "" || a.Addr().Is4In6() {
		return fmt.Errorf("%s is not an address of loopback with a port, such as 127.0.0.1:9748 or [::1]:9748; other machines must not reach it", quote(text))
	}
	*v = Loopback(a)
	return nil
}

func (v *Loopback) String() string {
	if a := netip.AddrPort(*v); a.IsValid() {
		return a.String()
	}
	return "none"
}

func (v *Loopback) Kind() string { return "address of loopback" }

// HostPort is a host name or IP address, and a port unless it is zero.
// The zero value means that none is given.
type HostPort struct {
	Host string
	Port uint16
}

func (v *HostPort) Set(text string) error {
	host, port, hasPort := text, "", false
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && a.Is6() && a.Zone() == "" {
		host = a.String()
	} else if strings.Contains(text, ":") {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return fmt.Errorf("%s is not host or host:port", quote(text))
		}
		hasPort = true
	}
	if !isHost(host) {
		return fmt.Errorf("%s is not host or host:port", quote(text))
	}
	var p Port
	if hasPort {
		if err := p.Set(port); err != nil {
			return err
		}
	}
	*v = HostPort{Host: host, Port: uint16(p)}
	return nil
}

// Address is host:port for a dialer, with a port to use when none is given.
func (v HostPort) Address(defaultPort uint16) string {
	port := v.Port
	if port == 0 {
		port = defaultPort
	}
	return net.JoinHostPort(v.Host, strconv.Itoa(int(port)))
}

func (v *HostPort) String() string {
	if v.Host == "" || v.Port != 0 {
		return strings.TrimPrefix(v.Address(0), ":0")
	}
	if strings.Contains(v.Host, ":") {
		return "[" + v.Host + "]"
	}
	return v.Host
}

func (v *HostPort) Kind() string { return "host or host:port" }

// HostPorts is a repeatable key, one [HostPort] to a line, in the order in which
// they are to be used.
type HostPorts []HostPort

func (v *HostPorts) Set(text string) error {
	var one HostPort
	if err := one.Set(text); err != nil {
		return err
	}
	if slices.Contains(*v, one) {
		return fmt.Errorf("%s is given twice", quote(text))
	}
	*v = append(*v, one)
	return nil
}

func (v *HostPorts) Values() []string {
	var out []string
	for _, one := range *v {
		out = append(out, one.String())
	}
	return out
}
func (v *HostPorts) String() string { return strings.Join(v.Values(), "; ") }
func (v *HostPorts) Kind() string   { return "host or host:port" }

// isLoopback reports whether all of them are this machine by their very name.
func (v HostPorts) isLoopback() bool {
	return !slices.ContainsFunc(v, func(one HostPort) bool { return !one.isLoopback() })
}

// isLoopback reports whether the host is this machine by its very name.
func (v HostPort) isLoopback() bool {
	if a, err := netip.ParseAddr(v.Host); err == nil {
		return a.IsLoopback()
	}
	return strings.EqualFold(v.Host, "localhost")
}

// Hostname is a DNS name or an IP address.
type Hostname string

func (v *Hostname) Set(text string) error {
	if !isHost(text) {
		return fmt.Errorf("%s is not a host name", quote(text))
	}
	*v = Hostname(text)
	return nil
}
func (v *Hostname) String() string { return string(*v) }
func (v *Hostname) Kind() string   { return "host name" }

func isHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if !isAlphanumeric(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func isAlphanumeric(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// Mailbox is the local@domain of a mail address, nothing around it. Its
// syntax is that of E2E-spec 3.3.1.
type Mailbox string

func (v *Mailbox) Set(text string) error {
	local, host, ok := strings.Cut(text, "@")
	if !ok || len(text) > 256 || !isDotAtoms(local) || !isDotAtoms(host) {
		return fmt.Errorf("%s is not a plain mail address like remailer@example.com", quote(text))
	}
	*v = Mailbox(text)
	return nil
}
func (v *Mailbox) String() string { return string(*v) }
func (v *Mailbox) Kind() string   { return "mail address" }

func isDotAtoms(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsAny(atom, " []()<>@,;:\\\"") {
			return false
		}
	}
	return true
}

// maxNickname is the longest nickname of a mix (dir-spec 3).
const maxNickname = 24

// Nickname is the name of a mix (dir-spec 3).
type Nickname string

func (v *Nickname) Set(text string) error {
	ok := text != "" && len(text) <= maxNickname && text[0] != '-' && (text[0] < '0' || text[0] > '9')
	for _, c := range text {
		ok = ok && (isAlphanumeric(c) || c == '-')
	}
	if !ok {
		return fmt.Errorf("%s is not a nickname: at most %d letters, digits and hyphens, a letter first", quote(text), maxNickname)
	}
	*v = Nickname(text)
	return nil
}
func (v *Nickname) String() string { return string(*v) }
func (v *Nickname) Kind() string   { return "nickname" }

// AddressSet is one Allow or Deny rule: "*", "10.0.0.0/8" or
// "192.0.2.7/255.255.255.0", then optionally a port or a range of ports.
type AddressSet struct {
	Net       netip.Prefix
	Low, High uint16
	AnyPort   bool // no port was given
}

func (v *AddressSet) set(text string) error {
	bad := fmt.Errorf("%s is not an address set like 192.0.2.0/24 or * 48099", quote(text))
	words := strings.Fields(text)
	if len(words) == 0 || len(words) > 2 {
		return bad
	}
	s := AddressSet{AnyPort: true}
	var err error
	if s.Net, err = parseNet(words[0]); err != nil {
		return bad
	}
	if len(words) == 2 {
		low, high, isRange := strings.Cut(words[1], "-")
		if !isRange {
			high = low
		}
		a, err1 := strconv.ParseUint(low, 10, 16)
		b, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || a > b {
			return bad
		}
		s.Low, s.High, s.AnyPort = uint16(a), uint16(b), false
	}
	*v = s
	return nil
}

func parseNet(text string) (netip.Prefix, error) {
	if text == "*" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	}
	host, mask, hasMask := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}, err
	}
	bits := addr.BitLen()
	if hasMask {
		if bits, err = parseMask(mask); err != nil {
			return netip.Prefix{}, err
		}
	}
	return addr.Prefix(bits)
}

func parseMask(text string) (int, error) {
	if m, err := netip.ParseAddr(text); err == nil && m.Is4() {
		if ones, size := net.IPMask(m.AsSlice()).Size(); size != 0 {
			return ones, nil
		}
		return 0, errors.New("mask with holes")
	}
	n, err := strconv.ParseUint(text, 10, 8)
	return int(n), err
}

func (v AddressSet) String() string {
	s := v.Net.String()
	if !v.AnyPort {
		s += fmt.Sprintf(" %d-%d", v.Low, v.High)
	}
	return s
}

// AddressSets is a repeatable key, one [AddressSet] to a line.
type AddressSets []AddressSet

func (v *AddressSets) Set(text string) error {
	var s AddressSet
	if err := s.set(text); err != nil {
		return err
	}
	*v = append(*v, s)
	return nil
}

func (v *AddressSets) Values() []string {
	var out []string
	for _, s := range *v {
		out = append(out, s.String())
	}
	return out
}
func (v *AddressSets) String() string { return strings.Join(v.Values(), "; ") }
func (v *AddressSets) Kind() string   { return "address set" }
