package mix

import (
	"encoding/binary"
	"errors"
	"fmt"

	"mixminion/message"
	"mixminion/packet"
)

// A record is what the store keeps of a packet: where it goes and what goes there. It holds nothing of how it came: no time, no key,
// no peer.
//
// Layout: version (1), kind (1), then
//
//	relay:   length of the next hop (2), next hop as FWD/HOST routing information, packet (32768)
//	deliver: routing type (2), length of the information (2), routing information, nonce (16), payload (28672)
//	finished: the IDs (20 each) of messages whose late fragments are not needed
type record struct {
	kind   recordKind
	next   packet.Hop // relay
	packet *packet.Packet

	typ     packet.RoutingType // deliver
	info    []byte
	nonce   [nonceLen]byte
	payload *packet.Payload

	finished []message.ID
}

type recordKind byte

const (
	recordRelay    recordKind = 1
	recordDeliver  recordKind = 2
	recordFinished recordKind = 3

	recordVersion = 1
	nonceLen      = 16
)

var errRecord = errors.New("stored packet has an unknown form")

// append appends the record to b.
func (r *record) append(b []byte) []byte {
	b = append(b, recordVersion, byte(r.kind))
	if r.kind == recordRelay {
		hop := r.next.AppendRoutingInfo(nil)
		b = binary.BigEndian.AppendUint16(b, uint16(len(hop)))
		b = append(b, hop...)
		return append(b, r.packet[:]...)
	}
	if r.kind == recordFinished {
		for _, id := range r.finished {
			b = append(b, id[:]...)
		}
		return b
	}
	b = binary.BigEndian.AppendUint16(b, uint16(r.typ))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.info)))
	b = append(b, r.info...)
	b = append(b, r.nonce[:]...)
	return append(b, r.payload[:]...)
}

// parseRecord reads a record; its packet, payload and info lie in b.
func parseRecord(b []byte) (r record, err error) {
	if len(b) < 2 || b[0] != recordVersion {
		return r, errRecord
	}
	r.kind = recordKind(b[1])
	b = b[2:]
	switch r.kind {
	case recordRelay:
		hop, rest, ok := cutBytes(b)
		if !ok || len(rest) != packet.Size {
			return r, errRecord
		}
		if r.next, err = packet.ParseHop(packet.TypeFwdHost, hop); err != nil {
			return r, fmt.Errorf("%w: %w", errRecord, err)
		}
		r.packet = (*packet.Packet)(rest)
	case recordDeliver:
		if len(b) < 2 {
			return r, errRecord
		}
		r.typ = packet.RoutingType(binary.BigEndian.Uint16(b))
		info, rest, ok := cutBytes(b[2:])
		if !ok || len(rest) != nonceLen+packet.PayloadLen {
			return r, errRecord
		}
		r.info, r.nonce, r.payload = info, [nonceLen]byte(rest), (*packet.Payload)(rest[nonceLen:])
	case recordFinished:
		for ; len(b) >= message.IDLen; b = b[message.IDLen:] {
			r.finished = append(r.finished, message.ID(b))
		}
		if len(b) != 0 {
			return r, errRecord
		}
	default:
		return r, errRecord
	}
	return r, nil
}

// cutBytes splits a field with a length of two bytes off b.
func cutBytes(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// queue is the name of the store queue that the record goes to when it leaves the pool: one for each next hop, one for each exit.
func (r *record) queue() string {
	if r.kind == recordRelay {
		return hopQueue(r.next)
	}
	return exitQueue(r.typ)
}
