package client

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"mixminion/internal/store/durable"
	"mixminion/internal/uniform"
	"mixminion/packet"
	"mixminion/path"
)

// Home is the directory that the client works on.
func (c *Client) Home() string { return c.home }

// A PickedPacket is a packet of the queue that was read.
type PickedPacket struct {
	ID string // its name in the queue, "" for none
	PreparedPacket
}

// triedSuffix ends the names of packets that were picked before.
const triedSuffix = "-tried"

// Pick reads packets of the queue that may leave in place of dummies, given by the first hop of each, and returns as many, with no ID where
// the dummy itself is to leave. Packets that skip (if not nil) says yes to are passed over, and so is what is damaged.
//
// First come packets that were never picked, chosen at random: their first hops were drawn by the law for dummies.
// Packets that were picked before wait for a dummy with the same first hop. So the first hops that are seen follow the
// law for dummies whatever waits, and however many attempts fail: packets for a server that does not answer would
// otherwise pile up in the queue and draw all attempts to it.
//
// They stay in the queue, under new names: see RemoveSent. The caller holds the lock, but need not hold it any longer while it sends them;
// whoever flushes meanwhile may send them too, and a server's replay log swallows one of the two.
func (c *Client) Pick(dummies []packet.Hop, skip func(id string) bool) ([]PickedPacket, error) {
	if err := c.checkLocked(); err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	c.tidyQueue()
	names, err := c.queueNames()
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(id string) bool { return skip != nil && skip(id) })
	if err := uniform.ShuffleSlice(rand.Reader, names); err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	defer c.stampQueue()
	picked := make([]PickedPacket, len(dummies))
	next := 0 // dummies before it have been replaced by new packets
	for _, id := range names {
		if strings.HasSuffix(id, triedSuffix) {
			continue
		}
		if next == len(dummies) {
			return picked, nil
		}
		p, _, err := readQueueFile(c.path(queueDir, id))
		if err != nil {
			continue // inspect-queue tells of it
		}
		// What cannot be marked would be tried again and again.
		if err := os.Rename(c.path(queueDir, id), c.path(queueDir, id+triedSuffix)); err != nil {
			return picked, fmt.Errorf("mark packet as tried: %w", explain(err))
		}
		picked[next] = PickedPacket{ID: id + triedSuffix, PreparedPacket: p}
		next++
	}
	for _, id := range names {
		if next == len(dummies) || !slices.ContainsFunc(picked[next:], func(p PickedPacket) bool { return p.ID == "" }) {
			break
		}
		if !strings.HasSuffix(id, triedSuffix) {
			continue
		}
		p, _, err := readQueueFile(c.path(queueDir, id))
		if err != nil {
			continue
		}
		for i := next; i < len(dummies); i++ {
			if picked[i].ID == "" && dummies[i] == p.First {
				picked[i] = PickedPacket{ID: id, PreparedPacket: p}
				break
			}
		}
	}
	return picked, nil
}

// queueNames lists the files that should hold a packet each, of a queue that is tidy.
func (c *Client) queueNames() ([]string, error) {
	entries, err := os.ReadDir(c.path(queueDir))
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), packetPrefix) && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// QueueLen counts the packets that wait, without a look into them. It needs no lock.
func (c *Client) QueueLen() (int, error) {
	entries, err := os.ReadDir(c.path(queueDir))
	if err != nil {
		return 0, fmt.Errorf("read queue: %w", err)
	}
	n := 0
	for _, e := range entries {
		switch {
		case !e.IsDir() && strings.HasPrefix(e.Name(), packetPrefix):
			n++
		case e.IsDir() && strings.HasPrefix(e.Name(), batchPrefix):
			batch, err := os.ReadDir(c.path(queueDir, e.Name()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, fmt.Errorf("read queue: %w", err)
			}
			n += len(batch)
		}
	}
	return n, nil
}

// RemoveSent takes a packet that a server has acknowledged out of the queue. That it is not there any more is no error. The caller holds
// the lock.
func (c *Client) RemoveSent(id string) error {
	if err := c.checkLocked(); err != nil {
		return fmt.Errorf("remove a packet from the queue: %w", err)
	}
	if !strings.HasPrefix(id, packetPrefix) || strings.ContainsAny(id, `/\`) {
		return errors.New("remove a packet from the queue: there is no packet of such a name")
	}
	if err := os.Remove(c.path(queueDir, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s was sent but stays in the queue and will be sent again: %w", id, explain(err))
	}
	_ = durable.SyncDir(c.path(queueDir)) // else a power loss may bring it back, which does no harm
	c.stampQueue()
	return nil
}

// usualInfoLen is how long a mail address is that a dummy's path is chosen for.
const usualInfoLen = 24

// Dummy makes a packet that goes nowhere: it ends in DROP (minion-spec 3.2.1.1). Its path is chosen by the law for a short mail, so that
// nothing on the way to the first server, nor the choice of that server, tells it from a packet with a mail in it. Only if no server
// that is known delivers mail, the last one is any. No dummy begins with a legacy link, whatever spec says.
func (c *Client) Dummy(spec path.Spec) (PreparedPacket, error) {
	m := Message{To: Address{Type: packet.TypeDrop}, Path: spec}
	e, err := m.encode()
	if err != nil {
		return PreparedPacket{}, err
	}
	e.req.Kind, e.req.Count = path.Forward, 1
	e.req.From = c.clock.Now()
	e.req.Until = e.req.From.Add(MaxRetry)
	mail := e.req
	mail.Exit, mail.InfoLen, mail.Recipients, mail.Size = packet.TypeSMTP, usualInfoLen, 1, 1
	paths, _, err := c.selectPaths(spec, mail)
	if err != nil {
		paths, _, err = c.selectPaths(spec, e.req)
	}
	if err != nil {
		return PreparedPacket{}, err
	}
	leg1, leg2 := paths[0].Nodes()
	p, err := packet.BuildForward(rand.Reader, leg1, leg2, e.exit, &e.payloads[0])
	if err != nil {
		return PreparedPacket{}, fmt.Errorf("wrap dummy: %w", err)
	}
	return newPrepared(paths[0], p), nil
}
