package mix

import (
	"container/heap"
	"crypto/rand"
	"time"

	"mixminion/internal/store"
	"mixminion/internal/uniform"
)

// A schedule says which queue is to be emptied next. To make it of all queues is dear, since anybody can have packets
// wait for any number of next hops; so that is done when packets have come, and the end of an attempt at a next hop
// changes the place of its queue only.
type schedule struct {
	state map[string]*queueState
	stale bool // to be made anew

	exits   stateHeap // to be tried now; these need no link
	known   stateHeap // next hops to be tried now, by turn
	guesses stateHeap // such hops that links calls guesses
	later   stateHeap // by due
}

// queueState is what the dispatcher knows of a queue beside its contents. It is not stored: after a restart every next hop is tried at
// once.
type queueState struct {
	name    string
	running bool
	visit   bool      // nothing waits; JUNK is to go there
	due     time.Time // zero: now
	tried   time.Time // the last attempt
	chance  int       // decides between those whose last attempt was at the same time
	first   time.Time // of the failures since the last success, for next hops
	left    int       // packets that the last attempt at an exit left waiting
	flush   bool      // try what is not due, too
}

// stateHeap is a heap.Interface.
type stateHeap struct {
	list []*queueState
	less func(a, b *queueState) bool
}

func (h *stateHeap) Len() int           { return len(h.list) }
func (h *stateHeap) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h *stateHeap) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *stateHeap) Push(x any)         { h.list = append(h.list, x.(*queueState)) }
func (h *stateHeap) Pop() any {
	last := len(h.list) - 1
	x := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	return x
}

// byTurn puts those first that have waited longest, so that nobody's turn is put off for ever.
func byTurn(a, b *queueState) bool {
	if c := a.tried.Compare(b.tried); c != 0 {
		return c < 0
	}
	return a.chance < b.chance
}

func newSchedule() schedule {
	s := schedule{state: map[string]*queueState{}}
	s.exits.less, s.known.less, s.guesses.less = byTurn, byTurn, byTurn
	s.later.less = func(a, b *queueState) bool { return a.due.Before(b.due) }
	return s
}

// make makes the schedule of all queues that hold packets or are to be visited.
func (s *schedule) make(queues []store.QueueStat, l *links, flush bool, now time.Time) error {
	// Ties by chance, so that nobody can plan for them.
	if err := uniform.ShuffleSlice(rand.Reader, queues); err != nil {
		return err
	}
	states := make(map[string]*queueState, len(queues))
	for name, q := range s.state {
		if q.running {
			states[name] = q
		}
	}
	for _, h := range []*stateHeap{&s.exits, &s.known, &s.guesses, &s.later} {
		clear(h.list)
		h.list = h.list[:0]
	}
	for i, stat := range queues {
		q := s.state[stat.Name]
		if q == nil {
			q = &queueState{name: stat.Name}
		}
		states[stat.Name] = q
		q.chance = i
		if q.running {
			continue // what waits is being tried now
		}
		if flush {
			q.due, q.flush = time.Time{}, true
		}
		s.place(q, stat.Count, l, now)
	}
	s.state, s.stale = states, false
	return nil
}

// place puts a queue, which holds count packets and is in no heap, where it belongs.
func (s *schedule) place(q *queueState, count int, l *links, now time.Time) {
	q.visit = count == 0
	// An exit's messages have schedules of their own, so new ones do not wait for the retry of old ones.
	fresh := toExit(q.name) && count > q.left
	switch {
	case q.due.After(now) && !fresh:
		heap.Push(&s.later, q)
	case q.name[0] != hopQueuePrefix:
		heap.Push(&s.exits, q)
	case l.guess(q.name):
		heap.Push(&s.guesses, q)
	default:
		heap.Push(&s.known, q)
	}
}

// again puts a next hop's queue, whose attempt is over, where it belongs; count tells what is left in it.
func (s *schedule) again(name string, count int, visit bool, l *links, now time.Time) {
	if s.stale {
		return
	}
	if count == 0 && !visit {
		delete(s.state, name)
		return
	}
	s.place(s.state[name], count, l, now)
}

// ripen makes those wait for their turn whose time has come.
func (s *schedule) ripen(l *links, now time.Time) {
	for s.later.Len() > 0 && !s.later.list[0].due.After(now) {
		q := heap.Pop(&s.later).(*queueState)
		count := 1
		if q.visit {
			count = 0
		}
		s.place(q, count, l, now)
	}
}

// next takes the queue whose turn it is, with its link, or returns nil if there is none or no link for it.
func (s *schedule) next(l *links) *queueState {
	if s.exits.Len() > 0 {
		return heap.Pop(&s.exits).(*queueState)
	}
	for {
		from := &s.known
		if s.guesses.Len() > 0 && l.mayGuess() && (from.Len() == 0 || byTurn(s.guesses.list[0], from.list[0])) {
			from = &s.guesses
		}
		if from.Len() == 0 || l.used >= l.most {
			return nil
		}
		q := heap.Pop(from).(*queueState)
		if l.take(q.name) {
			return q
		}
		heap.Push(&s.guesses, q) // links has forgotten the hop since
		if from == &s.guesses {
			return nil
		}
	}
}

// wait is how long until the next queue falls due; zero: none will.
func (s *schedule) wait(now time.Time) time.Duration {
	if s.later.Len() == 0 {
		return 0
	}
	return s.later.list[0].due.Sub(now)
}
