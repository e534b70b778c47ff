package client

import (
	"errors"
	"testing"

	"mixminion/packet"
)

func FuzzOldQueueFile(f *testing.F) {
	whole := "(U\x08PACKET-0q\x01T\x00\x80\x00\x00" + string(make([]byte, packet.Size)) + "q\x02(cmixminion.Packet\nMMTPHostInfo\n" +
		"q\x03oq\x04}q\x05(U\x08hostnameq\x06U\x09127.0.0.1U\x04portq\x07M\x99\xb7U\x07keyinfoq\x08U\x1412345678901234567890ubJ\x800\x02ktq\x09."
	f.Add([]byte(whole))
	f.Add([]byte(whole[packet.Size:]))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, day, err := parseOldQueueFile(data)
		if err != nil {
			if p.Packet != nil || !errors.Is(err, ErrOldForm) {
				t.Fatal(err)
			}
			return
		}
		// What is read can be kept in our own form.
		file, err := formatQueueFile(p, day)
		if err != nil {
			t.Fatal(err)
		}
		p2, day2, err := parseQueueFile(file)
		if err != nil || p.Legacy || p2.Legacy || p2.First != p.First || !day2.Equal(day) || *p2.Packet != *p.Packet {
			t.Fatalf("%v, %v became %v, %v: %v", p.First, day, p2.First, day2, err)
		}
	})
}
