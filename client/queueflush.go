package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"mixminion/internal/store/durable"
	"mixminion/internal/uniform"
	"mixminion/packet"
)

// FlushResult is what became of the packets that were to be sent.
type FlushResult struct {
	Sent   int     // the network has them, and they are out of the queue
	Kept   int     // could not be sent; they stay in the queue
	Causes []error // why not: one for each server
	// Legacy are servers to which links of TLS 1.0 were tried, as paths name them.
	Legacy  []packet.Hop
	Damaged []error // files that no packet can be read from, or that could not be deleted after their packet was sent
}

// Flush sends queued packets, in random order, and removes each when its server has acknowledged it: only those that only (if not nil)
// says yes to, and at most max of them, chosen at random, if max is more than 0. A packet that was sent when the process dies before
// removing it is sent again by the next Flush, and swallowed by the server's replay log.
//
// That a server takes no packets is no error of Flush: the result tells. The caller holds the lock.
func (c *Client) Flush(ctx context.Context, only func(QueuedPacket) bool, max int, w Watcher) (*FlushResult, error) {
	if err := c.checkLocked(); err != nil {
		return nil, fmt.Errorf("flush queue: %w", err)
	}
	c.tidyQueue()
	files, err := c.queueFiles()
	if err != nil {
		return nil, err
	}
	result := new(FlushResult)
	var chosen []queueFile
	for _, f := range files {
		switch {
		case f.err != nil:
			result.Damaged = append(result.Damaged, f.problem())
		case only == nil || only(f.QueuedPacket):
			chosen = append(chosen, f)
		}
	}
	if err := uniform.ShuffleSlice(rand.Reader, chosen); err != nil {
		return nil, fmt.Errorf("flush queue: %w", err)
	}
	if max > 0 && len(chosen) > max {
		chosen = chosen[:max]
	}
	var mu sync.Mutex
	list := make([]outgoing, len(chosen))
	for i, f := range chosen {
		list[i] = outgoing{
			first: entry{f.First, f.legacy},
			load: func() (*packet.Packet, error) {
				p, _, err := readQueueFile(f.path)
				if err != nil {
					f.err = err
					return nil, f.problem()
				}
				return p.Packet, nil
			},
			taken: func() {
				if err := removeQueueFile(f.path); err != nil {
					mu.Lock()
					defer mu.Unlock()
					result.Damaged = append(result.Damaged, fmt.Errorf("%s was sent but stays in the queue and will be sent again: %w", f.ID, explain(err)))
				}
			},
		}
	}
	done := c.handOver(ctx, list, w)
	result.Kept, result.Causes, result.Legacy = len(done.unsent), done.causes, done.legacy
	result.Sent = len(list) - len(done.unsent)
	if result.Sent > 0 {
		_ = durable.SyncDir(c.path(queueDir)) // else a power loss may bring packets back, which does no harm
		c.stampQueue()
	}
	return result, nil
}

// Named returns what picks the packets whose IDs are given.
func Named(ids []string) func(QueuedPacket) bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return func(p QueuedPacket) bool { return set[p.ID] }
}
