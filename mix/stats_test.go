package mix_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/mix"
	"mixminion/packet"
)

// readStats is the statistics file, empty if there is none.
func (r *rig) readStats() string {
	text, err := os.ReadFile(r.cfg.StatsFile)
	if err != nil && !os.IsNotExist(err) {
		r.t.Error(err)
	}
	return string(text)
}

// statsRig returns a mix that runs, at the beginning of its first full hour, and that time.
func statsRig(t *testing.T, interval time.Duration, change func(*mix.Config)) (*rig, time.Time) {
	r := newRig(t, func(c *mix.Config) {
		c.StatsFile, c.StatsInterval, c.LogStats = filepath.Join(t.TempDir(), "stats"), interval, true
		change(c)
	})
	r.clk.Advance(7 * time.Minute) // so that the wait for a full hour is like no other
	return r, r.beginHour()
}

// beginHour runs the mix to the next full hour.
func (r *rig) beginHour() time.Time {
	begun := r.clk.Now().Truncate(time.Hour).Add(time.Hour)
	wait := begun.Sub(r.clk.Now())
	r.run()
	r.clk.await(r.t, wait)
	r.clk.Advance(wait)
	r.clk.await(r.t, time.Hour)
	return begun
}

// hours runs the mix through full hours.
func (r *rig) hours(n int) {
	for range n {
		r.clk.Advance(time.Hour)
		// One is that of the counts, the other one looks after the keys.
		eventually(r.t, "the counts of an hour", func() bool { return r.clk.timers(time.Hour, time.Hour+1) >= 2 })
	}
}

var section = regexp.MustCompile(`^(#.*\n){5}========== From (.*) to (.*):\n((  [A-Za-z]+: [0-9]+00\n){13})$`)

func TestStatistics(t *testing.T) {
	exit := &fakeExit{answer: func(_ delivery.Item, attempt int) delivery.Outcome {
		return delivery.Outcome{Status: []delivery.Status{delivery.Retry, delivery.Delivered}[min(attempt, 1)]}
	}}
	r, begun := statsRig(t, 2*time.Hour+time.Minute, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{time.Minute, 24 * time.Hour}}}
	})
	next := newFakeHop(t, r.clk, 0)
	for range 101 {
		p, _ := r.relayed(next.Node)
		r.mustSend(p)
	}
	p, _ := r.exiting(packet.TypeSMTP)
	r.mustSend(p)
	if r.mix.LastHour() != nil {
		t.Error("an hour that is not over is told")
	}
	r.hours(1)
	if r.readStats() != "" {
		t.Error("written before the end of the interval")
	}
	first := r.mix.LastHour()
	if first == nil || !first.End.Equal(begun.Add(time.Hour)) || len(first.Counts) != 13 || first.Counts[0] != (mix.Count{Event: "ReceivedPacket", N: 200}) {
		t.Errorf("%+v", first)
	}
	eventually(t, "all go on", func() bool { return r.mix.Counts().Relayed == 101 })
	eventually(t, "the message is delivered", func() bool {
		r.mix.FlushQueues()
		return r.mix.Counts().Delivered == 1
	})
	r.hours(1)
	m := section.FindStringSubmatch(r.readStats())
	if m == nil {
		t.Fatalf("%q", r.readStats())
	}
	if m[2] != begun.Local().Format(time.DateTime) || m[3] != begun.Add(2*time.Hour).Local().Format(time.DateTime) {
		t.Errorf("from %s to %s", m[2], m[3])
	}
	if !strings.HasPrefix(m[4], "  ReceivedPacket: 200\n  ReceivedConnection: 100\n") {
		t.Errorf("%s", m[4])
	}

	for _, want := range []string{"  AttemptedRelay: 200\n", "  SuccessfulRelay: 200\n", "  FailedRelay: 100\n", "  SuccessfulDelivery: 100\n"} {
		if !strings.Contains(m[4], want) {
			t.Errorf("no line %q", want)
		}
	}

	// An interval without events; then one that is not to be written.
	r.hours(2)
	if n := strings.Count(r.readStats(), "=========="); n != 2 || strings.Count(r.readStats(), "  ReceivedPacket: 100\n") != 1 {
		t.Fatalf("%s", r.readStats())
	}
	off := r.cfg
	off.LogStats = false
	if err := r.mix.Reload(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	before := r.readStats()
	r.hours(3)
	if r.readStats() != before || exists(t, r.cfg.StatsFile+".tmp") {
		t.Error("written though LogStats is no")
	}
	r.close()
	if r.log.count("level=ERROR") > 0 {
		t.Error("errors in the log")
	}
}

