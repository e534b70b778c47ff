package client_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mixminion/client"
	"mixminion/internal/clock"
	"mixminion/packet"
	"mixminion/path"
)

// block makes up a reply block that has a form but leads nowhere.
func block(n int, expires time.Time) *packet.SURB {
	s := &packet.SURB{Expires: expires, Type: packet.TypeSwapFwdHost}
	s.Header[0], s.Header[1] = byte(n), byte(n>>8)
	s.Info = packet.Hop{Host: "alder.example.net", Port: 48099}.AppendRoutingInfo(nil)
	return s
}

func TestUsableSURBs(t *testing.T) {
	c, _ := newClient(t)
	at := func(d time.Duration) *packet.SURB { return block(int(d/time.Second), noon.Add(d)) }
	used := at(5 * day)
	if err := c.MarkUsed(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	good1, good2 := at(client.MinSURBLeft), at(4*day)
	got, skipped, err := c.UsableSURBs([]*packet.SURB{
		good1, used, at(-day), at(59 * time.Second), at(time.Minute), at(client.MinSURBLeft - time.Second), good2, good1,
	})
	if err != nil || len(got) != 2 || got[0] != good1 || got[1] != good2 {
		t.Errorf("usable: %v, %v", got, err)
	}
	if want := (client.SkippedSURBs{Used: 1, Expired: 2, Short: 2, Repeated: 1}); skipped != want {
		t.Errorf("skipped %+v", skipped)
	}
	if got, skipped, err := c.UsableSURBs(nil); len(got) != 0 || skipped != (client.SkippedSURBs{}) || err != nil {
		t.Error(got, skipped, err)
	}
}

// TestSURBLog: whatever is marked stays marked until long after its expiry, and nothing else is, whoever looks.
func TestSURBLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		home, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		clk := clock.NewManual(noon)
		marked := map[int]bool{}
		of := func(n int) *packet.SURB { return block(n, noon.Add(time.Duration(n)*day)) }
		for range rapid.IntRange(1, 4).Draw(rt, "steps") {
			c, err := client.Open(home, client.Options{Clock: clk}) // each time as a new process
			if err != nil {
				rt.Fatal(err)
			}
			log, err := c.UsedSURBs()
			if err != nil {
				rt.Fatal(err)
			}
			numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, 20), 1, 4, rapid.ID).Draw(rt, "blocks")
			var now []*packet.SURB
			for _, n := range numbers {
				now = append(now, of(n))
			}
			again := slices.ContainsFunc(now, func(s *packet.SURB) bool { return log.Used(s.ID()) })
			if err := c.MarkUsed(t.Context(), now...); again != errors.Is(err, client.ErrSURBUsed) || !again && err != nil {
				rt.Fatalf("marking %v, used before: %v: %v", numbers, again, err)
			}
			for _, n := range numbers {
				marked[n] = marked[n] || !again
			}
			clk.Advance(time.Duration(rapid.IntRange(0, 20).Draw(rt, "days")) * day)
			if log, err = c.UsedSURBs(); err != nil {
				rt.Fatal(err)
			}
			for n := range 21 {
				b := of(n)
				long := clk.Now().Sub(b.Expires) > 30*day
				if got := log.Used(b.ID()); got && !marked[n] || !got && marked[n] && !long {
					rt.Errorf("block %d: used %v, marked %v", n, got, marked[n])
				}
			}
		}
	})
}

