package packet_test

import (
	"bytes"
	"os"
	"testing"

	"mixminion/packet"
)

func FuzzParseHop(f *testing.F) {
	hop := packet.Hop{Host: "alpha.example.org", Port: 48099}
	for _, t := range []packet.RoutingType{0, 1, 2, 3, 4, 0x100} {
		f.Add(uint16(t), hop.AppendRoutingInfo(nil))
		f.Add(uint16(t), make([]byte, 26))
	}
	f.Fuzz(func(t *testing.T, typ uint16, info []byte) {
		hop, err := packet.ParseHop(packet.RoutingType(typ), info)
		if err != nil {
			return
		}
		again, err := packet.ParseHop(packet.TypeFwdHost, hop.AppendRoutingInfo(nil))
		if err != nil || again != hop {
			t.Errorf("%v, %v", again, err)
		}
	})
}

func FuzzParseSURBs(f *testing.F) {
	for _, name := range []string{"testdata/surbs.bin", "testdata/surbs.asc"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = packet.ParseArmoredSURBs(data)
		surbs, err := packet.ParseSURBs(data)
		if err != nil {
			return
		}
		var again []byte
		for _, s := range surbs {
			again = s.AppendBinary(again)
		}
		if !bytes.Equal(again, data) {
			t.Error("round trip differs")
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	s := servers(f)
	u := unwrapper(f, s["alpha"].key, s["bravo"].key)
	f.Add(readPacket(f, "packet-smtp-1-1.bin")[:])
	f.Add(readPacket(f, "packet-drop.bin")[:])
	f.Fuzz(func(t *testing.T, data []byte) {
		var p packet.Packet
		copy(p[:], data)
		_, _ = u.Unwrap(&p)
	})
}
