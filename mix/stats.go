package mix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
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

// statistics counts events for the operator. What has been counted since the last section of the file is in memory alone, and is lost
// when the mix stops: on the disk it would say more than a section may.
type statistics struct{ counts [events]atomic.Uint64 }

func (s *statistics) add(e event, n int) { s.counts[e].Add(uint64(n)) }

// take returns what was counted, rounded up to hundreds, and begins anew.
func (s *statistics) take() (rounded [events]uint64) {
	for i := range s.counts {
		rounded[i] = roundUp(s.counts[i].Swap(0), stepPackets)
	}
	return rounded
}

// statsHead stands at the top of the file.
const statsHead = `# Mixminion server statistics
#
# Each section covers an interval in which this mix ran from the beginning to the end.
# All numbers are rounded up to hundreds, and 100 is the least: exact ones help to
# follow packets. Whoever can read this file learns less than from watching the lines.
`

// statsSection is the text about one interval.
func statsSection(from, to time.Time, counts [events]uint64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "========== From %s to %s:\n", from.Local().Format(time.DateTime), to.Local().Format(time.DateTime))
	for i, n := range counts {
		fmt.Fprintf(&b, "  %s: %d\n", eventNames[i], n)
	}
	return b.String()
}

// writeStats appends a section to the file.
func writeStats(name, section string) (err error) {
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		section = statsHead + section
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(section)
	return err
}

// reporting writes a section for each interval that the mix runs through, until ctx is done. Intervals begin at full hours, so that a section does not tell
// when the mix was started.
func (m *Mix) reporting(ctx context.Context) error {
	if m.cfg.StatsFile == "" {
		return nil
	}
	for {
		now := m.cfg.Clock.Now()
		from := now.Truncate(time.Hour).Add(time.Hour)
		if !m.wait(ctx, from.Sub(now)) {
			return nil
		}
		m.stats.take()
		for m.reportOnce(ctx, &from) {
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// reportOnce waits for the end of an interval, and writes its section. It returns false when the mix stops, or when the clock was moved, so that nobody can say
// which interval the counts are of.
func (m *Mix) reportOnce(ctx context.Context, from *time.Time) bool {
	to := from.Add(max(m.live.Load().StatsInterval.Truncate(time.Hour), time.Hour))
	if !m.wait(ctx, to.Sub(m.cfg.Clock.Now())) {
		return false
	}
	if off := m.cfg.Clock.Now().Sub(to); off < 0 || off > time.Hour {
		return false
	}
	counts := m.stats.take()
	if m.live.Load().LogStats {
		if err := writeStats(m.cfg.StatsFile, statsSection(*from, to, counts)); err != nil {
			m.cfg.Logger.Error("cannot write statistics", "error", err)
		}
	}
	*from = to
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
