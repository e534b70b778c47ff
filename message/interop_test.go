package message_test

import (
	"bytes"
	"crypto/rsa"
	"testing"

	"mixminion/internal/firstimpl"
	"mixminion/message"
	"mixminion/packet"
)

// oldParts reads our payloads as 0.0.8 does.
func oldParts(t *testing.T, e *message.Encoded) []*firstimpl.Part {
	t.Helper()
	parts := make([]*firstimpl.Part, len(e.Payloads))
	for i := range e.Payloads {
		var err error
		if parts[i], err = firstimpl.ParsePayload(e.Payloads[i][:], false); err != nil {
			t.Fatalf("payload %d: %v", i, err)
		}
	}
	return parts
}

// lose keeps what is just enough: of each chunk the last k of its n packets.
func lose(parts []*firstimpl.Part, k, n int) (kept []*firstimpl.Part) {
	for i := range parts {
		if p := parts[len(parts)-1-i]; p.Index%n >= n-k {
			kept = append(kept, p)
		}
	}
	return kept
}

var interopSizes = []struct{ bytes, k, n int }{
	{28660, 2, 3}, {60000, 4, 6}, {120000, 8, 11}, {480000, 16, 22},
}

// TestInteropMessages: an exit of 0.0.8 reads the messages that fit into one payload.
func TestInteropMessages(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 28600} {
		msg := append([]byte("\n"), incompressible(3, n)...)
		e, err := message.Encode(newRand(1), msg, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := firstimpl.Decompress(oldParts(t, e)[0].Whole, 20*1024)
		if err != nil || !bytes.Equal(got, msg) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestInteropFragments: our fragments are put together by 0.0.8, by an exit and by a user, whichever of them are lost.
func TestInteropFragments(t *testing.T) {
	address := []byte("dave@example.com")
	for _, c := range interopSizes {
		msg := append([]byte("SUBJECT:x\n\n"), incompressible(4, c.bytes)...)
		for _, atExit := range []bool{false, true} {
			e, err := message.Encode(newRand(1), msg, 0)
			if atExit {
				e, err = message.EncodeForServer(newRand(1), msg, packet.TypeSMTP, address)
			}
			if err != nil {
				t.Fatal(err)
			}
			exit, compressed, err := firstimpl.Reassemble(lose(oldParts(t, e), c.k, c.n), atExit)
			if err != nil {
				t.Fatal(err)
			}
			if atExit && (exit.Type != uint16(packet.TypeSMTP) || !bytes.Equal(exit.Info, address)) {
				t.Errorf("%d bytes go to %d %q", c.bytes, exit.Type, exit.Info)
			}
			if got, err := firstimpl.Decompress(compressed, 0); err != nil || !bytes.Equal(got, msg) {
				t.Errorf("%d bytes, at the exit %v: %v", c.bytes, atExit, err)
			}
		}
	}
}

// TestInteropTheirFragments: the second reading puts together what the first implementation made, in any order, as we do.
func TestInteropTheirFragments(t *testing.T) {
	var file fragmentsFile
	readJSON(t, "fragments.json", &file)
	var parts []*firstimpl.Part
	for p := range bytesChunks(read(t, file.Server.File), file.Server.Size) {
		part, err := firstimpl.ParsePayload(p, false)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part)
	}
	for first := range parts {
		exit, compressed, err := firstimpl.Reassemble(append(append([]*firstimpl.Part{}, parts[first:]...), parts[:first]...), true)
		if err != nil || exit.Type != file.Server.RoutingType || string(exit.Info) != file.Server.Address {
			t.Fatalf("%v: %v", exit.Type, err)
		}
		if msg, err := firstimpl.Decompress(compressed, 0); err != nil || len(msg) != file.Server.Length+1 {
			t.Errorf("%d bytes: %v", len(msg), err)
		}
	}
}

// TestInteropEncryptedForward: a user of 0.0.8's library opens what we encrypt, in one payload and in fragments.
func TestInteropEncryptedForward(t *testing.T) {
	for _, c := range append(interopSizes[:2:2], struct{ bytes, k, n int }{1000, 0, 0}) {
		msg := append([]byte("\n"), incompressible(5, c.bytes)...)
		e, err := message.Encode(newRand(1), msg, message.ForwardOverhead)
		if err != nil {
			t.Fatal(err)
		}
		var parts []*firstimpl.Part
		for i := range e.Payloads {
			parts = append(parts, openOld(t, &e.Payloads[i], testKey()))
		}
		compressed := parts[0].Whole
		if e.Fragmented {
			if _, compressed, err = firstimpl.Reassemble(lose(parts, c.k, c.n), false); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := firstimpl.Decompress(compressed, 0); err != nil || !bytes.Equal(got, msg) {
			t.Errorf("%d bytes: %v", c.bytes, err)
		}
	}
}

func openOld(t *testing.T, p *packet.Payload, key *rsa.PrivateKey) *firstimpl.Part {
	t.Helper()
	tag, err := message.EncryptForward(newRand(2), p, &key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := firstimpl.OpenForward(tag[:], p[:], key)
	if err != nil {
		t.Fatal(err)
	}
	part, err := firstimpl.ParsePayload(plain, true)
	if err != nil {
		t.Fatal(err)
	}
	return part
}
