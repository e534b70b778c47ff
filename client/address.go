package client

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"mixminion/delivery/mail"
	"mixminion/packet"
)

// ErrAddress says that a text is not an address that packets can be sent to. The error's text explains the forms.
var ErrAddress = errors.New("not an address")

// An Address is where a message leaves the network.
type Address struct {
	Type    packet.RoutingType
	Info    []byte // without tag
	LastHop string // nickname of the server that the address belongs to, "" for any
}

// ParseAddress reads an address as users write it: user@host, smtp:user@host, mbox:name, mbox:name@server, drop, or 0xHHHH:text for any
// other exit type.
func ParseAddress(s string) (Address, error) {
	scheme, rest, hasScheme := strings.Cut(s, ":")
	lower := strings.ToLower(scheme)
	switch {
	case !hasScheme && lower == "drop":
		return Address{Type: packet.TypeDrop}, nil
	case !hasScheme && strings.Contains(s, "@"):
		return parseMailbox(s)
	case strings.HasPrefix(lower, "0x"):
		return parseRawAddress(lower[2:], rest)
	case !hasScheme:
		return parseMailbox(s)
	case lower == "smtp":
		return parseMailbox(rest)
	case lower == "mbox":
		name, server, named := strings.Cut(rest, "@")
		if name == "" || named && server == "" {
			return Address{}, fmt.Errorf("%w: write mbox:name or mbox:name@server", ErrAddress)
		}
		return Address{Type: packet.TypeMBOX, Info: []byte(name), LastHop: server}, nil
	}
	return Address{}, fmt.Errorf("%w: it must be user@host, mbox:name@server, drop or 0xHHHH:text", ErrAddress)
}

func parseMailbox(s string) (Address, error) {
	box, err := mail.ParseAddress([]byte(s))
	if err != nil {
		return Address{}, fmt.Errorf("%w: a mail address has the form user@host, in plain ASCII and without quotes, comments or blanks; "+
			"the host must be a name", ErrAddress)
	}
	return Address{Type: packet.TypeSMTP, Info: []byte(box)}, nil
}

func parseRawAddress(digits, info string) (Address, error) {
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != 2 {
		return Address{}, fmt.Errorf("%w: an exit type has four hexadecimal digits, like 0x0100", ErrAddress)
	}
	t := packet.RoutingType(b[0])<<8 | packet.RoutingType(b[1])
	if !t.IsExit() && t != packet.TypeDrop || t == 0xFFFF || t == packet.TypeFragment {
		return Address{}, fmt.Errorf("%w: %v is no type that messages can be addressed to", ErrAddress, t)
	}
	switch t {
	case packet.TypeSMTP:
		return parseMailbox(info)
	case packet.TypeMBOX:
		if info == "" {
			return Address{}, fmt.Errorf("%w: %v needs a name", ErrAddress, t)
		}
	}
	return Address{Type: t, Info: []byte(info)}, nil
}
