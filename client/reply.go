package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"mixminion/internal/uniform"
	"mixminion/message"
	"mixminion/mmtp"
	"mixminion/packet"
	"mixminion/path"
)

// ErrTooFewSURBs says that a message needs more reply blocks than there are.
var ErrTooFewSURBs = errors.New("not enough reply blocks: a long message needs one for each packet")

// A Reply is an answer that is to go through reply blocks. Where it goes, only who made the blocks knows.
type Reply struct {
	// Headers are hidden like the body: no mail carries them, whoever opens the answer sees them above it.
	Headers message.Headers
	Body    []byte
	Path    path.Spec // from here to the first server of the block; the zero value chooses at random
}

// PrepareReply turns an answer into packets that go through reply blocks, one each, taken from the front of surbs. It returns how many it
// used. Before it returns they are marked as used, durably, and whoever gives one of them again gets ErrSURBUsed; that holds whether or not
// the packets are ever sent. When it fails none is used. See UsableSURBs for how to choose them.
func (c *Client) PrepareReply(ctx context.Context, r Reply, surbs []*packet.SURB, w Watcher) (*Prepared, int, error) {
	if err := r.Headers.Validate(); err != nil {
		return nil, 0, fmt.Errorf("message headers: %w", err)
	}
	prefix, err := r.Headers.Encode()
	if err != nil {
		return nil, 0, fmt.Errorf("message headers: %w", err)
	}
	enc, err := message.Encode(rand.Reader, append(prefix, r.Body...), 0)
	if err != nil {
		return nil, 0, err
	}
	now := c.clock.Now()
	n := len(enc.Payloads)
	if n > len(surbs) {
		return nil, 0, fmt.Errorf("%w: %d needed, %d given", ErrTooFewSURBs, n, len(surbs))
	}
	for _, s := range surbs[:n] {
		if !s.Expires.After(now) {
			return nil, 0, fmt.Errorf("a reply block expired on %s", s.Expires.Format(time.DateOnly))
		}
	}
	paths, warnings, err := c.selectPaths(r.Path, path.Request{
		Kind: path.Reply, From: now, Until: now.Add(MaxRetry), SURBs: surbs[:n], LegacyLinks: mmtp.LegacyAvailable,
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
		return newPrepared(paths[i], p), err
	})
	if err != nil {
		return nil, 0, err
	}
	if err := c.MarkUsed(ctx, surbs[:n]...); err != nil {
		return nil, 0, err
	}
	return out, n, nil
}
