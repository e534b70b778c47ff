package mix

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"mixminion/internal/store/durable"
)

// statsHead stands at the top of the file.
const statsHead = `# Mixminion server statistics
#
# Each section covers an interval in which this mix ran for three quarters of the time at least.
# All numbers are rounded up to hundreds, and 100 is the least: exact ones help to
# follow packets. Whoever can read this file learns less than from watching the lines.
`

// A stretch is what one section of the file covers: full hours that begin at from, of which the mix has run through some. The section is
// written when to has come and the mix has run for three quarters of the planned time.
type stretch struct {
	from, to time.Time
	hours    int
	counts   tally
}

// section is the text about a stretch that ends at a time.
func (p *stretch) section(end time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "========== From %s to %s:\n", p.from.Local().Format(time.DateTime), end.Local().Format(time.DateTime))
	p.writeCounts(&b)
	return b.String()
}

func (p *stretch) writeCounts(b *strings.Builder) {
	for i, n := range p.counts.rounded() {
		fmt.Fprintf(b, "  %s: %d\n", eventNames[i], n)
	}
}

// over reports whether the section can be written at a time.
func (p *stretch) over(now time.Time) bool {
	planned := p.to.Sub(p.from)
	return !now.Before(p.to) && 4*time.Duration(p.hours)*time.Hour >= 3*planned
}

// stretch begins a stretch.
func (m *Mix) stretch(from time.Time) stretch {
	return stretch{from: from, to: from.Add(max(m.live.Load().StatsInterval.Truncate(time.Hour), time.Hour))}
}

// pendingFile holds the stretch that has begun, rounded, so that stops and crashes lose the hour in which they fall and no more.
func (m *Mix) pendingFile() string { return m.cfg.StatsFile + ".tmp" }

// unfinished returns the stretch that goes on at a time: the one that the mix was in when it was stopped, or else a new one.
func (m *Mix) unfinished(now time.Time) stretch {
	if !m.live.Load().LogStats {
		return m.stretch(now)
	}
	text, err := os.ReadFile(m.pendingFile())
	if errors.Is(err, fs.ErrNotExist) {
		return m.stretch(now)
	}
	var p stretch
	if err == nil {
		p, err = parsePending(text)
	}
	if err != nil {
		m.cfg.Logger.Error("cannot read the statistics of the interval that has begun; begins another one", "error", err)
		return m.stretch(now)
	}
	if now.Before(p.from.Add(time.Duration(p.hours) * time.Hour)) { // the clock was set back
		return m.stretch(now)
	}
	return p
}

// note adds an hour to a stretch. If the stretch is over its section is written and the next one begins.
func (m *Mix) note(p *stretch, end time.Time, counts tally) error {
	if !m.live.Load().LogStats {
		*p = m.stretch(end)
		if err := os.Remove(m.pendingFile()); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	p.hours++
	for i, n := range counts {
		p.counts[i] += n
	}
	if p.over(end) {
		section := p.section(end)
		*p = m.stretch(end)
		if err := writeStats(m.cfg.StatsFile, section); err != nil {
			return err
		}
	}
	return durable.WriteFile(m.pendingFile(), p.pending(), 0o600)
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

// pending is the text of the file about a stretch that is not over.
func (p *stretch) pending() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "From: %s\nTo: %s\nHours: %d\n", p.from.UTC().Format(time.RFC3339), p.to.UTC().Format(time.RFC3339), p.hours)
	p.writeCounts(&b)
	return []byte(b.String())
}

var errPending = errors.New("statistics: the file about the interval that has begun is damaged")

// maxStretch bounds what a damaged file can say.
const maxStretch = 100 * 365 * 24

// parsePending is the reverse of pending.
func parsePending(text []byte) (p stretch, err error) {
	var from, to string
	in := bufio.NewReader(bytes.NewReader(text))
	if _, err := fmt.Fscanf(in, "From: %s\nTo: %s\nHours: %d\n", &from, &to, &p.hours); err != nil {
		return p, fmt.Errorf("%w: %w", errPending, err)
	}
	for i := range p.counts {
		var name string
		if _, err := fmt.Fscanf(in, "  %s %d\n", &name, &p.counts[i]); err != nil || name != eventNames[i]+":" {
			return p, fmt.Errorf("%w: no line %s", errPending, eventNames[i])
		}
	}
	var ferr, terr error
	p.from, ferr = time.Parse(time.RFC3339, from)
	p.to, terr = time.Parse(time.RFC3339, to)
	if err := errors.Join(ferr, terr); err != nil {
		return p, fmt.Errorf("%w: %w", errPending, err)
	}
	if p.hours < 0 || p.hours > maxStretch || !p.from.Before(p.to) || p.to.Sub(p.from) > maxStretch*time.Hour || !p.from.Equal(p.from.Truncate(time.Hour)) {
		return p, errPending
	}
	return p, nil
}
