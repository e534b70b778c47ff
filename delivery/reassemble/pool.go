// Package reassemble keeps account of the fragments that a mix holds, and puts messages together once enough of theirs are there
// (E2E-spec 2.3.3, E2E-spec 3.4). Where such a message goes can be read only then, because it is whitened.
//
// It holds no fragment. The caller stores them, tells the account of each one that comes or that it finds after a start, and erases what
// the account gives up. The work for a fragment does not depend on how many are held.
//
// How the space is divided, and why a flood of fragments of messages that never become whole pushes out only its own:
// docs/spec/reassembly.md.
package reassemble

import (
	"maps"
	"slices"
	"sync"
	"time"

	"mixminion/delivery"
	"mixminion/message"
	"mixminion/packet"
)

// Limits bound what a Pool holds.
type Limits struct {
	// Size is how many bytes a message may have, compressed; it decides how many fragments it may have (message.NewGeometry).
	Size int64
	// Bytes is how many bytes the payloads of the fragments of messages that are not whole may have. Each class of
	// messages has a quarter of it for its own, which should be enough for two of the largest messages.
	Bytes int64
	// Messages is how many messages that are not whole there may be.
	Messages int
}

// A Pool is an account of fragments. Its methods may be called at the same time.
type Pool struct {
	mu       sync.Mutex
	limits   Limits
	largest  int // how many packets a message may have
	messages map[message.ID]*Message
	ready    map[message.ID]*Message // whole, and not yet Placed
	placed   map[packet.RoutingType]map[message.ID]*Message
	classes  [classes]class
	total    load // of messages that are not whole
	finished finished
}

// New returns an empty Pool.
func New(l Limits) *Pool {
	p := &Pool{
		messages: map[message.ID]*Message{}, ready: map[message.ID]*Message{}, placed: map[packet.RoutingType]map[message.ID]*Message{},
		finished: finished{ids: map[message.ID]time.Time{}},
	}
	for i := range p.classes {
		p.classes[i].order.Init()
	}
	p.SetLimits(l)
	return p
}

// SetLimits changes the limits. What exceeds them is given up by the next Shrink.
func (p *Pool) SetLimits(l Limits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits, p.largest = l, 0
	if g, err := message.NewGeometry(l.Size, 0); err == nil {
		p.largest = g.Packets()
	}
}

// A Fragment is a packet of the type FRAGMENT at the end of its path.
type Fragment struct {
	// Ref is the caller's name for it.
	Ref uint64
	// Since is when its message is to be counted from; the earliest of a message holds.
	Since time.Time
	// Info is the routing information of the packet: a proper one has none.
	Info []byte
	// Payload is not kept.
	Payload *packet.Payload
}

// A Verdict says what the caller does with a fragment.
type Verdict struct {
	// Keep means: store it. Else it is to be erased, with the reason Why; None means that it is not needed.
	Keep bool
	Why  delivery.Reason
	// Erase are fragments that were kept before and are to be erased, too.
	Erase []uint64
}

// Add enters a fragment. One that has been entered before under the same Ref stays.
func (p *Pool) Add(f Fragment) Verdict {
	d, err := message.DecodePayload(f.Payload)
	if err != nil || d.Kind != message.KindFragment || len(f.Info) != 0 {
		return Verdict{Why: delivery.Malformed}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.messages[d.Fragment.ID]
	if m == nil {
		if p.finished.has(d.Fragment.ID) {
			return Verdict{}
		}
		if m, err = p.begin(d.Fragment); err != nil {
			return Verdict{Why: delivery.TooLarge}
		}
	}
	return p.enter(m, d.Fragment, f)
}

// begin makes the account of a new message. It is in no class before its first fragment is entered.
func (p *Pool) begin(f *message.Fragment) (*Message, error) {
	g, err := f.Geometry()
	if err != nil || g.Packets() > p.largest {
		return nil, message.ErrLength
	}
	a, err := message.NewAssembly(f, message.Opener{})
	if err != nil {
		return nil, err
	}
	m := &Message{assembly: a, refs: map[uint32]uint64{}}
	p.messages[a.ID()] = m
	return m, nil
}

func (p *Pool) enter(m *Message, f *message.Fragment, from Fragment) Verdict {
	if ref, ok := m.refs[f.Index]; ok && ref == from.Ref {
		return Verdict{Keep: true}
	}
	if m.state != gathering {
		return Verdict{}
	}
	keep, err := m.assembly.Add(f, message.Opener{})
	if err != nil {
		// Somebody mixes fragments of two messages under one name; nothing of it can be trusted (E2E-spec 2.3.3).
		erase := p.drop(m)
		p.finished.add(m.ID())
		return Verdict{Why: delivery.Corrupt, Erase: erase}
	}
	if !keep {
		return Verdict{}
	}
	p.leave(m)
	m.refs[f.Index] = from.Ref
	if m.since.IsZero() || from.Since.Before(m.since) {
		m.since = from.Since
	}
	if m.assembly.Ready() {
		m.state = ready
		p.ready[m.ID()] = m
	} else {
		p.join(m)
	}
	return Verdict{Keep: true}
}

// drop forgets a message and returns its fragments.
func (p *Pool) drop(m *Message) []uint64 {
	p.leave(m)
	delete(p.messages, m.ID())
	delete(p.ready, m.ID())
	delete(p.placed[m.exit], m.ID())
	return m.Refs()
}

// Expire gives up the messages that are not whole and are counted from a moment before a limit, and returns their fragments.
func (p *Pool) Expire(limit time.Time) (erase []uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.messages {
		if m.state == gathering && m.since.Before(limit) {
			erase = append(erase, p.drop(m)...)
		}
	}
	return erase
}

// Ready returns the messages that are whole and were not Placed.
func (p *Pool) Ready() []*Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.ready))
}

// Place notes that a message that is Ready waits for an exit.
func (p *Pool) Place(m *Message, exit packet.RoutingType) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.state != ready {
		return
	}
	m.state, m.exit = placed, exit
	delete(p.ready, m.ID())
	if p.placed[exit] == nil {
		p.placed[exit] = map[message.ID]*Message{}
	}
	p.placed[exit][m.ID()] = m
}

// Placed returns the messages that wait for an exit.
func (p *Pool) Placed(exit packet.RoutingType) []*Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.placed[exit]))
}

// Finish forgets a message that is done with, and remembers its ID: late fragments of it are not needed. The caller erases what it has
// of it.
func (p *Pool) Finish(m *Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.messages[m.ID()] == m {
		p.drop(m)
		p.finished.add(m.ID())
	}
}

// Held is what the fragments of messages that are not whole amount to.
func (p *Pool) Held() (messages int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total.messages, p.total.bytes
}
