//go:build !race

// It runs in one goroutine, and would take minutes under the race detector.

package mix

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/internal/uniform"
)

// The simulation of docs/spec/cover.md: users send through a network of mixes whose pools, intervals and cover traffic are the real code,
// driven by simulated time and by random numbers that can be repeated.
const (
	simMixes    = 10
	simHops     = 4
	simMessages = 2.0 // of a user in a day

	simAgentMean = 30 * time.Minute // the default of client/agent
)

// simCase is one line of the table.
type simCase struct {
	users int
	cover bool
	keep  int           // MixPoolMinSize; 0 means the default
	agent time.Duration // mean time between two packets of a user's agent, dummies included; 0: no agents
	days  int           // simulated; what is sent in the middle third counts
}

// simPacket is a packet in a pool.
type simPacket struct {
	path []int         // mixes still to come
	sent time.Duration // when the user wrote the message
	real bool          // a message of a user
	from []float64     // what an observer knows of who sent it; shared, not to be changed. nil: made by a mix
	user int           // who sent it, while from is nil; -1: a mix
}

// simMix is a mix: its pool, and what an observer knows of a packet in it.
type simMix struct {
	pool    []simPacket
	arrived int       // how many of the pool came since the last batch: its last ones
	from    []float64 // of each packet that was there at the last batch: probability that it comes from each user
	bits    float64   // entropy of which arrival a packet was that was there at the last batch
	topUp   topUp
}

type simEventKind int

const (
	simSend  simEventKind = iota // a user writes a message
	simAgent                     // a user's agent sends something
	simBatch                     // a mix mixes
	simCover                     // a mix may make a dummy
)

type simEvent struct {
	at   time.Duration
	kind simEventKind
	who  int
}

type simQueue []simEvent

