package keyring

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"mixminion/internal/armor"
	"mixminion/internal/crypt"
)

// The file is, in armor: magic | format | salt | stream cipher of (length | data | padding | hash) (E2E-spec A.2).
const (
	magic        = "KEYRING2"
	format       = 0
	saltLen      = 8
	prefixLen    = len(magic) + 1 + saltLen
	lengthLen    = 4
	paddingUnit  = 1024
	version      = "0.1"
	versionKey   = "Version"
	typeSURB     = 0
	itemHeadLen  = 3
	expiresLen   = 4
	maxItemValue = math.MaxUint16
)

// Parse reads a keyring. The error wraps ErrPassword, ErrFormat or one of package armor.
func Parse(text, password []byte) (*Keyring, error) {
	blocks, err := armor.Decode(text, armor.TypeKeyring)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(blocks) != 1 {
		return nil, fmt.Errorf("%w: it has %d blocks", ErrFormat, len(blocks))
	}
	if v, ok := blocks[0].Header(versionKey); ok && v != version {
		return nil, fmt.Errorf("%w: its version is not %s", ErrFormat, version)
	}
	data, err := unseal(blocks[0].Body, password)
	if err != nil {
		return nil, err
	}
	items, err := parseItems(data)
	if err != nil {
		return nil, err
	}
	return &Keyring{items}, nil
}

func unseal(body, password []byte) ([]byte, error) {
	if len(body) < prefixLen || string(body[:len(magic)]) != magic || body[len(magic)] != format {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrFormat)
	}
	salt, sealed := body[len(magic)+1:prefixLen], body[prefixLen:]
	if len(sealed) < lengthLen+crypt.HashLen {
		return nil, fmt.Errorf("%w: it is too short", ErrFormat)
	}
	plain := make([]byte, len(sealed))
	crypt.XORStream(fileKey(salt, password), 0, plain, sealed)
	content, sum := plain[:len(plain)-crypt.HashLen], plain[len(plain)-crypt.HashLen:]
	if want := crypt.Hash(content, salt, []byte(magic)); subtle.ConstantTimeCompare(want[:], sum) != 1 {
		clear(plain)
		return nil, ErrPassword
	}
	n := binary.BigEndian.Uint32(content)
	if int64(n) > int64(len(content)-lengthLen) {
		return nil, fmt.Errorf("%w: its length field is wrong", ErrFormat)
	}
	return content[lengthLen : lengthLen+int(n)], nil
}

func fileKey(salt, password []byte) crypt.Key {
	d := crypt.Hash(salt, password, salt)
	return crypt.Key(d[:crypt.KeyLen])
}

// Marshal writes the keyring, encrypted under password with a new salt, as it is to stand in its file. It fails only if rnd does or a
// keyring is of impossible size.
func (r *Keyring) Marshal(rnd io.Reader, password []byte) ([]byte, error) {
	data, err := r.appendItems(nil)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	padded := (len(data) + paddingUnit - 1) / paddingUnit * paddingUnit
	random := make([]byte, saltLen+padded-len(data))
	if _, err := io.ReadFull(rnd, random); err != nil {
		return nil, fmt.Errorf("write keyring: %w", err)
	}
	salt, padding := random[:saltLen], random[saltLen:]

	var out bytes.Buffer
	out.WriteString(magic)
	out.WriteByte(format)
	out.Write(salt)
	content := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	content = append(append(content, data...), padding...)
	sum := crypt.Hash(content, salt, []byte(magic))
	content = append(content, sum[:]...)
	crypt.XORStream(fileKey(salt, password), 0, content, content)
	out.Write(content)
	return armor.Encode(armor.Block{
		Type:    armor.TypeKeyring,
		Headers: []armor.Header{{Key: versionKey, Value: version}},
		Body:    out.Bytes(),
	}), nil
}

func parseItems(data []byte) ([]item, error) {
	var items []item
	for len(data) > 0 {
		if len(data) < itemHeadLen {
			return nil, fmt.Errorf("%w: its last entry is cut off", ErrFormat)
		}
		it := item{typ: data[0]}
		n := int(binary.BigEndian.Uint16(data[1:]))
		data = data[itemHeadLen:]
		if n > len(data) {
			return nil, fmt.Errorf("%w: its last entry is cut off", ErrFormat)
		}
		it.value, data = data[:n:n], data[n:]
		if it.typ == typeSURB {
			k, err := parseKey(it.value)
			if err != nil {
				return nil, err
			}
			it.key, it.value = k, nil
		}
		items = append(items, it)
	}
	return items, nil
}

func parseKey(value []byte) (*Key, error) {
	if len(value) < expiresLen {
		return nil, fmt.Errorf("%w: a reply block secret is cut off", ErrFormat)
	}
	expires := time.Unix(int64(binary.BigEndian.Uint32(value)), 0).UTC()
	name, secret, ok := bytes.Cut(value[expiresLen:], []byte{0})
	if !ok || len(secret) == 0 {
		return nil, fmt.Errorf("%w: a reply block secret is cut off", ErrFormat)
	}
	return &Key{Identity: normal(string(name)), Expires: expires, Secret: secret}, nil
}

func (r *Keyring) appendItems(out []byte) ([]byte, error) {
	for _, it := range r.items {
		typ, value := it.typ, it.value
		if k := it.key; k != nil {
			if at := k.Expires.Unix(); at < 0 || at > math.MaxUint32 {
				return nil, errors.New("write keyring: a date of expiry is out of range")
			}
			typ = typeSURB
			value = binary.BigEndian.AppendUint32(nil, uint32(k.Expires.Unix()))
			value = append(append(append(value, k.Identity...), 0), k.Secret...)
		}
		if len(value) > maxItemValue || len(out) > math.MaxInt32 {
			return nil, errors.New("write keyring: an entry is too long")
		}
		out = append(out, typ)
		out = binary.BigEndian.AppendUint16(out, uint16(len(value)))
		out = append(out, value...)
	}
	return out, nil
}
