// Package reassemble is the exit of the routing type FRAGMENT: it puts messages together from their fragments and hands them to the
// exit that their sender asked for (E2E-spec 2.3.3, E2E-spec 3.4).
//
// It keeps nothing of its own. Fragments wait, durably, in the mix's queue and are offered anew at every attempt; where a message is going
// can be read only once enough of them are there, because it is whitened.
package reassemble

import (
	"bytes"
	"context"
	"iter"
	"time"

	"mixminion/delivery"
	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/packet"
)

// Config says what an Exit puts together.
type Config struct {
	// Exits are the exits that whole messages go to.
	Exits map[packet.RoutingType]delivery.Exit
	// MaximumFragments is how many packets a message may have; it stands in the descriptor.
	MaximumFragments int
	// MaximumMemory bounds the messages that are put together at one time, in bytes; a single one may exceed it. 0 means 64 MiB.
	MaximumMemory int
}

const defaultMemory = 64 << 20

// maxFinished bounds how many finished messages are remembered, so that their late fragments need not wait for nothing.
const maxFinished = 10000

// Exit implements delivery.Exit. Unlike other exits it goes through the items more than once, tells the outcome of an item when it has
// seen all of them, and means by Retry that fragments are still missing or that the whole message could not be delivered yet.
type Exit struct {
	cfg      Config
	finished map[message.ID]bool
	// served is kept for messages of which some addresses are done with and others are to be tried again.
	served map[message.ID]uint8
}

// New returns an Exit. It must not be used by two batches at a time.
func New(cfg Config) *Exit {
	if cfg.MaximumMemory <= 0 {
		cfg.MaximumMemory = defaultMemory
	}
	return &Exit{cfg: cfg, finished: map[message.ID]bool{}, served: map[message.ID]uint8{}}
}

// Inherit goes on with what before knows of messages: x takes its place, and before gets no further batch. A batch that before has begun may
// still be under way; that of x begins after it. It is called before the first batch of x.
func (x *Exit) Inherit(before *Exit) { x.finished, x.served = before.finished, before.served }

// assembling is one message on its way to completeness. It holds no data of fragments until it is complete.
type assembling struct {
	*message.Assembly
	ids    []uint64          // all fragments seen
	kept   map[uint64]uint32 // those needed, and their index
	data   map[uint32][]byte // in the second pass
	queued time.Time         // of the youngest: it dates the mail
	broken bool
}

// Deliver implements delivery.Exit. It goes through items twice: first to see which messages are complete, then to fetch those. So what
// waits takes no memory but an account of each fragment.
func (x *Exit) Deliver(ctx context.Context, items iter.Seq[delivery.Item], done func(uint64, delivery.Outcome)) error {
	groups := x.sort(ctx, items, done)
	if err := ctx.Err(); err != nil {
		return err
	}
	var ready []*assembling
	for _, g := range groups {
		switch {
		case g.broken:
			// Somebody mixes fragments of two messages under one name; nothing of it can be trusted (E2E-spec 2.3.3).
			x.end(g, done, dropped(delivery.Corrupt))
		case g.Ready():
			ready = append(ready, g)
		default:
			tell(g, done, delivery.Outcome{})
		}
	}
	for len(ready) > 0 {
		n, memory := 0, 0
		for n < len(ready) && (n == 0 || memory+int(ready[n].Size()) <= x.cfg.MaximumMemory) {
			memory += int(ready[n].Size())
			n++
		}
		if err := x.completeAll(ctx, ready[:n], items, done); err != nil {
			for _, g := range ready[n:] {
				tell(g, done, delivery.Outcome{})
			}
			return err
		}
		ready = ready[n:]
	}
	return nil
}

func dropped(why delivery.Reason) delivery.Outcome {
	return delivery.Outcome{Status: delivery.Dropped, Reason: why}
}

// tell tells the outcome of all fragments of a message.
func tell(g *assembling, done func(uint64, delivery.Outcome), out delivery.Outcome) {
	for _, id := range g.ids {
		done(id, out)
	}
}

// end tells the outcome of a message that is done with.
func (x *Exit) end(g *assembling, done func(uint64, delivery.Outcome), out delivery.Outcome) {
	tell(g, done, out)
	if len(x.finished) >= maxFinished {
		clear(x.finished)
	}
	x.finished[g.ID()] = true
	delete(x.served, g.ID())
}