func (q simQueue) Len() int           { return len(q) }
func (q simQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q simQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)        { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

type sim struct {
	simCase
	t       *testing.T
	rnd     *rand.ChaCha8
	dice    *rand.Rand
	now     time.Duration
	events  simQueue
	mixes   [simMixes]simMix
	waiting [][]time.Duration // messages that each user's agent holds

	sent            int
	delays          []time.Duration
	mixBits         float64
	mixed           int
	senderBits      float64
	firstCounted    time.Duration
	lastCounted, to time.Duration
}

func (s *sim) must(err error) {
	if err != nil {
		s.t.Fatal(err)
	}
}

// later schedules an event after an exponentially distributed time.
func (s *sim) later(kind simEventKind, who int, mean time.Duration) {
	x, err := uniform.Exp(s.rnd)
	s.must(err)
	heap.Push(&s.events, simEvent{s.now + time.Duration(x*float64(mean)), kind, who})
}

func (s *sim) nextBatch(who int) {
	d, err := nextInterval(s.rnd, 5*time.Minute, 0.2)
	s.must(err)
	heap.Push(&s.events, simEvent{s.now + d, simBatch, who})
}

const (
	simMean  = time.Duration(float64(day) / simMessages)
	simRate  = 120.0
	simPause = time.Duration(float64(time.Hour) / simRate)
)

func (s *sim) run() {
	s.to = time.Duration(s.days) * day
	s.firstCounted, s.lastCounted = s.to/3, s.to/3*2
	s.waiting = make([][]time.Duration, s.users)
	for u := range s.users {
		s.later(simSend, u, simMean)
		if s.agent > 0 {
			s.later(simAgent, u, s.agent)
		}
	}
	for i := range s.mixes {
		s.mixes[i].from = make([]float64, s.users)
		s.mixes[i].topUp.target = simRate
		s.nextBatch(i)
		if s.cover {
			s.later(simCover, i, simPause)
		}
	}
	for {
		e := heap.Pop(&s.events).(simEvent)
		if s.now = e.at; s.now > s.to {
			return
		}
		switch e.kind {
		case simSend:
			s.later(simSend, e.who, simMean)
			if s.counts(s.now) {
				s.sent++
			}
			if s.agent > 0 {
				s.waiting[e.who] = append(s.waiting[e.who], s.now)
			} else {
				s.enter(simPacket{path: s.path(-1, simHops), sent: s.now, real: true, user: e.who})
			}
		case simAgent:
			s.later(simAgent, e.who, s.agent)
			p := simPacket{path: s.path(-1, simHops), user: e.who}
			if w := s.waiting[e.who]; len(w) > 0 {
				p.real, p.sent, s.waiting[e.who] = true, w[0], w[1:]
			}
			s.enter(p)
		case simBatch:
			s.nextBatch(e.who)
			s.batch(&s.mixes[e.who])
		case simCover:
			s.later(simCover, e.who, simPause)
			s.dummy(e.who)
		}
	}
}

func (s *sim) counts(sent time.Duration) bool { return sent >= s.firstCounted && sent < s.lastCounted }

// path draws different mixes, none of which is but.
func (s *sim) path(but, hops int) []int {
	all := s.dice.Perm(simMixes)
	all = slices.DeleteFunc(all, func(i int) bool { return i == but })
	return all[:hops:hops]
}

// dummy lets a mix put a packet into its own pool, or not, as covering does.
func (s *sim) dummy(who int) {
	m := &s.mixes[who]
	v, err := uniform.Float(s.rnd)
	s.must(err)
	if v >= m.topUp.share(coverStart.Add(s.now)) {
		return
	}
	hops, err := uniform.Int(s.rnd, maxCoverHops)
	s.must(err)
	m.put(simPacket{path: s.path(who, 1+hops), user: -1})
}

// put adds a packet to the pool.
func (m *simMix) put(p simPacket) {
	m.pool = append(m.pool, p)
	m.arrived++
}

// enter hands a packet to the next mix on its path, or delivers it.
func (s *sim) enter(p simPacket) {
	if len(p.path) > 0 {
		m := &s.mixes[p.path[0]]
		p.path = p.path[1:]
		if len(p.path) > 0 || p.real {
			m.topUp.arrived(1)
			m.put(p) // who reads DROP puts nothing into the pool
		}
		return
	}
	if !p.real || !s.counts(p.sent) {
		return
	}
	s.delays = append(s.delays, s.now-p.sent)
	s.senderBits += entropy(p.from)
}

// batch mixes.
func (s *sim) batch(m *simMix) {
	n := len(m.pool)
	picked, err := Rule{Algorithm: Binomial, MinSize: cmp.Or(s.keep, 16), Rate: 0.4}.Pick(s.rnd, n)
	s.must(err)
	if len(picked) == 0 {
		return
	}

	// To the observer each packet of the pool may be any of those that were there and of those that came.
	stayed := n - m.arrived
	from := make([]float64, s.users)
	for u, p := range m.from {
		from[u] = p * float64(stayed) / float64(n)
	}
	for _, p := range m.pool[stayed:] {
		switch {
		case p.from != nil:
			for u, q := range p.from {
				from[u] += q / float64(n)
			}
		case p.user >= 0:
			from[p.user] += 1 / float64(n)
		}
	}
	old := float64(stayed) / float64(n)
	m.bits = float64(m.arrived)/float64(n)*math.Log2(float64(n)) + old*m.bits
	if stayed > 0 {
		m.bits -= old * math.Log2(old)
	}
	m.from, m.arrived = from, 0

	var left []simPacket
	gone := make([]bool, n)
	for _, i := range picked {
		gone[i] = true
		left = append(left, m.pool[i])
	}
	kept := m.pool[:0]
	for i, p := range m.pool {
		if !gone[i] {
			kept = append(kept, p)
		}
	}
	m.pool = kept
	for _, p := range left {
		if p.real && s.counts(p.sent) {
			s.mixBits += m.bits
			s.mixed++
		}
		p.from = from
		s.enter(p)
	}
}

// entropy of a distribution that need not sum up to 1, in bits.
func entropy(weights []float64) (h float64) {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	for _, w := range weights {
		if w > 0 {
			h -= w / sum * math.Log2(w/sum)
		}
	}
	return h
}

// simTime writes a delay as people do.
func simTime(d time.Duration) string {
	switch {
	case d < 10*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	case d < 2*day:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

// row is a line of the table.
func (s *sim) row() string {
	slices.Sort(s.delays)
	quantile := func(q float64) string {
		if i := int(q * float64(s.sent)); i < len(s.delays) {
			return simTime(s.delays[i])
		}
		return "not in the time simulated"
	}
	what := "nothing"
	if s.cover {
		what = "cover traffic"
	}
	if s.keep > 0 {
		what += fmt.Sprintf(", MixPoolMinSize %d", s.keep)
	}
	if s.agent > 0 {
		what += ", agents"
	}
	size := func(bits float64, n int) string {
		if n == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f", math.Exp2(bits/float64(n)))
	}
	return fmt.Sprintf("| %d | %s | %s | %s | %s | %s |\n", s.users, what, quantile(0.5), quantile(0.95),
		size(s.mixBits, s.mixed), size(s.senderBits, len(s.delays)))
}

func simTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| users | beside messages | delay, median | delay, 95 % | one mix: packets | path: senders |\n|---|---|---|---|---|---|\n")
	for _, c := range []simCase{
		{users: 5, days: 120}, {users: 5, cover: true, days: 45}, {users: 5, cover: true, agent: simAgentMean, days: 30},
		{users: 5, cover: true, keep: 100, days: 45}, {users: 5, cover: true, keep: 100, agent: simAgentMean, days: 30},
		{users: 50, days: 24}, {users: 50, cover: true, days: 9}, {users: 50, cover: true, agent: simAgentMean, days: 6},
		{users: 50, cover: true, keep: 100, days: 9}, {users: 50, cover: true, keep: 100, agent: simAgentMean, days: 6},
		{users: 500, days: 4}, {users: 500, cover: true, days: 3}, {users: 500, cover: true, agent: simAgentMean, days: 2},
		{users: 500, cover: true, keep: 100, days: 3}, {users: 500, cover: true, keep: 100, agent: simAgentMean, days: 2},
	} {
		rnd := rand.NewChaCha8([32]byte{11})
		s := sim{simCase: c, t: t, rnd: rnd, dice: rand.New(rand.NewChaCha8([32]byte{12}))}
		s.run()
		b.WriteString(s.row())
	}
	return b.String()
}

// The table in the document is what the program says.
func TestCoverTable(t *testing.T) {
	text, err := os.ReadFile("../docs/spec/cover.md")
	if err != nil {
		t.Fatal(err)
	}
	table := simTable(t)
	t.Logf("\n%s", table)
	if !strings.Contains(string(text), table) {
		t.Errorf("docs/spec/cover.md does not hold this table:\n%s", table)
	}
}
