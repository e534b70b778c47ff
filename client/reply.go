package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"mixminion/internal/uniform"
	"mixminion/message"
	"mixminion/packet"
	"mixminion/path"
)

// SURBLifetime is how long reply blocks are good unless the user says otherwise.
const SURBLifetime = 7 * 24 * time.Hour

// ErrTooFewSURBs says that a message needs more reply blocks than there are.
var ErrTooFewSURBs = errors.New("not enough reply blocks: a long message needs one for each packet")

// GenerateSURBs makes n reply blocks that lead to an address and that the identity's secret opens. All of them are good for lifetime, to
// the midnight (UTC) before its end.
func (c *Client) GenerateSURBs(n int, to Address, secret []byte, spec path.Spec, lifetime time.Duration) ([]*packet.SURB, []path.Warning, error) {
	now := c.clock.Now()
	paths, warnings, err := c.selectPaths(spec, path.Request{
		Kind: path.SURB, From: now, Until: now.Add(lifetime), Exit: to.Type, InfoLen: len(to.Info), LastHop: to.LastHop, Count: n,
	})
	if err != nil {
		return nil, nil, err
	}
	surbs := make([]*packet.SURB, n)
	for i := range surbs {
		hops, _ := paths[i].Nodes()
		if surbs[i], err = packet.BuildSURB(rand.Reader, hops, to.Type, to.Info, secret, now.Add(lifetime)); err != nil {
			return nil, nil, err
		}
	}
	return surbs, warnings, nil
}

// PrepareReply turns a message into packets that go through reply blocks, one each, taken from the front of surbs. It returns how many it
// used; the caller must never use those again.
func (c *Client) PrepareReply(ctx context.Context, body []byte, surbs []*packet.SURB, spec path.Spec, w Watcher) (*Prepared, int, error) {
	prefix, err := message.Headers{}.Encode()
	if err != nil {
		return nil, 0, err
	}
	enc, err := message.Encode(rand.Reader, append(prefix, body...), 0)
	if err != nil {
		return nil, 0, err
	}
	now := c.clock.Now()
	for _, s := range surbs {
		if !s.Expires.After(now) {
			return nil, 0, fmt.Errorf("a reply block expired on %s", s.Expires.Format(time.DateOnly))
		}
	}
	n := len(enc.Payloads)
	if n > len(surbs) {
		return nil, 0, fmt.Errorf("%w: %d needed, %d given", ErrTooFewSURBs, n, len(surbs))
	}
	paths, warnings, err := c.selectPaths(spec, path.Request{
		Kind: path.Reply, From: now, Until: now.Add(MaxRetry), SURBs: surbs[:n],
	})
	if err != nil {
		return nil, 0, err
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if err := uniform.ShuffleSlice(rand.Reader, order); err != nil {
		return nil, 0, err
	}
	out := &Prepared{Warnings: warnings, Overcompressed: enc.Overcompressed()}
	out.Packets, err = wrap(ctx, n, w, func(i int) (PreparedPacket, error) {
		leg, _ := paths[i].Nodes()
		p, err := packet.BuildReply(rand.Reader, leg, surbs[i], &enc.Payloads[order[i]])
		return PreparedPacket{First: leg[0].Hop, Route: paths[i].String(), Packet: p}, err
	})
	return out, n, err
}
