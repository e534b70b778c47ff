package packet_test

import (
	"bytes"
	"crypto/rand"
	"testing"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// keeper remembers what it has decrypted.
type keeper struct {
	crypt.Decrypter
	given []byte
}

func (k *keeper) DecryptPK(block []byte) (plain []byte, err error) {
	k.given, err = k.Decrypter.DecryptPK(block)
	return k.given, err
}

// The secret that a sender shares with a mix is not left in memory.
func TestUnwrapWipesItsSecrets(t *testing.T) {
	node := newNode(0, "mix.example.com")
	dec, err := crypt.StdProvider{}.Decrypter(node.key)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{Decrypter: dec}
	u, err := packet.NewUnwrapper(k)
	if err != nil {
		t.Fatal(err)
	}
	leg := []packet.Node{node.Node}
	p, err := packet.BuildForward(rand.Reader, leg, leg, packet.Exit{Type: packet.TypeDrop}, new(packet.Payload))
	if err != nil {
		t.Fatal(err)
	}
	spoiled := *p
	spoiled[crypt.PKEncLen] ^= 1
	for _, in := range []*packet.Packet{p, &spoiled} {
		_, _ = u.Unwrap(in) // good or bad
		if len(k.given) != crypt.PKMaxDataLen || !bytes.Equal(k.given, make([]byte, len(k.given))) {
			t.Errorf("left: %x", k.given)
		}
	}
}
