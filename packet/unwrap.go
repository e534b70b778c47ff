package packet

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"

	"mixminion/internal/crypt"
)

// Errors of unwrapping. A packet that causes one is discarded; the sender is not told which it was.
var (
	ErrNotForUs    = errors.New("packet opens with none of our keys")
	ErrVersion     = errors.New("packet of an unknown version")
	ErrDigest      = errors.New("packet header was changed on its way")
	ErrRoutingType = errors.New("unknown routing type")
)

// Action is what becomes of an unwrapped packet.
type Action int

// The three fates of a packet.
const (
	Drop    Action = iota + 1 // a dummy: forget it
	Relay                     // send the packet to Result.Next
	Deliver                   // hand the payload to the exit for Result.Type
)

// Result says what to do with a packet that was unwrapped.
type Result struct {
	Action Action
	Key    int          // index of the key that opened the packet
	Replay crypt.Digest // what the replay log of that key remembers (minion-spec 3.2.5.1)

	Next Hop // for Relay

	// For Deliver. Info is the routing information as it stands in the subheader, with the tag in front where the type has one.
	Type           RoutingType
	Info           []byte
	ApplicationKey crypt.Key
}

// maxKeys is how many packet keys a mix has in use: the current one, for the overlap after a rotation the one before, and one more if its
// operator has begun a new one ahead of time.
const maxKeys = 3

// maxRoutingInfo is the longest routing information that lies inside the header a hop receives.
const maxRoutingInfo = maxInline + restLen

// An Unwrapper opens packets with a mix's packet keys. It is safe for concurrent use.
type Unwrapper struct {
	keys []crypt.Decrypter
	ops  operations
}

// NewUnwrapper returns an Unwrapper for one to three keys; they are tried in the order given.
func NewUnwrapper(keys ...crypt.Decrypter) (*Unwrapper, error) {
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("%d packet keys given, 1 to %d can be in use", len(keys), maxKeys)
	}
	return &Unwrapper{keys: keys, ops: realOperations{}}, nil
}

// operations are the symmetric operations of unwrapping. The tests count them.
type operations interface {
	subDigest(master []byte, label crypt.Label) crypt.Digest
	hash(b []byte) crypt.Digest
	xorStream(key crypt.Key, b []byte)
	sprpDecrypt(key crypt.SPRPKey, b []byte)
}

type realOperations struct{}

func (realOperations) subDigest(master []byte, label crypt.Label) crypt.Digest {
	return crypt.SubDigest(master, label)
}
func (realOperations) hash(b []byte) crypt.Digest              { return crypt.Hash(b) }
func (realOperations) xorStream(key crypt.Key, b []byte)       { crypt.XORStream(key, 0, b, b) }
func (realOperations) sprpDecrypt(key crypt.SPRPKey, b []byte) { crypt.SPRPDecrypt(key, b) }

// workspace is the memory that unwrapping needs beside the packet.
type workspace struct {
	// header is what the RSA block held behind the subheader, the rest of header 1, and the junk that this hop appends: the junk is always
	// made for the longest routing information, so that its length takes no time to show.
	header [maxInline + restLen + HeaderLen]byte
	// swapped holds header 2 and payload for the steps that only a swap needs and every packet undergoes.
	swapped [HeaderLen + PayloadLen]byte
}

