package packet

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	"mixminion/internal/crypt"
)

// Errors of building. They say what does not fit, never an address.
var (
	ErrEmptyLeg = errors.New("a leg of the path has no hop")
	ErrTooLong  = errors.New("path too long")
	ErrHost     = errors.New("server host name cannot stand in a packet")
)

// instruction is what one subheader of a header says: the hop's key, its secret, and what it shall do.
type instruction struct {
	key    *rsa.PublicKey
	secret crypt.Key
	do     RoutingType
	info   []byte
}

func (in *instruction) size() int { return hopOverhead + len(in.info) }

// fits checks the room in a header (minion-spec 3.2.4.1): all subheaders together, and enough material behind the last one to
// fill its RSA block.
func fits(infoLens []int) error {
	if len(infoLens) == 0 {
		return ErrEmptyLeg
	}
	sum := 0
	for _, n := range infoLens {
		sum += hopOverhead + n
	}
	last := hopOverhead + infoLens[len(infoLens)-1]
	if sum > HeaderLen || HeaderLen-sum+last < crypt.PKEncLen {
		return ErrTooLong
	}
	return nil
}

// hopInfoLens gives the routing information lengths of a leg whose last hop gets lastInfo bytes.
func hopInfoLens(leg []Hop, lastInfo int) ([]int, error) {
	lens := make([]int, 0, len(leg))
	for i, h := range leg {
		if !ValidHost(h.Host) {
			return nil, fmt.Errorf("%w: hop %d", ErrHost, i+1)
		}
		if i > 0 {
			lens = append(lens, hostInfoLen+len(h.Host))
		}
	}
	if len(leg) > 0 {
		lens = append(lens, lastInfo)
	}
	return lens, nil
}

func checkLeg(name string, leg []Hop, lastInfo int) error {
	lens, err := hopInfoLens(leg, lastInfo)
	if err == nil {
		err = fits(lens)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// CheckForward says, without any cryptography, whether a forward packet over the two legs fits. It returns an error wrapping ErrEmptyLeg,
// ErrTooLong or ErrHost.
func CheckForward(leg1, leg2 []Hop, exit Exit) error {
	if err := checkLeg("second leg and address", leg2, len(exit.routingInfo())); err != nil {
		return err
	}
	if len(leg1) == 0 {
		return fmt.Errorf("first leg: %w", ErrEmptyLeg)
	}
	return checkLeg("first leg", leg1, hostInfoLen+len(leg2[0].Host))
}

// CheckReply says whether a reply over leg1 to surb fits.
func CheckReply(leg1 []Hop, surb *SURB) error {
	return checkLeg("path", leg1, len(surb.Info))
}

// MaxSURBHops is how many hops a reply block can have: decoders try no more keys than this many hops need.
const MaxSURBHops = 16

// CheckSURB says whether a reply block over path to an exit of type t at address info fits.
func CheckSURB(path []Hop, t RoutingType, info []byte) error {
	if len(path) > MaxSURBHops {
		return fmt.Errorf("path: %w: a reply block has at most %d hops", ErrTooLong, MaxSURBHops)
	}
	return checkLeg("path and address", path, TagLen+len(info))
}

func hops(leg []Node) []Hop {
	out := make([]Hop, len(leg))
	for i, n := range leg {
		out[i] = n.Hop
	}
	return out
}

// plan turns a leg into instructions: each hop is told the next one's address, the last one what lastDo and lastInfo say.
func plan(leg []Node, secrets []crypt.Key, lastDo RoutingType, lastInfo []byte) []instruction {
	plan := make([]instruction, len(leg))
	for i, n := range leg {
		plan[i] = instruction{key: n.PacketKey, secret: secrets[i], do: lastDo, info: lastInfo}
		if i+1 < len(leg) {
			plan[i].do, plan[i].info = TypeFwdHost, leg[i+1].AppendRoutingInfo(nil)
		}
	}
	return plan
}

// junkSeen returns for each hop the junk that the hops before it will have appended to the header, as that hop sees it
// (J_0 ... J_(n-1) of minion-spec 3.2.4.1).
func junkSeen(plan []instruction) [][]byte {
	seen := make([][]byte, len(plan))
	var junk []byte
	for i, in := range plan {
		seen[i] = junk
		offset := restLen - len(junk)
		next := append(append(make([]byte, 0, len(junk)+in.size()), junk...),
			crypt.Stream(crypt.SubKey(in.secret[:], crypt.LabelRandomJunk), in.size())...)
		crypt.XORStream(crypt.SubKey(in.secret[:], crypt.LabelHeaderSecret), uint64(offset), next, next)
		junk = next
	}
	return seen
}

// buildHeader makes one header (minion-spec 3.2.4.1). The caller has checked that the plan fits.
func buildHeader(rnd io.Reader, plan []instruction) (*[HeaderLen]byte, error) {
	padding := HeaderLen
	for i := range plan {
		padding -= plan[i].size()
	}
	inner := make([]byte, padding, HeaderLen)
	if _, err := io.ReadFull(rnd, inner); err != nil {
		return nil, fmt.Errorf("draw header padding: %w", err)
	}
	seen := junkSeen(plan)
	for i := len(plan) - 1; i >= 0; i-- {
		in := &plan[i]
		sh := subheader{major: versionMajor, minor: versionMinor, secret: in.secret,
			routingSize: uint16(len(in.info)), routingType: in.do}
		plain := append(sh.appendTo(make([]byte, 0, HeaderLen)), in.info...)
		plain = append(plain, inner...)

		rest := plain[crypt.PKMaxDataLen:]
		crypt.XORStream(crypt.SubKey(in.secret[:], crypt.LabelHeaderSecret), 0, rest, rest)
		sh.digest = crypt.Hash(rest, seen[i])
		sh.appendTo(plain[:0])

		block, err := crypt.EncryptPK(in.key, plain[:crypt.PKMaxDataLen])
		if err != nil {
			return nil, fmt.Errorf("hop %d: %w", i+1, err)
		}
		inner = append(block, rest...)
	}
	return (*[HeaderLen]byte)(inner), nil
}

// checkKeys refuses nodes that no packet can be built for, before any work.
func checkKeys(leg []Node) error {
	for i, n := range leg {
		if n.PacketKey == nil || n.PacketKey.Size() != crypt.PKEncLen {
			return fmt.Errorf("hop %d: %w: packet keys have 2048 bits", i+1, crypt.ErrKey)
		}
	}
	return nil
}

func drawSecrets(rnd io.Reader, n int) ([]crypt.Key, error) {
	secrets := make([]crypt.Key, n)
	for i := range secrets {
		if _, err := io.ReadFull(rnd, secrets[i][:]); err != nil {
			return nil, fmt.Errorf("draw secrets: %w", err)
		}
	}
	return secrets, nil
}
