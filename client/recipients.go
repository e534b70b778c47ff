package client

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mixminion/packet"
)

// ErrRecipients says that addresses cannot get the same message.
var ErrRecipients = errors.New("these recipients do not go together")

// MaxRecipients bounds the addresses of one message.
const MaxRecipients = 100

// ParseAddresses reads what users write for one recipient or several: an address as ParseAddress takes it, or mail addresses with commas
// between them. No address of the form user@host has a comma in it (E2E-spec 3.3.1); the other forms may, and come alone.
func ParseAddresses(s string) ([]Address, error) {
	if strings.Contains(s, ":") || !strings.Contains(s, ",") {
		a, err := ParseAddress(s)
		return []Address{a}, err
	}
	var list []Address
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return nil, fmt.Errorf("%w: one is missing beside a comma", ErrAddress)
		}
		a, err := ParseAddress(part)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// Recipients sorts addresses and takes out those that stand there twice, the host of a mail address and the name of a server without
// regard to case, as E2E-spec 3.3.1 wants it. The error wraps ErrRecipients: there are none, more than MaxRecipients, or one is drop.
func Recipients(list []Address) ([]Address, error) {
	list = slices.Clone(list)
	for i := range list {
		a := &list[i]
		a.LastHop = strings.ToLower(a.LastHop)
		if a.Type == packet.TypeSMTP {
			user, host, _ := bytes.Cut(a.Info, []byte("@"))
			a.Info = slices.Concat(user, []byte("@"), bytes.ToLower(host))
		}
	}
	slices.SortFunc(list, func(a, b Address) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), bytes.Compare(a.Info, b.Info), cmp.Compare(a.LastHop, b.LastHop))
	})
	list = slices.CompactFunc(list, func(a, b Address) bool {
		return a.Type == b.Type && bytes.Equal(a.Info, b.Info) && a.LastHop == b.LastHop
	})
	switch {
	case len(list) == 0:
		return nil, fmt.Errorf("%w: there are none", ErrRecipients)
	case len(list) > MaxRecipients:
		return nil, fmt.Errorf("%w: there are %d, and a message can have %d", ErrRecipients, len(list), MaxRecipients)
	case len(list) > 1 && list[0].Type == packet.TypeDrop:
		return nil, fmt.Errorf("%w: a packet to drop carries no message", ErrRecipients)
	}
	return list, nil
}

// Share joins mail addresses, as Recipients gives them, by eights. Those of one group share a packet and an exit, which sends them one
// mail: they see each other, and the exit knows that they belong together. Only exits whose descriptor has enough Maximum-Recipients
// can take such packets. Addresses of other types stay alone.
func Share(list []Address) []Address {
	var out []Address
	for _, a := range list {
		last := len(out) - 1
		if a.Type != packet.TypeSMTP || last < 0 || out[last].Type != packet.TypeSMTP || out[last].Mailboxes() == packet.MaxRecipients {
			a.Info = slices.Clip(a.Info)
			out = append(out, a)
			continue
		}
		out[last].Info = append(append(out[last].Info, mailboxSeparator), a.Info...)
	}
	return out
}

const mailboxSeparator = 0

// Mailboxes is how many addresses Share has joined in a; 1 for any other.
func (a Address) Mailboxes() int {
	if a.Type != packet.TypeSMTP {
		return 1
	}
	return 1 + bytes.Count(a.Info, []byte{mailboxSeparator})
}
