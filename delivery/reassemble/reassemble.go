// Package reassemble is the exit of the routing type FRAGMENT: it puts messages together from their fragments and hands them to the
// exit that their sender asked for (E2E-spec 2.3.3, E2E-spec 3.4).
//
// It keeps nothing of its own. Fragments wait, durably, in the mix's queue and are offered anew at every attempt; where a message is going
// can be read only once enough of them are there, because it is whitened.
package reassemble

import (
	"context"
	"iter"

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
	// MaximumMemory bounds the fragments that are looked at in one attempt, in bytes. What is over waits. 0 means 256 MiB.
	MaximumMemory int
}

const defaultMemory = 256 << 20

// maxFinished bounds how many finished messages are remembered, so that their late fragments need not wait for nothing.
const maxFinished = 10000

// Exit implements delivery.Exit. Unlike other exits it tells the outcome of an item when its message is complete or at the end, not before
// it pulls the next one, and Retry means that fragments are still missing.
type Exit struct {
	cfg      Config
	finished map[message.ID]bool
}

// New returns an Exit. It must not be used by two batches at a time.
func New(cfg Config) *Exit {
	if cfg.MaximumMemory <= 0 {
		cfg.MaximumMemory = defaultMemory
	}
	return &Exit{cfg: cfg, finished: map[message.ID]bool{}}
}

// assembling is one message on its way to completeness.
type assembling struct {
	*message.Assembly
	data  map[uint32][]byte
	ids   []uint64
	last  delivery.Item // the youngest: it dates the mail
	ended bool
}

// Deliver implements delivery.Exit.
func (x *Exit) Deliver(ctx context.Context, items iter.Seq[delivery.Item], done func(uint64, delivery.Outcome)) error {
	dropped := func(why delivery.Reason) delivery.Outcome {
		return delivery.Outcome{Status: delivery.Dropped, Reason: why}
	}
	groups := map[message.ID]*assembling{}
	memory := 0
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
			g = &assembling{Assembly: a, data: map[uint32][]byte{}}
			groups[f.ID] = g
		}
		if g.ended {
			done(it.ID, dropped(delivery.None))
			continue
		}
		if memory+len(f.Data) > x.cfg.MaximumMemory {
			done(it.ID, delivery.Outcome{})
			continue
		}
		g.ids = append(g.ids, it.ID)
		if it.Queued.After(g.last.Queued) {
			g.last = delivery.Item{Queued: it.Queued}
		}
		keep, err := g.Add(f, message.Opener{})
		if err != nil {
			// Somebody mixes fragments of two messages under one name; nothing of it can be trusted (E2E-spec 2.3.3).
			x.end(g, done, dropped(delivery.Corrupt))
			continue
		}
		if keep {
			g.data[f.Index] = append([]byte(nil), f.Data...)
			memory += len(f.Data)
		}
		if g.Ready() {
			for _, b := range g.data {
				memory -= len(b)
			}
			out, err := x.complete(ctx, g)
			if out.Status != delivery.Retry {
				x.end(g, done, out)
			}
			clear(g.data)
			if err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for _, g := range groups {
		if !g.ended {
			for _, id := range g.ids {
				done(id, delivery.Outcome{})
			}
		}
	}
	return nil
}

// end tells the outcome of all fragments of a message.
func (x *Exit) end(g *assembling, done func(uint64, delivery.Outcome), out delivery.Outcome) {
	g.ended = true
	for _, id := range g.ids {
		done(id, out)
	}
	if len(x.finished) >= maxFinished {
		clear(x.finished)
	}
	x.finished[g.ID()] = true
}

// complete puts a message together and hands it on.
func (x *Exit) complete(ctx context.Context, g *assembling) (delivery.Outcome, error) {
	corrupt := delivery.Outcome{Status: delivery.Dropped, Reason: delivery.Corrupt}
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
		return delivery.Outcome{Status: delivery.Dropped, Reason: delivery.Malformed}, nil
	}
	item := delivery.Item{Type: to.Type, Info: to.Info, Reassembled: compressed, Queued: g.last.Queued}
	// All attempts must give the mail the same name, and fragments of later attempts may be others; the message's ID stays.
	id := g.ID()
	name := crypt.Hash([]byte("mail of a reassembled message"), id[:])
	copy(item.Nonce[:], name[:])
	out := delivery.Outcome{}
	err = next.Deliver(ctx, func(yield func(delivery.Item) bool) { yield(item) }, func(_ uint64, o delivery.Outcome) { out = o })
	return out, err
}
