package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"mixminion/internal/armor"
	"mixminion/message/keyring"
	"mixminion/packet"
	"mixminion/path"
)

const (
	// SURBLifetime is how long reply blocks are good unless the user says otherwise.
	SURBLifetime = 7 * 24 * time.Hour
	// MinSURBLeft is how long a reply block must be good still for an answer to have a chance to arrive.
	MinSURBLeft = 3 * time.Hour
	// expiredBelow is how much of its life a reply block may have left and count as expired nevertheless.
	expiredBelow = time.Minute
)

// Errors of reply blocks.
var (
	// ErrSURBLifetime says that reply blocks would be over before an answer can arrive.
	ErrSURBLifetime = errors.New("the reply blocks would expire too soon to be of use")
	// ErrNoSURBs says that bytes hold no reply block.
	ErrNoSURBs = errors.New("no reply block found")
)

// NewSURBs are reply blocks that were just made.
type NewSURBs struct {
	SURBs []*packet.SURB // all with the same expiry
	// Handles are their decoding handles, in the same order. A handle comes back with the answer, so whoever keeps it can tell which
	// block was used. It is as secret as the block.
	Handles  []packet.Tag
	Warnings []path.Warning
}

// GenerateSURBs makes n reply blocks that lead to an address and that the identity's secret opens (E2E-spec 2.2.5). All of them are good
// for lifetime, to the midnight (UTC) before its end; the error wraps ErrSURBLifetime if that is less than MinSURBLeft away.
//
// Save the keyring that holds the secret before you give a block away, or its answers can never be read.
func (c *Client) GenerateSURBs(ctx context.Context, n int, to Address, secret []byte, spec path.Spec, lifetime time.Duration) (*NewSURBs, error) {
	now := c.clock.Now()
	expires := now.Add(lifetime).UTC().Truncate(day)
	if expires.Before(now.Add(MinSURBLeft)) {
		return nil, fmt.Errorf("%w: at %s", ErrSURBLifetime, expires.Format("2006-01-02 15:04 MST"))
	}
	paths, warnings, err := c.selectPaths(spec, path.Request{
		Kind: path.SURB, From: now, Until: now.Add(lifetime), Exit: to.Type, InfoLen: len(to.Info), LastHop: to.LastHop, Count: n,
	})
	if err != nil {
		return nil, err
	}
	made := &NewSURBs{SURBs: make([]*packet.SURB, n), Handles: make([]packet.Tag, n), Warnings: warnings}
	for i := range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hops, _ := paths[i].Nodes()
		if made.SURBs[i], made.Handles[i], err = packet.BuildSURB(rand.Reader, hops, to.Type, to.Info, secret, expires); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// SURBKey returns the key of an identity for reply blocks with a lifetime. If the keyring has none that lives long enough it adds one,
// which is how keys rotate (E2E-spec A.2), and reports true: then the keyring must be saved.
func (c *Client) SURBKey(ring *keyring.Keyring, identity string, lifetime time.Duration) (keyring.Key, bool, error) {
	if err := keyring.CheckIdentity(identity); err != nil {
		return keyring.Key{}, false, err
	}
	now := c.clock.Now()
	until := now.Add(lifetime)
	if key, ok := ring.ForReplyBlock(identity, now, until); ok {
		return key, false, nil
	}
	key, err := ring.Generate(rand.Reader, identity, now, until)
	if err != nil {
		return keyring.Key{}, false, err
	}
	ring.DropExpired(now)
	return key, true, nil
}

// ReadSURBs reads reply blocks in either form: binary, back to back, or armored, with any other text around them. The error wraps
// ErrNoSURBs if there are none.
func ReadSURBs(data []byte) ([]*packet.SURB, error) {
	if bytes.HasPrefix(data, []byte(packet.SURBMagic)) {
		return packet.ParseSURBs(data)
	}
	surbs, err := packet.ParseArmoredSURBs(data)
	if errors.Is(err, armor.ErrNoBlock) {
		return nil, ErrNoSURBs
	}
	return surbs, err
}

// SkippedSURBs counts the reply blocks that cannot be used, by reason.
type SkippedSURBs struct {
	Used     int // in the log of used ones
	Expired  int // or less than a minute before it
	Short    int // less than MinSURBLeft before their expiry
	Repeated int // the same as another one in the list
}

// UsableSURBs returns the reply blocks that an answer can be sent through, in the order given, and counts the others. It changes
// nothing: PrepareReply is what uses them.
func (c *Client) UsableSURBs(surbs []*packet.SURB) ([]*packet.SURB, SkippedSURBs, error) {
	log, err := c.UsedSURBs()
	if err != nil {
		return nil, SkippedSURBs{}, err
	}
	var usable []*packet.SURB
	var skipped SkippedSURBs
	now := c.clock.Now()
	seen := map[any]bool{}
	for _, s := range surbs {
		id := s.ID()
		switch left := s.Expires.Sub(now); {
		case seen[id]:
			skipped.Repeated++
		case log.Used(id):
			skipped.Used++
		case left < expiredBelow:
			skipped.Expired++
		case left < MinSURBLeft:
			skipped.Short++
		default:
			usable = append(usable, s)
		}
		seen[id] = true
	}
	return usable, skipped, nil
}
