package mix

import (
	"crypto/rand"

	"mixminion/directory"
	"mixminion/internal/store"
	"mixminion/internal/uniform"
	"mixminion/mmtp"
	"mixminion/packet"
)

// Link padding: docs/spec/cover.md says what it is for and why it is so.
const (
	// fewestItems is how many packets, JUNK included, go to a next hop at least when it is contacted, and itemStep the step from there on
	// beyond itemStep itself.
	fewestItems = 4
	itemStep    = 16
	// visitShare is the part of the servers without packets waiting that is sent JUNK at each mix, and meanVisits how
	// many that are at most, on average.
	visitShare = 0.25
	meanVisits = 4
)

// padded is how many items are sent on a link when n packets are: 4, 8, 16, 32, 48 and so on.
func padded(n int) int {
	for _, step := range []int{fewestItems, 2 * fewestItems} {
		if n <= step {
			return step
		}
	}
	return (n + itemStep - 1) / itemStep * itemStep
}

// junk returns an item of padding; done is told what became of it.
func junk(done func(error)) mmtp.Item {
	p := packets.Get().(*packet.Packet)
	rand.Read(p[:])
	return mmtp.Item{Packet: p, Junk: true, Done: func(err error) {
		packets.Put(p)
		done(err)
	}}
}

// pickVisits chooses servers for which nothing waits, to be sent JUNK beside the batch that has just been picked.
func (m *Mix) pickVisits() error {
	if !m.covers() {
		return nil
	}
	servers, err := m.servers()
	if err != nil {
		return nil // covering says so
	}
	busy := map[string]bool{}
	for _, q := range m.store.Queues() {
		busy[q.Name] = true
	}
	now := m.cfg.Clock.Now()
	var idle []string
	for _, s := range directory.Newest(servers, now, now) {
		if q := hopQueue(s.Node().Hop); !busy[q] && s.AcceptsConnections(m.cfg.OutgoingLinks...) &&
			s.AcceptsTLS(directory.TLSVersions(m.cfg.LegacyOutgoing)...) {
			idle = append(idle, q)
		}
	}
	share := min(visitShare, meanVisits/float64(max(1, len(idle))))
	visits := map[string]bool{}
	for _, q := range idle {
		v, err := uniform.Float(rand.Reader)
		if err != nil {
			return err
		}
		if v < share {
			visits[q] = true
		}
	}
	m.dispatch.mu.Lock()
	m.dispatch.visits = visits
	m.dispatch.mu.Unlock()
	return nil
}

// addVisits adds the visits that are due to the queues, as queues with nothing in them.
func (d *dispatcher) addVisits(queues []store.QueueStat) []store.QueueStat {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range queues {
		delete(d.visits, q.Name) // the packets will do
	}
	for name := range d.visits {
		queues = append(queues, store.QueueStat{Name: name})
	}
	return queues
}

// visiting reports whether a next hop is to be visited.
func (d *dispatcher) visiting(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.visits[name]
}

// visited notes that a visit has begun.
func (d *dispatcher) visited(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.visits, name)
}
