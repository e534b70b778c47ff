package mix

import (
	"encoding/binary"
	"fmt"
	"strings"

	"mixminion/internal/store"
	"mixminion/packet"
)

// The names of store queues begin with what they are for. That of a next hop goes on with its routing information, so that it needs no
// table; that of an exit, and of the whole messages for it, with its routing type.
const (
	hopQueuePrefix   = 'h'
	exitQueuePrefix  = 'x'
	wholeQueuePrefix = 'w' // fragments of messages of which enough are there
	heldQueue        = "g" // fragments of other messages
	finishedQueue    = "f" // no packets, but records of messages that are done with

	// packedHost comes before a host name that is packed, because it would be too long otherwise. No host name begins with it.
	packedHost = 0xFF
	// hostChars are the characters of host names. Their places, from 1 on, are their codes of six bits; 0 is the end.
	hostChars = "-.0123456789abcdefghijklmnopqrstuvwxyz"
	codeBits  = 6
)

func hopQueue(next packet.Hop) string {
	info := next.AppendRoutingInfo([]byte{hopQueuePrefix})
	if len(info) <= store.MaxQueueName {
		return string(info)
	}
	info = append(info[:len(info)-len(next.Host)], packedHost)
	return string(append(info, packHost(next.Host)...))
}

func exitQueue(t packet.RoutingType) string {
	return string(binary.BigEndian.AppendUint16([]byte{exitQueuePrefix}, uint16(t)))
}

// wholeQueue holds the fragments of messages that wait for an exit.
func wholeQueue(t packet.RoutingType) string {
	return string(binary.BigEndian.AppendUint16([]byte{wholeQueuePrefix}, uint16(t)))
}

// toExit reports whether what is in a queue goes to an exit.
func toExit(queue string) bool { return queue[0] == exitQueuePrefix || queue[0] == wholeQueuePrefix }

// parseQueue tells what the name of a queue that can be emptied stands for.
func parseQueue(name string) (next packet.Hop, exit packet.RoutingType, isExit bool, err error) {
	const hostAt = 1 + 2 + len(next.KeyID)
	switch {
	case len(name) == 3 && toExit(name):
		return packet.Hop{}, packet.RoutingType(binary.BigEndian.Uint16([]byte(name[1:]))), true, nil
	case len(name) > hostAt && name[0] == hopQueuePrefix && name[hostAt] == packedHost:
		host, err := unpackHost(name[hostAt+1:])
		if err != nil {
			return packet.Hop{}, 0, false, err
		}
		name = name[:hostAt] + host
	case len(name) > 1 && name[0] == hopQueuePrefix:
	default:
		return packet.Hop{}, 0, false, errRecord
	}
	next, err = packet.ParseHop(packet.TypeFwdHost, []byte(name[1:]))
	return next, 0, false, err
}

// packHost writes each character of a host name in six bits. It is for names in lower case, as routing information has them.
func packHost(host string) []byte {
	var out []byte
	bits, have := uint32(0), 0
	for _, c := range []byte(host) {
		bits = bits<<codeBits | uint32(strings.IndexByte(hostChars, c)+1)
		for have += codeBits; have >= 8; have -= 8 {
			out = append(out, byte(bits>>(have-8)))
		}
	}
	if have > 0 {
		out = append(out, byte(bits<<(8-have)))
	}
	return out
}

func unpackHost(packed string) (string, error) {
	var host []byte
	bits, have := uint32(0), 0
	for _, b := range []byte(packed) {
		bits = bits<<8 | uint32(b)
		for have += 8; have >= codeBits; have -= codeBits {
			code := int(bits >> (have - codeBits) & (1<<codeBits - 1))
			if code > len(hostChars) {
				return "", fmt.Errorf("%w: packed host name", errRecord)
			}
			if code > 0 {
				host = append(host, hostChars[code-1])
			}
		}
	}
	return string(host), nil
}
