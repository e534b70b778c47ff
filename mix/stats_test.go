package mix_test

import (
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

func TestStatistics(t *testing.T) {
	exit := &fakeExit{answer: func(_ delivery.Item, attempt int) delivery.Outcome {
		return delivery.Outcome{Status: []delivery.Status{delivery.Retry, delivery.Delivered}[min(attempt, 1)]}
	}}
	r := newRig(t, func(c *mix.Config) {
		c.StatsFile, c.StatsInterval, c.LogStats = filepath.Join(t.TempDir(), "stats"), 2*time.Hour+time.Minute, true
		c.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: mix.Schedule{time.Minute, 24 * time.Hour}}}
	})
	r.clk.Advance(7 * time.Minute) // so that the wait for a full hour is like no other
	begun := r.clk.Now().Truncate(time.Hour).Add(time.Hour)
	wait := begun.Sub(r.clk.Now())
	r.run()
	r.clk.await(t, wait)
	r.clk.Advance(wait)
	r.clk.await(t, 2*time.Hour)
	next := newFakeHop(t, r.clk, 0)
	for range 101 {
		p, _ := r.relayed(next.Node)
		r.mustSend(p)
	}
	p, _ := r.exiting(packet.TypeSMTP)
	r.mustSend(p)
	r.clk.Advance(2 * time.Hour)
	r.clk.await(t, 2*time.Hour)
	section := regexp.MustCompile(`^(#.*\n){5}========== From (.*) to (.*):\n((  [A-Za-z]+: [0-9]+00\n){13})$`)
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

	// An interval with other counts; then one that is not to be written.
	eventually(t, "all go on", func() bool { return r.mix.Counts().Relayed == 101 })
	eventually(t, "the message is delivered", func() bool {
		r.mix.FlushQueues()
		return r.mix.Counts().Delivered == 1
	})
	r.clk.Advance(2 * time.Hour)
	r.clk.await(t, 2*time.Hour)
	if n := strings.Count(r.readStats(), "=========="); n != 2 {
		t.Fatalf("%d sections", n)
	}
	for _, want := range []string{"  AttemptedRelay: 200\n", "  SuccessfulRelay: 200\n", "  FailedRelay: 100\n", "  SuccessfulDelivery: 100\n"} {
		if !strings.Contains(r.readStats(), want) {
			t.Errorf("no line %q", want)
		}
	}
	off := r.cfg
	off.LogStats = false
	if err := r.mix.Reload(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	before := r.readStats()
	r.clk.Advance(2 * time.Hour)
	r.clk.await(t, 2*time.Hour)
	if r.readStats() != before {
		t.Error("written though LogStats is no")
	}
	r.close()
	if r.log.count("level=ERROR") > 0 {
		t.Error("errors in the log")
	}
}
