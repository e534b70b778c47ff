package mail

import (
	"bytes"
	"slices"
	"strings"

	"mixminion/packet"
)

// maxAddress is the longest mailbox that fits, between < and >, into the path of an SMTP command (RFC 5321, 4.5.3.1.3).
const maxAddress = 254

// ParseAddress checks that info is one mailbox in the form of E2E-spec 3.3.1: atoms separated by dots, an @, atoms separated by
// dots, and no IP address behind the @. It returns ErrAddress for anything else, a mailbox of more than 254 bytes included.
func ParseAddress(info []byte) (string, error) {
	if len(info) > maxAddress {
		return "", ErrAddress
	}
	addr := string(info)
	local, host, found := strings.Cut(addr, "@")
	if !found || !validDotAtom(local) || !validDotAtom(host) || strings.Trim(host, "0123456789.") == "" {
		return "", ErrAddress
	}
	return addr, nil
}

// separator stands between the mailboxes of a packet (E2E-spec 3.3.1).
const separator = 0

// ParseAddresses reads the mailboxes of a packet: one to packet.MaxRecipients of them, with NUL characters in between. They come back
// sorted and without duplicates, so that the mail does not tell which program its sender has. The error is ErrAddress.
func ParseAddresses(info []byte) ([]string, error) {
	if len(info) > packet.MaxRecipients*(maxAddress+1) {
		return nil, ErrAddress
	}
	parts := bytes.Split(info, []byte{separator})
	if len(parts) > packet.MaxRecipients {
		return nil, ErrAddress
	}
	list := make([]string, len(parts))
	for i, part := range parts {
		var err error
		if list[i], err = ParseAddress(part); err != nil {
			return nil, err
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// JoinAddresses is the reverse of ParseAddresses.
func JoinAddresses(list []string) []byte { return []byte(strings.Join(list, string(rune(separator)))) }

// validDotAtom reports whether s is a run of non-empty atoms separated by dots.
func validDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !atomChar(atom[i]) {
				return false
			}
		}
	}
	return true
}

func atomChar(c byte) bool {
	return 0x21 <= c && c <= 0x7E && strings.IndexByte(`()[]<>@,;:\".`, c) < 0
}