func (ws *workspace) wipe() {
	clear(ws.header[:])
	clear(ws.swapped[:])
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// Unwrap takes off one layer, in place (minion-spec 3.2.5). After Relay p is the packet to send on; after Deliver its payload (the last
// PayloadLen bytes) is what the exit gets; after an error or Drop its contents mean nothing.
//
// An error wraps ErrNotForUs, ErrVersion, ErrDigest, ErrRoutingType or ErrRoutingInfo. At most one RSA operation is done per key. After
// those every packet undergoes the same operations over the same lengths, with a dummy secret where something failed: how long
// the work takes tells nothing of what the packet was. Checking for replays is the caller's duty.
func (u *Unwrapper) Unwrap(p *Packet) (Result, error) {
	key, plain := u.open(p[:crypt.PKEncLen])
	var fail error
	if plain == nil {
		fail, plain = ErrNotForUs, make([]byte, crypt.PKMaxDataLen)
	}
	sh := parseSubheader(plain)
	defer func() {
		clear(plain)
		clear(sh.secret[:])
	}()
	digest := u.ops.hash(p[crypt.PKEncLen:HeaderLen])
	intact := subtle.ConstantTimeCompare(digest[:], sh.digest[:]) == 1
	switch {
	case fail != nil:
	case sh.major != versionMajor || sh.minor != versionMinor:
		fail = ErrVersion
	case !intact:
		fail = ErrDigest
	case sh.routingSize > maxRoutingInfo:
		fail = fmt.Errorf("%w: longer than the header", ErrRoutingInfo)
	}
	if fail != nil {
		sh = subheader{}
	}

	res := Result{Key: key, Type: sh.routingType}
	res.Replay = u.ops.subDigest(sh.secret[:], crypt.LabelReplayPrevention)
	res.ApplicationKey = u.subKey(sh.secret, crypt.LabelApplicationKey)
	ws := workspaces.Get().(*workspace)
	defer workspaces.Put(ws)
	defer ws.wipe()

	info := u.advance(ws, p, plain, &sh)
	header2, payload := p[HeaderLen:2*HeaderLen], payloadOf(p)
	u.ops.sprpDecrypt(u.subSPRPKey(sh.secret[:], crypt.LabelHeaderEncrypt), header2)
	u.ops.sprpDecrypt(u.subSPRPKey(sh.secret[:], crypt.LabelPayloadEncrypt), payload)
	u.unhide(ws, p)

	if fail != nil {
		return Result{}, fail
	}
	switch t := sh.routingType; {
	case t == TypeDrop:
		res.Action = Drop
	case t.IsExit():
		res.Action = Deliver
		res.Info = append([]byte(nil), info...)
	case t == TypeFwdHost, t == TypeFwdIPv4, t == TypeSwapFwdHost, t == TypeSwapFwdIPv4:
		next, err := ParseHop(t, info)
		if err != nil {
			return Result{}, err
		}
		res.Action, res.Next = Relay, next
		header1 := ws.header[len(info):][:HeaderLen]
		if t == TypeSwapFwdHost || t == TypeSwapFwdIPv4 {
			copy(p[:], ws.swapped[:HeaderLen])
			copy(p[HeaderLen:], header1)
			copy(payload, ws.swapped[HeaderLen:])
		} else {
			copy(p[:], header1)
		}
	default:
		return Result{}, fmt.Errorf("%w: %v", ErrRoutingType, t)
	}
	return res, nil
}

// open tries the keys in turn. It returns the index of the one that fits and the plaintext, or nil.
func (u *Unwrapper) open(block []byte) (int, []byte) {
	for i, key := range u.keys {
		if plain, err := key.DecryptPK(block); err == nil && len(plain) == crypt.PKMaxDataLen {
			return i, plain
		}
	}
	return 0, nil
}

// advance decrypts the rest of header 1 and appends this hop's junk, in ws.header. It returns the routing information; the
// header for the next hop follows it.
func (u *Unwrapper) advance(ws *workspace, p *Packet, plain []byte, sh *subheader) []byte {
	copy(ws.header[:], plain[minSubheaderLen:])
	rest := ws.header[maxInline:]
	n := copy(rest, p[crypt.PKEncLen:HeaderLen])
	junk := rest[n:]
	clear(junk)
	u.ops.xorStream(u.subKey(sh.secret, crypt.LabelRandomJunk), junk)
	u.ops.xorStream(u.subKey(sh.secret, crypt.LabelHeaderSecret), rest)
	return ws.header[:sh.routingSize]
}

// unhide does the decryptions of a swap on a copy of header 2 and payload, in ws.swapped.
func (u *Unwrapper) unhide(ws *workspace, p *Packet) {
	copy(ws.swapped[:], p[HeaderLen:])
	header2, payload := ws.swapped[:HeaderLen], ws.swapped[HeaderLen:]
	sum := u.ops.hash(header2)
	u.ops.sprpDecrypt(u.subSPRPKey(sum[:], crypt.LabelHidePayload), payload)
	sum = u.ops.hash(payload)
	u.ops.sprpDecrypt(u.subSPRPKey(sum[:], crypt.LabelHideHeader), header2)
}

func (u *Unwrapper) subKey(secret crypt.Key, label crypt.Label) crypt.Key {
	d := u.ops.subDigest(secret[:], label)
	return crypt.Key(d[:])
}

func (u *Unwrapper) subSPRPKey(master []byte, label crypt.Label) crypt.SPRPKey {
	return crypt.SPRPKey(u.ops.subDigest(master, label))
}

// SplitTag separates the decoding handle from the address in the routing information of an exit. It returns an error wrapping
// ErrRoutingInfo if the type has a tag and the information is too short for one.
func SplitTag(t RoutingType, info []byte) (tag *Tag, address []byte, err error) {
	if !t.HasTag() {
		return nil, info, nil
	}
	if len(info) < TagLen {
		return nil, nil, fmt.Errorf("%w: decoding handle missing", ErrRoutingInfo)
	}
	return (*Tag)(info), info[TagLen:], nil
}
