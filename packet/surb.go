package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"mixminion/internal/armor"
	"mixminion/internal/crypt"
)

// ErrSURB says that bytes are not a reply block.
var ErrSURB = errors.New("malformed reply block")

// A SURB is a single-use reply block: a header whose path only its maker knows, and what is needed to send one packet along it
// (minion-spec 3.3). It is good for one packet; a second one would let the mixes link the two.
type SURB struct {
	Expires time.Time // UTC, a midnight
	Header  [HeaderLen]byte
	Key     crypt.Key   // end-to-end key
	Type    RoutingType // how the swap point reaches the first hop
	Info    []byte      // routing information of the first hop
}

const (
	// SURBMagic is how the binary form of a reply block begins.
	SURBMagic    = "SURB"
	surbFixedLen = 4 + 2 + 4 + HeaderLen + 2 + 2 + crypt.KeyLen
	// surbVersion is what the first implementation writes and reads; minion-spec 3.3 says 01 00.
	surbVersion = 0x0001
	// maxSURBInfo is the longest routing information that can stand in a header at all.
	maxSURBInfo = HeaderLen - hopOverhead
	// ArmorVersion is the Version header of an armored reply block.
	ArmorVersion = "0.2"
)

// BuildSURB makes a reply block whose packets go over path and leave as type t at address info (E2E-spec 2.2.5). The keys are derived from
// a random seed, which becomes the decoding handle, and the identity's secret, so that its owner keeps no state for a SURB. The handle
// is returned too, for owners who want to know which SURB an answer came through. expires is cut to the midnight before; every
// hop of path must keep its packet key until then.
func BuildSURB(rnd io.Reader, path []Node, t RoutingType, info, secret []byte, expires time.Time) (*SURB, Tag, error) {
	if err := CheckSURB(hops(path), t, info); err != nil {
		return nil, Tag{}, fmt.Errorf("build reply block: %w", err)
	}
	if err := checkKeys(path); err != nil {
		return nil, Tag{}, fmt.Errorf("build reply block: %w", err)
	}
	if sec := expires.Unix(); sec < 0 || sec > math.MaxUint32 {
		return nil, Tag{}, errors.New("build reply block: expiry date cannot be written")
	}
	seed, err := crypt.NewSURBSeed(rnd, secret)
	if err != nil {
		return nil, Tag{}, fmt.Errorf("build reply block: %w", err)
	}
	keys := crypt.SURBKeys(seed, secret, len(path)+1)
	defer clear(keys)
	secrets := make([]crypt.Key, len(path))
	defer clear(secrets)
	for i := range secrets {
		secrets[i] = keys[len(path)-1-i]
	}
	tag := Tag(seed)
	header, err := buildHeader(rnd, plan(path, secrets, t, Exit{Type: t, Info: info, Tag: &tag}.routingInfo()))
	if err != nil {
		return nil, Tag{}, err
	}
	return &SURB{
		Expires: expires.UTC().Truncate(24 * time.Hour),
		Header:  *header,
		Key:     keys[len(path)],
		Type:    TypeSwapFwdHost,
		Info:    path[0].AppendRoutingInfo(nil),
	}, tag, nil
}

// FirstHop returns the server that a packet reaches first on the hidden path.
func (s *SURB) FirstHop() (Hop, error) { return ParseHop(s.Type, s.Info) }

// ID identifies the reply block in a log of used ones: SHA-1 of its binary form.
func (s *SURB) ID() crypt.Digest { return crypt.Hash(s.AppendBinary(nil)) }

// AppendBinary appends the binary form of minion-spec 3.3.
func (s *SURB) AppendBinary(b []byte) []byte {
	b = append(b, SURBMagic...)
	b = binary.BigEndian.AppendUint16(b, surbVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Expires.Unix()))
	b = append(b, s.Header[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Info)))
	b = binary.BigEndian.AppendUint16(b, uint16(s.Type))
	b = append(b, s.Key[:]...)
	return append(b, s.Info...)
}

// ParseSURBs reads one or more reply blocks in binary form, back to back. It returns an error wrapping ErrSURB or ErrRoutingInfo.
func ParseSURBs(b []byte) ([]*SURB, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrSURB)
	}
	var surbs []*SURB
	for len(b) > 0 {
		s, rest, err := parseSURB(b)
		if err != nil {
			return nil, fmt.Errorf("reply block %d: %w", len(surbs)+1, err)
		}
		surbs, b = append(surbs, s), rest
	}
	return surbs, nil
}

func parseSURB(b []byte) (s *SURB, rest []byte, err error) {
	if len(b) < surbFixedLen {
		return nil, nil, fmt.Errorf("%w: %d bytes are too few", ErrSURB, len(b))
	}
	if string(b[:4]) != SURBMagic {
		return nil, nil, fmt.Errorf("%w: it does not begin with %q", ErrSURB, SURBMagic)
	}
	if v := binary.BigEndian.Uint16(b[4:]); v != surbVersion {
		return nil, nil, fmt.Errorf("%w: version %d.%d", ErrSURB, v>>8, v&0xff)
	}
	s = &SURB{Expires: time.Unix(int64(binary.BigEndian.Uint32(b[6:])), 0).UTC()}
	b = b[10:]
	b = b[copy(s.Header[:], b):]
	infoLen := int(binary.BigEndian.Uint16(b))
	s.Type = RoutingType(binary.BigEndian.Uint16(b[2:]))
	b = b[4:]
	b = b[copy(s.Key[:], b):]
	if infoLen > maxSURBInfo || infoLen > len(b) {
		return nil, nil, fmt.Errorf("%w: routing information of %d bytes", ErrSURB, infoLen)
	}
	s.Info, rest = append([]byte(nil), b[:infoLen]...), b[infoLen:]
	// Anything but a swap here would let whoever made the block decide what our own last hop does with the packet.
	if s.Type != TypeSwapFwdHost && s.Type != TypeSwapFwdIPv4 {
		return nil, nil, fmt.Errorf("%w: routing type %v", ErrSURB, s.Type)
	}
	if _, err := s.FirstHop(); err != nil {
		return nil, nil, err
	}
	return s, rest, nil
}

// ArmorSURBs returns the reply blocks in armored form, one block each.
func ArmorSURBs(surbs []*SURB) []byte {
	var out []byte
	for _, s := range surbs {
		out = append(out, armor.Encode(armor.Block{
			Type:    armor.TypeReplyBlock,
			Headers: []armor.Header{{Key: "Version", Value: ArmorVersion}},
			Body:    s.AppendBinary(nil),
		})...)
	}
	return out
}

// ParseArmoredSURBs reads the armored reply blocks in text, which may contain other text around them. Versions other than ours are
// accepted as long as the binary form inside is ours.
func ParseArmoredSURBs(text []byte) ([]*SURB, error) {
	blocks, err := armor.Decode(text, armor.TypeReplyBlock)
	if err != nil {
		return nil, fmt.Errorf("armored reply blocks: %w", err)
	}
	var surbs []*SURB
	for _, b := range blocks {
		s, err := ParseSURBs(b.Body)
		if err != nil {
			return nil, err
		}
		surbs = append(surbs, s...)
	}
	return surbs, nil
}