func TestSURBLogIsBounded(t *testing.T) {
	c, clk, home := newHome(t)
	for n := range 5 {
		if err := c.MarkUsed(t.Context(), block(n, clk.Now().Add(day))); err != nil {
			t.Fatal(err)
		}
		clk.Advance(40 * day)
	}
	text, err := os.ReadFile(filepath.Join(home, "surbs", "used"))
	if err != nil || strings.Count(string(text), "\n") != 2 {
		t.Errorf("log %q: %v", text, err)
	}
	info, err := os.Stat(filepath.Join(home, "surbs", "used"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// TestMarkUsedOnce: of several that want the same reply block at the same time one gets it.
func TestMarkUsedOnce(t *testing.T) {
	_, clk, home := newHome(t)
	const blocks = 10
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		c, err := client.Open(home, client.Options{Clock: clk})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for n := range blocks {
				err := c.MarkUsed(t.Context(), block(n, noon.Add(day)))
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, client.ErrSURBUsed):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if won.Load() != blocks {
		t.Errorf("%d reply blocks were given out %d times", blocks, won.Load())
	}
	c, err := client.Open(home, client.Options{Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	b := block(blocks, noon.Add(day))
	if err := c.MarkUsed(t.Context(), b, b); !errors.Is(err, client.ErrSURBUsed) {
		t.Errorf("the same one twice: %v", err)
	}
	if log, err := c.UsedSURBs(); err != nil || log.Used(b.ID()) {
		t.Errorf("marked although refused: %v", err)
	}
}

func TestDamagedSURBLog(t *testing.T) {
	id := strings.Repeat("ab", 20)
	for _, text := range []string{
		"", "used reply blocks 1", "used reply blocks 2\n", "used reply blocks 1\n" + id + " 1900022400", "used reply blocks 1\nx 1\n",
		"used reply blocks 1\n" + id + "\n", "used reply blocks 1\n" + id + " x\n", "used reply blocks 1\n" + id + " 4294967296\n",
		"used reply blocks 1\n\n", "used reply blocks 1\n" + id + "ab 1\n", "used reply blocks 1\n" + strings.Repeat("xy", 20) + " 1\n",
	} {
		c, _, home := newHome(t)
		file := filepath.Join(home, "surbs", "used")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b := block(1, noon.Add(day))
		if _, err := c.UsedSURBs(); !errors.Is(err, client.ErrSURBLog) || !strings.Contains(err.Error(), "delete it when") {
			t.Errorf("%q: %v", text, err)
		}
		if _, _, err := c.UsableSURBs([]*packet.SURB{b}); !errors.Is(err, client.ErrSURBLog) {
			t.Errorf("%q: %v", text, err)
		}
		if err := c.MarkUsed(t.Context(), b); !errors.Is(err, client.ErrSURBLog) {
			t.Errorf("%q: %v", text, err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

// oldLog writes a log of Mixminion 0.0.8.
func oldLog(t *testing.T, home string, files map[string]string) {
	t.Helper()
	dir := filepath.Join(home, "surbs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOldSURBLog(t *testing.T) {
	c, _, home := newHome(t)
	b, other := block(1, noon.Add(day)), block(2, noon.Add(day))
	oldLog(t, home, map[string]string{
		"log.dir": fmt.Sprintf("'LAST_CLEANED', (0, 10)\n'%x', (512, 10)\n", b.ID()),
		"log.dat": "1795374985" + strings.Repeat("\x00", 502) + fmt.Sprint(b.Expires.Unix()),
	})
	log, err := c.UsedSURBs()
	if err != nil || !log.Used(b.ID()) || log.Used(other.ID()) {
		t.Fatal("the log was not understood:", err)
	}
	if err := c.MarkUsed(t.Context(), b); !errors.Is(err, client.ErrSURBUsed) {
		t.Error(err)
	}
	if err := c.MarkUsed(t.Context(), other); err != nil {
		t.Error(err)
	}
	if log, err = c.UsedSURBs(); err != nil || !log.Used(b.ID()) || !log.Used(other.ID()) {
		t.Error("one was forgotten:", err)
	}
	if text, err := os.ReadFile(filepath.Join(home, "surbs", "used")); err != nil || strings.Contains(string(text), hex.EncodeToString(b.Info)) {
		t.Error(err)
	}
}

func TestUnreadableOldSURBLog(t *testing.T) {
	const id = "6c6630f4cce630097a4a62e55efa83dad7510372"
	good := "'" + id + "', (0, 10)\n"
	for name, files := range map[string]map[string]string{
		"gdbm":            {"log": "\x13\x57\x9a\xce"},
		"bsddb":           {"log.db": "x"},
		"no data":         {"log.dir": good},
		"behind the data": {"log.dir": good, "log.dat": "179591040"},
		"far behind":      {"log.dir": "'" + id + "', (999999999, 10)\n", "log.dat": "1795910400"},
		"too long":        {"log.dir": "'" + id + "', (9999999999, 10)\n", "log.dat": "1795910400"},
		"negative":        {"log.dir": "'" + id + "', (-1, 1)\n", "log.dat": "1795910400"},
		"not a number":    {"log.dir": good, "log.dat": "17959104x0"},
		"empty":           {"log.dir": "'" + id + "', (0, 0)\n", "log.dat": "1795910400"},
		"short id":        {"log.dir": "'" + id[2:] + "', (0, 10)\n", "log.dat": "1795910400"},
		"other key":       {"log.dir": "'KEYID', (0, 10)\n", "log.dat": "1795910400"},
		"blank line":      {"log.dir": good + "\n", "log.dat": "1795910400"},
		"cut off":         {"log.dir": good[:20], "log.dat": "1795910400"},
	} {
		c, _, home := newHome(t)
		oldLog(t, home, files)
		if _, err := c.UsedSURBs(); !errors.Is(err, client.ErrSURBLog) || !strings.Contains(err.Error(), "0.0.8") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPrepareReplyMarks: a reply block is used up when the packet exists, and not when there is none.
func TestPrepareReplyMarks(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	_, secret := identity(t, "", noon)
	surbs := generate(t, c, 3, parseAddress(t, "alice@example.com"), secret, path.Spec{}, client.SURBLifetime)
	bad := client.Reply{Path: parseSpec(t, "alder:birch")}
	if _, _, err := c.PrepareReply(t.Context(), bad, surbs, nil); err == nil {
		t.Fatal("no error")
	}
	if usable, _, err := c.UsableSURBs(surbs); err != nil || len(usable) != 3 {
		t.Errorf("%d are usable after a failure: %v", len(usable), err)
	}
	if _, n, err := c.PrepareReply(t.Context(), client.Reply{}, surbs, nil); err != nil || n != 1 {
		t.Fatal(err)
	}
	usable, skipped, err := c.UsableSURBs(surbs)
	if err != nil || len(usable) != 2 || usable[0] != surbs[1] || skipped.Used != 1 {
		t.Errorf("%d are usable, %+v: %v", len(usable), skipped, err)
	}
	if _, _, err := c.PrepareReply(t.Context(), client.Reply{}, surbs, nil); !errors.Is(err, client.ErrSURBUsed) {
		t.Errorf("used twice: %v", err)
	}
}