// sort is the first pass: it gives every fragment to the account of its message and tells the outcome of what has none.
func (x *Exit) sort(ctx context.Context, items iter.Seq[delivery.Item], done func(uint64, delivery.Outcome)) map[message.ID]*assembling {
	groups := map[message.ID]*assembling{}
	for it := range items {
		d, err := message.DecodePayload(it.Payload)
		if err != nil || d.Kind != message.KindFragment || len(it.Info) != 0 {
			done(it.ID, dropped(delivery.Malformed))
			continue
		}
		f := d.Fragment
		if x.finished[f.ID] {
			done(it.ID, dropped(delivery.None))
			continue
		}
		g := groups[f.ID]
		if g == nil {
			geometry, err := f.Geometry()
			if err != nil || geometry.Packets() > x.cfg.MaximumFragments {
				done(it.ID, dropped(delivery.TooLarge))
				continue
			}
			a, err := message.NewAssembly(f, message.Opener{})
			if err != nil {
				done(it.ID, dropped(delivery.Malformed))
				continue
			}
			g = &assembling{Assembly: a, kept: map[uint64]uint32{}}
			groups[f.ID] = g
		}
		g.ids = append(g.ids, it.ID)
		if it.Queued.After(g.queued) {
			g.queued = it.Queued
		}
		keep, err := g.Add(f, message.Opener{})
		if err != nil {
			g.broken = true
		} else if keep {
			g.kept[it.ID] = f.Index
		}
		if ctx.Err() != nil {
			break
		}
	}
	return groups
}

// completeAll is the second pass, for some messages: it fetches their fragments and hands them on.
func (x *Exit) completeAll(ctx context.Context, ready []*assembling, items iter.Seq[delivery.Item], done func(uint64, delivery.Outcome)) error {
	owner := map[uint64]*assembling{}
	for _, g := range ready {
		g.data = map[uint32][]byte{}
		for id := range g.kept {
			owner[id] = g
		}
	}
	for it := range items {
		g := owner[it.ID]
		if g == nil {
			continue
		}
		if d, err := message.DecodePayload(it.Payload); err == nil && d.Kind == message.KindFragment {
			g.data[g.kept[it.ID]] = bytes.Clone(d.Fragment.Data)
		}
	}
	for i, g := range ready {
		out := delivery.Outcome{}
		var err error
		if len(g.data) == len(g.kept) {
			out, err = x.complete(ctx, g)
		}
		g.data = nil
		if out.Status == delivery.Retry {
			tell(g, done, out)
		} else {
			x.end(g, done, out)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			for _, g := range ready[i+1:] {
				tell(g, done, delivery.Outcome{})
			}
			return err
		}
	}
	return nil
}

// complete puts a message together and hands it on.
func (x *Exit) complete(ctx context.Context, g *assembling) (delivery.Outcome, error) {
	corrupt := dropped(delivery.Corrupt)
	whole, err := g.Reassemble(func(i uint32) ([]byte, error) { return g.data[i], nil })
	if err != nil {
		return corrupt, nil
	}
	to, compressed, err := message.ParseServerSide(whole)
	if err != nil {
		return corrupt, nil
	}
	next := x.cfg.Exits[to.Type]
	if next == nil {
		return dropped(delivery.Malformed), nil
	}
	id := g.ID()
	item := delivery.Item{Type: to.Type, Info: to.Info, Served: x.served[id], Reassembled: compressed, Queued: g.queued}
	// All attempts must give the mail the same name, and fragments of later attempts may be others; the message's ID stays.
	name := crypt.Hash([]byte("mail of a reassembled message"), id[:])
	copy(item.Nonce[:], name[:])
	out := delivery.Outcome{}
	err = next.Deliver(ctx, func(yield func(delivery.Item) bool) { yield(item) }, func(_ uint64, o delivery.Outcome) { out = o })
	if out.Served != 0 {
		if len(x.served) >= maxFinished {
			clear(x.served) // no attempt is lost; somebody may get a mail twice
		}
		x.served[id] = out.Served
	}
	return out, err
}
