package message

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// maxReplyKeys is how many keys of a reply block are tried: those of all hops, and the end-to-end key.
const maxReplyKeys = packet.MaxSURBHops + 1

// The first forwardInRSA bytes of the plaintext of an encrypted forward message, the session key included, are in its RSA block. The rest
// of that block after the decoding handle begins the payload.
const (
	forwardInRSA   = crypt.PKMaxDataLen
	forwardRSATail = crypt.PKEncLen - packet.TagLen
)

// Identity is a secret from which a user's reply blocks are made.
type Identity struct {
	Name   string
	Secret []byte
}

// PrivateKey is a key to which encrypted forward messages are sent.
type PrivateKey struct {
	Name string
	Key  crypt.Decrypter // 2048 bits
}

// Keys is what a user can open messages with.
type Keys struct {
	Identities []Identity
	Private    []PrivateKey
}

// Via tells by which means a message was opened.
type Via uint8

// The means of opening a message.
const (
	ViaNone     Via = iota // it was not encrypted
	ViaIdentity            // a reply
	ViaKey                 // an encrypted forward message
)

// Opener tells who a message was for. Openers are comparable.
type Opener struct {
	Via  Via
	Name string // of the identity or the key
}

// Opened is a payload that was opened.
type Opened struct {
	Decoded
	By Opener
}

// Open tries to open a payload with all keys: DECODE_PAYLOAD of E2E-spec 2.3.1. It leaves p as it is; a plain payload's result shares
// memory with it. The error wraps ErrNotForUs when nothing helps, or ErrPayload when a payload opens but makes no sense.
func Open(tag packet.Tag, p *packet.Payload, keys Keys) (Opened, error) {
	if d, err := DecodePayload(p); err != nil {
		return Opened{}, err
	} else if d.Kind != KindEncrypted {
		return Opened{Decoded: d}, nil
	}
	for _, id := range keys.Identities {
		d, err := OpenReply(tag, p, id.Secret)
		if err == nil {
			return Opened{d, Opener{ViaIdentity, id.Name}}, nil
		} else if !errors.Is(err, ErrNotForUs) {
			return Opened{}, err
		}
	}
	for _, key := range keys.Private {
		d, err := OpenForward(tag, p, key.Key)
		if err == nil {
			return Opened{d, Opener{ViaKey, key.Name}}, nil
		} else if !errors.Is(err, ErrNotForUs) {
			return Opened{}, err
		}
	}
	return Opened{}, ErrNotForUs
}

// OpenReply opens a payload that came through a reply block made from secret. It leaves p as it is.
func OpenReply(tag packet.Tag, p *packet.Payload, secret []byte) (Decoded, error) {
	if !crypt.IsSURBSeed(tag, secret) {
		return Decoded{}, ErrNotForUs
	}
	work := *p
	for _, key := range crypt.SURBKeys(tag, secret, maxReplyKeys) {
		crypt.SPRPEncrypt(crypt.SubSPRPKey(key[:], crypt.LabelPayloadEncrypt), work[:])
		if d, err := decode(work[:]); err != nil || d.Kind != KindEncrypted {
			return d, err
		}
	}
	return Decoded{}, ErrNotForUs
}

// OpenForward opens an encrypted forward payload. It leaves p as it is.
func OpenForward(tag packet.Tag, p *packet.Payload, key crypt.Decrypter) (Decoded, error) {
	block := append(tag[:], p[:forwardRSATail]...)
	head, err := key.DecryptPK(block)
	if err != nil || len(head) != forwardInRSA {
		return Decoded{}, ErrNotForUs // whatever else is wrong with it, nobody learns
	}
	work := append(head, p[forwardRSATail:]...)
	crypt.SPRPDecrypt(crypt.SubSPRPKey(work[:crypt.KeyLen], crypt.LabelEndToEnd), work[forwardInRSA:])
	d, err := decode(work[crypt.KeyLen:])
	if err == nil && d.Kind == KindEncrypted {
		return Decoded{}, ErrNotForUs
	}
	return d, err
}

// EncryptForward encrypts a payload that Encode made with ForwardOverhead to a 2048-bit key (E2E-spec 2.2.3), in place. The packet's
// decoding handle must be the tag that it returns. rnd gives the session key.
func EncryptForward(rnd io.Reader, p *packet.Payload, key *rsa.PublicKey) (packet.Tag, error) {
	if key.Size() != crypt.PKEncLen {
		return packet.Tag{}, fmt.Errorf("encrypt message: %w: not of 2048 bits", crypt.ErrKey)
	}
	plain := make([]byte, crypt.KeyLen, crypt.KeyLen+packet.PayloadLen)
	if _, err := io.ReadFull(rnd, plain); err != nil {
		return packet.Tag{}, fmt.Errorf("draw session key: %w", err)
	}
	plain = append(plain, p[:packet.PayloadLen-ForwardOverhead]...)
	// A handle begins with a zero bit. Half of the attempts give one.
	for range 1 << 8 {
		block, err := crypt.EncryptPK(key, plain[:forwardInRSA])
		if err != nil {
			return packet.Tag{}, fmt.Errorf("encrypt message: %w", err)
		}
		if block[0]&0x80 != 0 {
			continue
		}
		crypt.SPRPEncrypt(crypt.SubSPRPKey(plain[:crypt.KeyLen], crypt.LabelEndToEnd), plain[forwardInRSA:])
		copy(p[:], block[packet.TagLen:])
		copy(p[forwardRSATail:], plain[forwardInRSA:])
		return packet.Tag(block), nil
	}
	return packet.Tag{}, errors.New("encrypt message: the random source repeats itself")
}