// Nothing about an hour is told before it is over, to the packet.
func TestHoursAreToldWhenOver(t *testing.T) {
	r, begun := statsRig(t, time.Hour, func(*mix.Config) {})
	r.hours(1)
	told, text := r.mix.LastHour(), r.readStats()
	next := newFakeHop(t, r.clk, 0)
	for range 101 {
		p, _ := r.relayed(next.Node)
		r.mustSend(p)
	}
	r.clk.Advance(59 * time.Minute)
	if r.mix.LastHour() != told || r.readStats() != text {
		t.Error("told before the hour was over")
	}
	r.clk.Advance(time.Minute)
	eventually(t, "the hour is told", func() bool { return r.mix.LastHour() != told })
	last := r.mix.LastHour()
	// The file has one hour a section here, and both say the same.
	eventually(t, "the section", func() bool { return strings.Count(r.readStats(), "==========") == 2 })
	for _, c := range last.Counts {
		if !strings.Contains(r.readStats()[len(text):], fmt.Sprintf("  %s: %d\n", c.Event, c.N)) {
			t.Errorf("the file does not say %+v", c)
		}
	}
	if !last.End.Equal(begun.Add(2 * time.Hour)) {
		t.Errorf("of the hour to %v", last.End)
	}
	// The operator sets the clock: nobody can say what the counts are of.
	r.clk.Advance(3 * time.Hour)
	eventually(t, "the hour is forgotten", func() bool { return r.mix.LastHour() == nil })
}

// What was counted in full hours outlives stops. The section comes when the interval is over and the mix has run for three quarters of it.
func TestStatisticsOverStops(t *testing.T) {
	r, begun := statsRig(t, 4*time.Hour, func(*mix.Config) {})
	next := newFakeHop(t, r.clk, 0)
	for range 101 {
		p, _ := r.relayed(next.Node)
		r.mustSend(p)
	}
	r.hours(1)
	stopFor := func(d time.Duration) {
		r.close()
		r.clk.Advance(d)
		r.open()
		r.beginHour()
	}
	stopFor(3*time.Hour + 30*time.Minute) // the interval is over; a quarter of it was run through
	r.hours(1)
	if r.readStats() != "" {
		t.Error("written after half of the time")
	}
	stopFor(time.Minute)
	end := r.clk.Now().Add(time.Hour)
	r.hours(1)
	m := section.FindStringSubmatch(r.readStats())
	if m == nil {
		t.Fatalf("%q", r.readStats())
	}
	if m[2] != begun.Local().Format(time.DateTime) || m[3] != end.Local().Format(time.DateTime) || !strings.HasPrefix(m[4], "  ReceivedPacket: 200\n") {
		t.Errorf("%s", r.readStats())
	}

	// A file of the interval that cannot be read begins another one, and so does a clock that was set back.
	for i, damaged := range []string{"", "From: x\n", strings.Replace(string(mustRead(t, r.cfg.StatsFile+".tmp")), "Hours: ", "Hours: -1", 1)} {
		r.close()
		mustWrite(t, r.cfg.StatsFile+".tmp", []byte(damaged))
		r.clk.Advance(time.Minute)
		r.open()
		r.beginHour()
		if n := r.log.count("cannot read the statistics"); n != i+1 {
			t.Errorf("%q: %d lines", damaged, n)
		}
	}
}
