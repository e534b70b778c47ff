package config

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNeedsRestart(t *testing.T) {
	old, newer := goodDefaults(), goodDefaults()
	if got := old.NeedsRestart(newer); len(got) > 0 {
		t.Errorf("%q", got)
	}
	newer.Main.ContactEmail, newer.Main.LogLevel, newer.Main.MixInterval = "bob@example.com", LogInfo, Interval(time.Hour)
	newer.DeliverySMTP.Enabled, newer.OutgoingMMTP.Retry = true, IntervalList{time.Hour}
	newer.Main.MaxBandwidth, newer.Main.MixCover, newer.Main.Timeout, newer.Main.MaxDisk = MB, 7, Interval(time.Minute), 20*MB
	newer.OutgoingMMTP.MaxConnections = 3
	newer.IncomingMMTP.MaxConnections, newer.IncomingMMTP.ConnectionRate = 7, 7
	newer.DeliveryMBOX.Enabled, newer.Main.EchoMessages = true, true // the second is not used
	if got := old.NeedsRestart(newer); len(got) > 0 {
		t.Errorf("%q", got)
	}
	newer.Main.Nickname, newer.IncomingMMTP.Port, newer.Main.BaseDir = "bob", 1, "/elsewhere"
	newer.OutgoingMMTP.Enabled = true
	want := []string{"[Server] Nickname", "[Server] BaseDir", "[Incoming/MMTP] Port", "[Outgoing/MMTP] Enabled"}
	if d := cmp.Diff(want, old.NeedsRestart(newer)); d != "" {
		t.Error(d)
	}
}

// The table names keys that there are.
func TestLiveKeys(t *testing.T) {
	sections := new(Server).Sections()
	for name, keys := range live {
		i := slices.IndexFunc(sections, func(s Section) bool { return s.Name == name })
		if i < 0 {
			t.Errorf("no section [%s]", name)
			continue
		}
		for _, key := range keys {
			if key != "*" && sections[i].find(key) == nil {
				t.Errorf("no key %s in [%s]", key, name)
			}
		}
	}
}
