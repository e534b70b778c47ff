package mix

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/packet"

	"pgregory.net/rapid"
)

func sampleHop() packet.Hop {
	return packet.Hop{Host: "mix.example.net", Port: 48099, KeyID: crypt.KeyID{1, 2, 3}}
}

func sampleRelay() []byte {
	p := new(packet.Packet)
	p[0], p[packet.Size-1] = 1, 2
	return (&record{kind: recordRelay, next: sampleHop(), packet: p}).append(nil)
}

func sampleDeliver(info string) []byte {
	p := new(packet.Payload)
	p[0], p[packet.PayloadLen-1] = 3, 4
	return (&record{
		kind: recordDeliver, typ: packet.TypeSMTP, info: []byte(info), nonce: [nonceLen]byte{5}, payload: p,
	}).append(nil)
}

func TestRecordRoundTrip(t *testing.T) {
	p, payload := new(packet.Packet), new(packet.Payload)
	rapid.Check(t, func(t *rapid.T) {
		fill := rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "contents")
		for i := range p {
			p[i] = fill[i%len(fill)]
		}
		copy(payload[:], p[:])
		var want record
		if rapid.Bool().Draw(t, "relay") {
			want = record{kind: recordRelay, packet: p, next: drawHop(t)}
		} else {
			want = record{
				kind: recordDeliver, payload: payload, typ: packet.RoutingType(rapid.Uint16().Draw(t, "type")),
				info: rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "info"),
			}
			copy(want.nonce[:], rapid.SliceOfN(rapid.Byte(), nonceLen, nonceLen).Draw(t, "nonce"))
		}
		before := []byte("kept")
		b := want.append(before)
		if !bytes.HasPrefix(b, before) {
			t.Fatal("append changes what was there")
		}
		b = b[len(before):]
		if len(b) > store.MaxBody {
			t.Fatalf("the store does not take %d bytes", len(b))
		}
		got, err := parseRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		if got.kind != want.kind || got.next != want.next || got.typ != want.typ || !bytes.Equal(got.info, want.info) ||
			got.nonce != want.nonce || (got.packet == nil) != (want.packet == nil) || (got.payload == nil) != (want.payload == nil) {
			t.Fatal("the record changed")
		}
		if got.packet != nil && *got.packet != *want.packet || got.payload != nil && *got.payload != *want.payload {
			t.Fatal("the contents changed")
		}
	})
}

func drawHop(t *rapid.T) packet.Hop {
	h := packet.Hop{
		Host: rapid.StringMatching(`[a-z0-9-]{1,40}(\.[a-z0-9-]{1,40}){0,4}`).Draw(t, "host"),
		Port: rapid.Uint16Min(1).Draw(t, "port"),
	}
	copy(h.KeyID[:], rapid.SliceOfN(rapid.Byte(), len(h.KeyID), len(h.KeyID)).Draw(t, "keyid"))
	return h
}

func TestMalformedRecords(t *testing.T) {
	relay, deliver := sampleRelay(), sampleDeliver("info")
	change := func(b []byte, at int, to ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], to)
		return b
	}
	for name, b := range map[string][]byte{
		"empty":                         {},
		"only a version":                {recordVersion},
		"no contents":                   {recordVersion, byte(recordRelay)},
		"no contents to deliver":        {recordVersion, byte(recordDeliver)},
		"half a routing type":           {recordVersion, byte(recordDeliver), 1},
		"no length":                     {recordVersion, byte(recordDeliver), 1, 0},
		"half a length":                 {recordVersion, byte(recordDeliver), 1, 0, 0},
		"version 0":                     change(relay, 0, 0),
		"version 2":                     change(relay, 0, recordVersion+1),
		"kind 0":                        change(relay, 1, 0),
		"kind 3":                        change(relay, 1, 3),
		"relay: a byte missing":         relay[:len(relay)-1],
		"relay: a byte too many":        append(bytes.Clone(relay), 0),
		"relay: hop one byte longer":    change(relay, 3, relay[3]+1),
		"relay: hop one byte shorter":   change(relay, 3, relay[3]-1),
		"relay: endless hop":            change(relay, 2, 0xff, 0xff),
		"relay: port 0":                 change(relay, 4, 0, 0),
		"relay: bad name":               change(relay, 4+2+20, '/'),
		"relay: no name":                shortHop(relay),
		"deliver: a byte missing":       deliver[:len(deliver)-1],
		"deliver: a byte too many":      append(bytes.Clone(deliver), 0),
		"deliver: info longer":          change(deliver, 5, deliver[5]+1),
		"deliver: info shorter":         change(deliver, 5, deliver[5]-1),
		"deliver: endless info":         change(deliver, 4, 0xff, 0xff),
		"relay contents, deliver kind":  change(relay, 1, byte(recordDeliver)),
		"deliver contents, relay kind":  change(deliver, 1, byte(recordRelay)),
		"deliver: nothing but the head": deliver[:6],
	} {
		if _, err := parseRecord(b); !errors.Is(err, errRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shortHop takes the name out of a relay record.
func shortHop(relay []byte) []byte {
	n := int(binary.BigEndian.Uint16(relay[2:]))
	b := append(bytes.Clone(relay[:2]), 0, 22)
	b = append(b, relay[4:4+22]...)
	return append(b, relay[4+n:]...)
}

func TestQueueNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hop := drawHop(t)
		next, _, isExit, err := parseQueue(hopQueue(hop))
		if err != nil || isExit || next != hop {
			t.Fatalf("%v, %v, %v", next, isExit, err)
		}
		typ := packet.RoutingType(rapid.Uint16().Draw(t, "type"))
		_, got, isExit, err := parseQueue(exitQueue(typ))
		if err != nil || !isExit || got != typ {
			t.Fatalf("%v, %v, %v", got, isExit, err)
		}
	})
	for _, name := range []string{"", "x", "x1", "x123", "h", "h\x01", hopQueue(sampleHop())[:23], "y12", "H" + hopQueue(sampleHop())[1:]} {
		if _, _, _, err := parseQueue(name); err == nil {
			t.Errorf("%q is taken for a queue", name)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	relay, deliver := sampleRelay(), sampleDeliver("info")
	for _, b := range [][]byte{{}, relay, deliver, sampleDeliver(""), relay[:100], deliver[:100], shortHop(relay)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := parseRecord(b)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Fatal(err)
			}
			return
		}
		again := rec.append(nil)
		if len(again) != len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(again))
		}
		if second, err := parseRecord(again); err != nil || second.queue() != rec.queue() {
			t.Fatalf("the second time it goes elsewhere: %v", err)
		}
	})
}

func FuzzParseQueue(f *testing.F) {
	for _, s := range []string{"", "x", "x\x01\x00", "w\x01\x00", "h", "x123", "w123", hopQueue(sampleHop()), hopQueue(sampleHop()) + "\x00", strings.Repeat("h", 300),
		hopQueue(packet.Hop{Host: strings.Repeat("a.", 126) + "z", Port: 1}), "h" + strings.Repeat("k", 22) + "\xff\xff\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		next, typ, isExit, err := parseQueue(name)
		if err != nil {
			return
		}
		if isExit && exitQueue(typ) != name && wholeQueue(typ) != name {
			t.Fatal("the name of an exit changed")
		}
		if !isExit && !strings.EqualFold(hopQueue(next), name) {
			// Keyids are bytes, names are letters: only the name may change, to lower case.
			if again, _, _, err := parseQueue(hopQueue(next)); err != nil || again != next {
				t.Fatalf("the next hop changed: %v", err)
			}
		}
	})
}
