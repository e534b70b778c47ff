package mix

import (
	"fmt"
	"math"
	"testing"

	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/testnet/testdir"
	"mixminion/packet"
)

func TestPadded(t *testing.T) {
	for n, want := range map[int]int{0: 4, 1: 4, 4: 4, 5: 8, 8: 8, 9: 16, 16: 16, 17: 32, 32: 32, 33: 48, 100: 112, 160: 160} {
		if got := padded(n); got != want {
			t.Errorf("%d packets are padded to %d, want %d", n, got, want)
		}
	}
	for n := range 1000 {
		if p := padded(n); p < n || n >= fewestItems && (p > 2*n || p-n >= itemStep) || padded(p) != p {
			t.Errorf("%d packets are padded to %d", n, p)
		}
	}
}

// Each server without packets is visited with the probability that is meant, and one with packets is not.
func TestPickVisits(t *testing.T) {
	for _, c := range []struct {
		servers int
		share   float64
	}{{4, 0.25}, {16, 0.25}, {20, 0.2}} {
		t.Run(fmt.Sprint(c.servers), func(t *testing.T) {
			var list []*directory.Descriptor
			for i := range c.servers {
				// One key does for all names here: no signature is looked at, and Newest sees other keys by the number.
				d, err := testdir.Server(fmt.Sprintf("server%d", i), 0, coverStart.Truncate(day), nil)
				if err != nil {
					t.Fatal(err)
				}
				other := *d
				id := *d.Identity
				id.E += 2 * i
				other.Identity = &id
				list = append(list, &other)
			}
			m := coverMix(t, clock.NewManual(coverStart), func(c *Config) { c.Servers = func() []*directory.Descriptor { return list } })
			counts := map[string]int{}
			for range visitRounds {
				if err := m.pickVisits(); err != nil {
					t.Fatal(err)
				}
				for name := range m.dispatch.visits {
					counts[name]++
				}
			}
			if len(counts) != c.servers {
				t.Errorf("%d servers of %d are visited", len(counts), c.servers)
			}
			for name, n := range counts {
				if _, _, isExit, err := parseQueue(name); err != nil || isExit {
					t.Errorf("visit of %q: %v", name, err)
				}
				// A fair choice fails for one of 40 servers once in a million times.
				if want := visitRounds * c.share; math.Abs(float64(n)-want) > 5.6*math.Sqrt(want*(1-c.share)) {
					t.Errorf("a server is visited %d times, want about %.0f", n, want)
				}
			}
		})
	}
}

func TestNoVisits(t *testing.T) {
	m := coverMix(t, clock.NewManual(coverStart), func(c *Config) {
		c.Cover, c.Servers = 0, func() []*directory.Descriptor { t.Error("asked"); return nil }
	})
	if err := m.pickVisits(); err != nil || len(m.dispatch.visits) > 0 {
		t.Error(m.dispatch.visits, err)
	}
	// A server that got packets meanwhile is not visited beside.
	name := hopQueue(packet.Hop{Host: "a.example", Port: 1})
	m.dispatch.visits = map[string]bool{name: true}
	got := m.dispatch.addVisits(nil)
	if len(got) != 1 || got[0].Name != name || got[0].Count != 0 {
		t.Error(got)
	}
	if got = m.dispatch.addVisits(got); len(got) != 1 || len(m.dispatch.visits) > 0 {
		t.Error(got, m.dispatch.visits)
	}
}
