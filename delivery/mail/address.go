package mail

import "strings"

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
