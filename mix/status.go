package mix

import (
	"slices"
	"time"
)

// A Status says how it stands with a mix, no finer than may be told to people who look over the operator's shoulder: numbers are rounded up,
// and nothing in it changes with a single packet unless it crosses such a step.
type Status struct {
	Nickname, Key string
	Keys          []KeyStatus // by the time from which they are valid
	Pool, Waiting int         // packets in the pool, and on their way out; rounded up to hundreds
	Connections   int         // that others have to the mix; rounded up to tens
	Disk          int64       // bytes that packets and replay logs take; rounded up to 10 MB
	Draining      bool
	Empty         bool // while it drains: nothing is left
	Publishes     int  // directory servers to publish to
	// Directory is the day of the directory that the mix holds; zero if it has none.
	Directory time.Time
}

// A KeyStatus describes one packet key.
type KeyStatus struct {
	Name string // of its directory
	// Senders may use it From until Until; what arrives by Accepted is taken.
	From, Until, Accepted time.Time
	InUse                 bool
}

// The steps by which numbers are rounded up.
const (
	stepPackets     = 100
	stepConnections = 10
	stepBytes       = 10 << 20
)

// roundUp rounds up to a multiple of step, and to step at least: that there is nothing is told no more than that there is one.
func roundUp[T int | int64 | uint64](n, step T) T { return max(step, (n+step-1)/step*step) }

// Status says how it stands. It may be called while the mix runs.
func (m *Mix) Status() Status {
	now := m.cfg.Clock.Now()
	st := Status{
		Nickname: m.cfg.Nickname, Key: m.keyID.Fingerprint(), Keys: m.PacketKeys(),
		Pool: roundUp(m.store.PoolSize(), stepPackets), Disk: roundUp(m.store.Usage().Disk, stepBytes),
		Draining: m.draining.Load(), Publishes: len(m.cfg.PublishTo),
	}
	waiting := 0
	for _, q := range m.store.Queues() {
		waiting += q.Count
	}
	st.Waiting = roundUp(waiting, stepPackets)
	st.Empty = st.Draining && m.store.Usage().Packets == 0
	if server := m.server.Load(); server != nil {
		st.Connections = roundUp(server.Connections(), stepConnections)
	}
	if d, err := m.Directory(); err == nil && d != nil && !d.ValidAfter.After(now) {
		st.Directory = d.ValidAfter
	}
	return st
}

// PacketKeys describes the packet keys.
func (m *Mix) PacketKeys() []KeyStatus {
	now := m.cfg.Clock.Now()
	m.keyUse.RLock()
	defer m.keyUse.RUnlock()
	use := m.ring.inUse(now)
	var out []KeyStatus
	for _, s := range m.ring.sets {
		out = append(out, KeyStatus{
			Name: s.name(), From: s.desc.ValidAfter, Until: s.desc.ValidUntil, Accepted: s.desc.ValidUntil.Add(m.ring.overlap),
			InUse: slices.Contains(use, s),
		})
	}
	return out
}
