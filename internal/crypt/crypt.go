// Package crypt holds the cryptographic building blocks of the Type III protocol: the AES counter stream, named subkeys, the
// LIONESS wide-block cipher, RSA-OAEP with the protocol's label, and the protocol's OAEP-padded RSA signatures. The source is
// minion-spec 3.1.1; nothing here is an invention of ours.
//
// SHA-1 is what the wire format prescribes. Its known weakness is collisions; every use here relies on its behaviour as a random
// function or on second preimages, except descriptor digests, which directories protect separately.
package crypt

// Sizes in bytes (minion-spec 3.1.2).
const (
	HashLen       = 20  // HASH_LEN: SHA-1 digests
	KeyLen        = 16  // KEY_LEN: AES keys and master secrets
	SPRPKeyLen    = 20  // SPRP_KEY_LEN: LIONESS keys
	PKEncLen      = 256 // PK_ENC_LEN: one RSA-2048 block
	PKOverheadLen = 42  // PK_OVERHEAD_LEN: bytes that OAEP padding takes
	PKMaxDataLen  = PKEncLen - PKOverheadLen
)

type (
	// Key is an AES-128 key or the master secret that a sender shares with one hop.
	Key [KeyLen]byte
	// SPRPKey is a LIONESS key.
	SPRPKey [SPRPKeyLen]byte
	// Digest is a SHA-1 digest.
	Digest [HashLen]byte
)

// A Label names the purpose of a subkey: the string S of SubKey(K, S) (minion-spec 3.1.2).
type Label string

// The labels that the protocol uses.
const (
	LabelHeaderSecret     Label = "HEADER SECRET KEY"  // stream over the rest of a header
	LabelRandomJunk       Label = "RANDOM JUNK"        // what a hop appends to a header
	LabelHeaderEncrypt    Label = "HEADER ENCRYPT"     // LIONESS on the second header
	LabelPayloadEncrypt   Label = "PAYLOAD ENCRYPT"    // LIONESS on the payload
	LabelHideHeader       Label = "HIDE HEADER"        // LIONESS on the second header, keyed by the payload
	LabelHidePayload      Label = "HIDE PAYLOAD"       // LIONESS on the payload, keyed by the second header
	LabelReplayPrevention Label = "REPLAY PREVENTION"  // what the replay log remembers
	LabelApplicationKey   Label = "APPLICATION KEY"    // handed to the delivery module
	LabelEndToEnd         Label = "END-TO-END ENCRYPT" // LIONESS on the rest of an encrypted forward payload
	LabelWhiten           Label = "WHITEN"             // LIONESS on a fragmented message
)

// SubDigest returns Hash(master | label), all 20 bytes.
func SubDigest(master []byte, label Label) Digest {
	h := hashPool.Get().(*digester)
	defer hashPool.Put(h)
	return h.sum([]byte(label), master)
}

// SubKey returns the named AES subkey of master: Hash(master | label) cut to 16 bytes (minion-spec 3.1.2).
func SubKey(master []byte, label Label) Key {
	d := SubDigest(master, label)
	return Key(d[:KeyLen])
}

// SubSPRPKey returns the named LIONESS key of master: Hash(master | label).
func SubSPRPKey(master []byte, label Label) SPRPKey {
	return SPRPKey(SubDigest(master, label))
}

// Hash returns SHA-1 of the concatenation of parts.
func Hash(parts ...[]byte) Digest {
	h := hashPool.Get().(*digester)
	defer hashPool.Put(h)
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	return Digest(h.Sum(h.out[:0]))
}
