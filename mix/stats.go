package mix

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// An event is something that the statistics count.
type event int

const (
	receivedPacket event = iota
	receivedConnection
	attemptedConnect
	successfulConnect
	failedConnect
	attemptedRelay
	successfulRelay
	failedRelay
	unretriableRelay
	attemptedDelivery
	successfulDelivery
	failedDelivery
	unretriableDelivery

	events
)

// eventNames are the lines of a section of the file, in their order, as programs that read it know them.
var eventNames = [events]string{
	"ReceivedPacket", "ReceivedConnection", "AttemptedConnect", "SuccessfulConnect", "FailedConnect",
	"AttemptedRelay", "SuccessfulRelay", "FailedRelay", "UnretriableRelay",
	"AttemptedDelivery", "SuccessfulDelivery", "FailedDelivery", "UnretriableDelivery",
}

// A tally is how often each event happened.
type tally [events]uint64

// rounded returns the counts as they may be told.
func (t tally) rounded() tally {
	for i := range t {
		t[i] = roundUp(t[i], stepPackets)
	}
	return t
}

// statistics counts events for the operator. What has been counted since the last full hour is in memory alone, and is lost when the mix
// stops: it would tell more than an hour may.
type statistics struct {
	counts [events]atomic.Uint64
	last   atomic.Pointer[Hour]
}

func (s *statistics) add(e event, n int) { s.counts[e].Add(uint64(n)) }

// take returns what was counted, and begins anew.
func (s *statistics) take() (t tally) {
	for i := range s.counts {
		t[i] = s.counts[i].Swap(0)
	}
	return t
}

// An Hour is what may be told of one full hour of a mix, when it is over.
type Hour struct {
	End    time.Time
	Counts []Count // in the order of the statistics file
	Status Status  // at the end
}

// A Count says how often an event happened, rounded up to hundreds.
type Count struct {
	Event string
	N     uint64
}

// hour is the Hour of these counts.
func (m *Mix) hour(end time.Time, t tally) *Hour {
	h := &Hour{End: end.UTC(), Status: m.Status()}
	for i, n := range t.rounded() {
		h.Counts = append(h.Counts, Count{eventNames[i], n})
	}
	return h
}

// LastHour returns the last full hour; nil if the mix has not run through one, or if its clock was set since.
func (m *Mix) LastHour() *Hour { return m.stats.last.Load() }

// late is how long after the end of an hour its counts are still taken for those of the hour.
const late = 5 * time.Minute

// reporting counts by full hours, so that nothing tells when the mix was started, until ctx is done.
func (m *Mix) reporting(ctx context.Context) error {
	if m.cfg.StatsFile == "" {
		return nil
	}
	for {
		now := m.cfg.Clock.Now()
		begin := now.Truncate(time.Hour).Add(time.Hour)
		if !m.wait(ctx, begin.Sub(now)) {
			return nil
		}
		m.stats.take() // of an hour that is not full
		for p := m.unfinished(begin); m.countHour(ctx, &begin, &p); {
		}
		if ctx.Err() != nil {
			return nil
		}
		m.stats.last.Store(nil)
	}
}

// countHour waits for the end of the hour that begins at begin, and moves begin on. It returns false when the mix
// stops, or when the clock was moved, so that nobody can say which hour the counts are of.
func (m *Mix) countHour(ctx context.Context, begin *time.Time, p *stretch) bool {
	end := begin.Add(time.Hour)
	if !m.wait(ctx, end.Sub(m.cfg.Clock.Now())) {
		return false
	}
	if off := m.cfg.Clock.Now().Sub(end); off < 0 || off > late {
		return false
	}
	counts := m.stats.take()
	m.stats.last.Store(m.hour(end, counts))
	if err := m.note(p, end, counts); err != nil {
		m.cfg.Logger.Error("cannot write statistics", "error", err)
	}
	*begin = end
	return true
}

// wait returns false if ctx ends first.
func (m *Mix) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-m.cfg.Clock.After(d):
		return ctx.Err() == nil
	}
}

// countedListener counts the connections that come in.
type countedListener struct {
	net.Listener
	stats *statistics
}

func (l countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.stats.add(receivedConnection, 1)
	}
	return conn, err
}

// dial is the configured dialer, counted.
func (m *Mix) dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.stats.add(attemptedConnect, 1)
	conn, err := m.dialer.Dial(ctx, network, address)
	if err != nil {
		m.stats.add(failedConnect, 1)
		return nil, err
	}
	m.stats.add(successfulConnect, 1)
	return conn, nil
}
