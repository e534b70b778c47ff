// Package fakedns resolves names that a test makes up, without any network.
package fakedns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
)

// Resolver returns a resolver that knows the given hosts, by names in lower case, and no others.
func Resolver(hosts map[string][]netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go serve(ours, hosts) // until the resolver, which has the other end, closes it
		return theirs, nil
	}}
}

// serve answers queries, each of which begins with its length, as in DNS over TCP.
func serve(c net.Conn, hosts map[string][]netip.Addr) {
	defer func() { _ = c.Close() }() // the other side has gone or gets nothing it can use
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		reply, err := answer(query, hosts)
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

const (
	headerLen = 12
	typeA     = 1
	typeAAAA  = 28
	classIN   = 1
	noSuch    = 3 // NXDOMAIN
)

var errQuery = errors.New("not a query of one name")

// answer replies to a query (RFC 1035, 4.1).
func answer(query []byte, hosts map[string][]netip.Addr) ([]byte, error) {
	if len(query) < headerLen {
		return nil, errQuery
	}
	var labels []string
	rest := query[headerLen:]
	for {
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return nil, errQuery
		}
		n := int(rest[0])
		label := rest[1 : 1+n]
		rest = rest[1+n:]
		if n == 0 {
			break
		}
		labels = append(labels, string(label))
	}
	if len(rest) < 4 {
		return nil, errQuery
	}
	kind := binary.BigEndian.Uint16(rest)
	question := query[headerLen : len(query)-len(rest)+4]

	addrs, known := hosts[strings.ToLower(strings.Join(labels, "."))]
	var records []byte
	count := uint16(0)
	for _, a := range addrs {
		if a.Is4() && kind == typeA || a.Is6() && kind == typeAAAA {
			const nameOfQuestion = 0xC000 | headerLen
			records = binary.BigEndian.AppendUint16(records, nameOfQuestion)
			records = binary.BigEndian.AppendUint16(records, kind)
			records = binary.BigEndian.AppendUint16(records, classIN)
			records = binary.BigEndian.AppendUint32(records, 0) // to be kept for no time
			records = binary.BigEndian.AppendUint16(records, uint16(len(a.AsSlice())))
			records = append(records, a.AsSlice()...)
			count++
		}
	}
	flags := uint16(0x8580) // a reply, with authority, recursion asked for and available
	if !known {
		flags |= noSuch
	}
	reply := append([]byte(nil), query[:2]...)
	for _, v := range []uint16{flags, 1, count, 0, 0} {
		reply = binary.BigEndian.AppendUint16(reply, v)
	}
	return append(append(reply, question...), records...), nil
}
