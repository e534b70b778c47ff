package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"mixminion/client"
	"mixminion/internal/uniform"
	"mixminion/packet"
)

const (
	// lead is how long before an event its packets are made ready.
	lead = 10 * time.Second
	// tooLate is how long after its time an event is left out, since the machine must have slept.
	tooLate = 5 * time.Second
)

// A departure is a packet that is to leave at an event.
type departure struct {
	client.PreparedPacket
	id string // in the queue, "" for a dummy
}

// depart lets packets leave until ctx ends, and waits for the last attempts, which end early only with work.
func (a *Agent) depart(ctx, work context.Context) error {
	var begun sync.WaitGroup
	defer begun.Wait()
	next, err := a.after(a.clock.Now())
	if err != nil {
		return err
	}
	for a.wait(ctx, next.Add(-lead)) {
		s := a.load(ctx, &begun)
		come := a.wait(ctx, next)
		// The next event is fixed before anything is known of what this one brings.
		event := next
		if next, err = a.after(event); err != nil || !come {
			a.release(s.take())
			return err
		}
		batch := s.take()
		if now := a.clock.Now(); now.Sub(event) > tooLate {
			a.release(batch)
			if next, err = a.after(now); err != nil {
				return err
			}
			continue
		}
		if err := mix(batch); err != nil {
			return err
		}
		for _, d := range batch {
			begun.Go(func() { a.attempt(work, d) })
		}
	}
	return nil
}

// after draws the event that follows one at t.
func (a *Agent) after(t time.Time) (time.Time, error) {
	d, err := gap(a.rnd, a.cfg.Mean)
	return t.Add(d), err
}

// A slot holds what is ready for an event.
type slot struct {
	cancel  context.CancelFunc
	dummies chan []departure
	queued  chan []departure
}

// load makes ready what the next event needs: all dummies, and what there is in the queue. It does the same work whether or not anything
// waits. Whoever called it calls take.
func (a *Agent) load(ctx context.Context, begun *sync.WaitGroup) *slot {
	ctx, cancel := context.WithCancel(ctx)
	s := &slot{cancel: cancel, dummies: make(chan []departure, 1), queued: make(chan []departure)}
	begun.Go(func() {
		dummies, err := a.dummies()
		a.setProblem(err)
		s.dummies <- dummies
		queued := a.pick(ctx, dummies)
		select {
		case s.queued <- queued:
		case <-ctx.Done():
			a.release(queued)
		}
	})
	return s
}

// take returns what leaves: as many packets as there are dummies, those of the queue first. It waits for dummies, but not for the queue.
func (s *slot) take() []departure {
	batch := <-s.dummies
	select {
	case queued := <-s.queued:
		for i, d := range queued {
			if d.id != "" {
				batch[i] = d
			}
		}
	default:
	}
	s.cancel()
	return batch
}

// dummies makes those of one event, all or none.
func (a *Agent) dummies() ([]departure, error) {
	list := make([]departure, a.cfg.PerEvent)
	for i := range list {
		p, err := a.client.Dummy(a.cfg.Path)
		if err != nil {
			return nil, err
		}
		list[i].PreparedPacket = p
	}
	return list, nil
}

// pick reads and claims packets of the queue that leave in place of some of the dummies, at the same places of the
// list. When they cannot be had before ctx ends it returns none.
func (a *Agent) pick(ctx context.Context, dummies []departure) []departure {
	if len(dummies) == 0 {
		return nil
	}
	unlock, err := a.client.Lock(ctx, nil)
	if err != nil {
		return nil
	}
	firsts := make([]packet.Hop, len(dummies))
	for i, d := range dummies {
		firsts[i] = d.First
	}
	a.mu.Lock()
	picked, err := a.client.Pick(firsts, func(id string) bool { return a.claimed[id] })
	list := make([]departure, len(picked))
	for i, p := range picked {
		if p.ID != "" {
			a.claimed[p.ID] = true
			list[i] = departure{PreparedPacket: p.PreparedPacket, id: p.ID}
		}
	}
	a.mu.Unlock()
	if err := errors.Join(err, unlock()); err != nil {
		a.events.tell(client.AgentEvent{Kind: client.EventProblem, Problem: err.Error()})
	}
	return list
}

// release gives packets back to the queue.
func (a *Agent) release(list []departure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range list {
		delete(a.claimed, d.id)
	}
}

// attempt tries once to hand a packet to its first server. Nothing that a watcher of the line can see follows it.
func (a *Agent) attempt(ctx context.Context, d departure) {
	err := a.deliver(ctx, d.PreparedPacket)
	if d.id == "" {
		return
	}
	defer a.release([]departure{d})
	if err == nil {
		err = a.remove(ctx, d.id)
	}
	event := client.AgentEvent{Kind: client.EventSent}
	if err != nil {
		event = client.AgentEvent{Kind: client.EventKept, Problem: err.Error()}
	}
	if n, err := a.client.QueueLen(); err == nil {
		event.Queued = n
	}
	a.events.tell(event)
}

// remove takes a packet that was sent out of the queue. If it does not come to that, the packet is sent again at some time, and dropped
// by the server as a replay.
func (a *Agent) remove(ctx context.Context, id string) (err error) {
	unlock, err := a.client.Lock(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return a.client.RemoveSent(id)
}

func (a *Agent) setProblem(err error) {
	a.mu.Lock()
	same := (err == nil) == (a.problem == nil) && (err == nil || err.Error() == a.problem.Error())
	a.problem = err
	a.mu.Unlock()
	if err != nil && !same {
		a.events.tell(client.AgentEvent{Kind: client.EventProblem, Problem: err.Error()})
	}
}

// mix puts a batch into random order, so that nothing in the order of attempts that begin together tells which are of the queue.
func mix(batch []departure) error { return uniform.ShuffleSlice(rand.Reader, batch) }
