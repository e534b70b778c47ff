package logging

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Public is a text that the configuration or a published directory holds, and that may be logged as it is: the name of
// a file or of the mail server, the URL of a directory server, the fingerprint of an authority. Never what names
// another mix with which packets are exchanged.
type Public string

// What stands in the place of things that are not logged.
const (
	hiddenAddress = "[address]"
	hiddenMailbox = "[mailbox]"
	hiddenHash    = "[hash]"
	hiddenUser    = "[user]"
)

// redact returns an attribute as it may be logged: texts, numbers and groups of them.
func redact(a slog.Attr) slog.Attr {
	if public, ok := a.Value.Any().(Public); ok {
		return slog.String(a.Key, string(public))
	}
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindTime:
		return slog.Attr{Key: a.Key, Value: v}
	case slog.KindString:
		return slog.String(a.Key, redactText(v.String()))
	case slog.KindGroup:
		members := make([]slog.Attr, len(v.Group()))
		for i, m := range v.Group() {
			members[i] = redact(m)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(members...)}
	default:
		return slog.String(a.Key, redactAny(v.Any()))
	}
}

// redactAny is the text for a value of any other type.
func redactAny(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case Public:
		return string(v)
	case netip.Addr, netip.AddrPort, netip.Prefix, net.Addr, net.IP, net.IPNet, *net.IPNet, *url.URL, url.URL:
		return hiddenAddress
	case error:
		return redactError(v)
	}
	return fmt.Sprintf("[%s]", cmp.Or(reflect.TypeOf(v).String(), "value"))
}

// redactError is the text of an error without what it or an error in its chain should not tell.
func redactError(err error) (text string) {
	defer func() {
		if recover() != nil { // a nil pointer that is an error, say
			text = "[error]"
		}
	}()
	text = err.Error()
	var n names
	n.collect(err)
	if strings.Contains(text, mark) {
		n.public = nil // what comes from outside must not pass for a place holder
	}
	for i, s := range n.public {
		text = strings.ReplaceAll(text, s, placeholder(i))
	}
	// The longest first: a part of it would leave the rest standing.
	slices.SortFunc(n.secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, s := range n.secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, hiddenAddress)
		}
	}
	text = redactText(text)
	for i, s := range n.public {
		text = strings.ReplaceAll(text, placeholder(i), s)
	}
	return text
}

// mark stands around the number of a place holder.
const mark = "\x00"

// placeholder stands for a public part of a text while the rest is redacted.
func placeholder(i int) string { return mark + strconv.Itoa(i) + mark }

// names are what the errors of a chain name.
type names struct{ secrets, public []string }

// private is an error that names somebody: Private returns the parts of its text that must not be logged.
type private interface{ Private() []string }

// public is an error that names what the configuration holds: Public returns the parts of its text that are logged as they are, like a value of
// the type of that name.
type public interface{ Public() []string }

// collect gathers what the errors of a chain name.
func (n *names) collect(err error) {
	add := func(s ...string) { n.secrets = append(n.secrets, s...) }
	addr := func(a net.Addr) {
		if a != nil {
			add(a.String())
		}
	}
	if e, ok := err.(public); ok { //nolint:errorlint // each error of the chain is looked at
		n.public = append(n.public, e.Public()...)
	}
	switch e := err.(type) { //nolint:errorlint // each error of the chain is looked at
	case private:
		add(e.Private()...)
	case *net.OpError:
		addr(e.Source)
		addr(e.Addr)
	case *net.DNSError:
		add(e.Name, e.Server)
	case *net.AddrError:
		add(e.Addr)
	case *net.ParseError:
		add(e.Text)
	case x509.HostnameError:
		add(e.Host)
	}
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		if next := e.Unwrap(); next != nil {
			n.collect(next)
		}
	case interface{ Unwrap() []error }:
		for _, next := range e.Unwrap() {
			if next != nil {
				n.collect(next)
			}
		}
	}
}

var (
	userInfo = regexp.MustCompile(`://[^/\s@]*@`)
	// A mailbox as loosely as anybody may write one.
	mailbox = regexp.MustCompile(`[^\s<>(),;:"'@\[\]]+@[\pL\pN.\-]+|"[^"\s]+"@[\pL\pN.\-]+|[^\s<>(),;:"'@\[\]]+@\[[^\]\s]+\]`)
	ipv4    = regexp.MustCompile(`\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]{1,5})?\b`)
	ipv6    = regexp.MustCompile(`\[?[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:%[\w.\-]+)?(?:\](?::[0-9]{1,5})?)?`)
	// SHA-1 in hexadecimal or base64, and identifiers of 64 bits. Capitals are left: they are fingerprints of mixes and authorities.
	hash = regexp.MustCompile(`\b(?:[0-9a-f]{40}|[0-9a-f]{16})\b|\b[A-Za-z0-9+/]{27}=`)
)

// redactText replaces what looks like an address, a mailbox or a hash. It is the second line of defence, behind the types.
func redactText(text string) string {
	if !strings.ContainsAny(text, "0123456789:@") {
		return text
	}
	text = userInfo.ReplaceAllString(text, "://"+hiddenUser+"@")
	text = mailbox.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(s, hiddenUser) || strings.Contains(s, "//") {
			return s
		}
		return hiddenMailbox
	})
	text = ipv6.ReplaceAllStringFunc(text, hideIfAddress)
	text = ipv4.ReplaceAllString(text, hiddenAddress)
	return hash.ReplaceAllString(text, hiddenHash)
}

// hideIfAddress takes an address with brackets, zone and port or without. What else has two colons, such as a time, stays.
func hideIfAddress(s string) string {
	trimmed := strings.TrimRight(s, ":.") // the punctuation of the sentence
	for _, t := range []string{s, trimmed} {
		_, err := netip.ParseAddr(strings.Trim(t, "[]"))
		_, perr := netip.ParseAddrPort(t)
		if err == nil || perr == nil {
			return hiddenAddress + s[len(t):]
		}
	}
	return s
}
