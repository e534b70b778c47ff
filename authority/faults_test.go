package authority_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/authority"
	"mixminion/directory"
)

const (
	firstDay  = "2026-11-21"
	secondDay = "2026-11-22"
)

// ownVote makes a valid vote of a node, of other contents than its own.
func (n *node) otherVote(d string, servers ...*directory.Descriptor) []byte {
	n.w.t.Helper()
	day := date(d)
	body, err := directory.FormatDirectory(directory.Info{
		Status: directory.Vote, ValidAfter: day, ValidUntil: day.AddDate(0, 0, 1), Voters: n.w.group,
	}, servers)
	if err != nil {
		n.w.t.Fatal(err)
	}
	text, err := directory.SignDirectory(body, keys()[n.index])
	if err != nil {
		n.w.t.Fatal(err)
	}
	return text
}

func TestMissingAuthorities(t *testing.T) {
	for _, test := range []struct {
		of, down int
		reached  bool
	}{{1, 0, true}, {2, 1, false}, {3, 1, true}, {3, 2, false}, {4, 1, true}, {4, 2, false}} {
		t.Run(fmt.Sprintf("%d of %d", test.down, test.of), func(t *testing.T) {
			w := newWorld(t, test.of)
			w.until(date(firstDay))
			w.wantCurrent(firstDay, test.of)
			for _, n := range w.nodes[:test.down] {
				n.stop()
			}
			w.until(date(secondDay).Add(time.Hour))
			n := w.nodes[test.of-1]
			if !test.reached {
				w.wantCurrent(firstDay, test.of)
				n.wantLog("not reached", w.nodes[0].url, "connection refused", "programs use the last consensus")
				if n.text(secondDay+".gz") != nil {
					t.Error("a consensus was signed without votes of a majority")
				}
				return
			}
			w.wantCurrent(secondDay, test.of-test.down)
			if test.down > 0 {
				n.wantLog(fmt.Sprintf("signatures of %d of %d authorities", test.of-test.down, test.of), "no vote of "+w.nodes[0].url)
			}
			// Who was away takes what the others have agreed on.
			for _, n := range w.nodes[:test.down] {
				n.start()
			}
			w.until(date(secondDay).Add(3 * time.Hour))
			w.wantCurrent(secondDay, test.of-test.down)
			w.until(date("2026-11-23"))
			w.wantCurrent("2026-11-23", test.of)
		})
	}
}

func TestSelectiveVoteReachesAll(t *testing.T) {
	w := newWorld(t, 4)
	// Authority 0 gives its vote to authority 1 only.
	w.fault = func(from, to *node, name string) ([]byte, error) {
		if to.index == 0 && name == firstDay+"-vote.gz" && from.index != 1 {
			return nil, errUnreachable
		}
		return nil, nil
	}
	w.until(date(firstDay))
	w.wantCurrent(firstDay, 4)
	for _, n := range w.nodes[1:] {
		if n.text(firstDay+"-vote-"+w.nodes[0].fingerprint()+".gz") == nil {
			t.Errorf("authority %d does not show the vote of authority 0", n.index)
		}
	}
	w.nodes[2].wantLog("came from others")
}

func TestLateVoteDividesNobody(t *testing.T) {
	for _, minute := range []int{13, 15, 16, 21, 40} {
		t.Run(fmt.Sprint(minute), func(t *testing.T) {
			w := newWorld(t, 4)
			w.nodes[0].stop()
			w.until(date(firstDay).Add(-time.Hour).Add(time.Duration(minute) * time.Minute))
			w.nodes[0].start()
			w.until(date(firstDay))
			w.wantCurrent(firstDay, 4)
			counted := minute <= 13
			for _, n := range w.nodes {
				if got := slices.Contains(n.Report(date(firstDay)).Lines, "this authority took no part"); got {
					t.Errorf("authority %d took no part", n.index)
				}
			}
			if has := w.nodes[1].text(firstDay+"-vote-"+w.nodes[0].fingerprint()+".gz") != nil; has != counted {
				t.Errorf("vote of minute %d counted: %v", minute, has)
			}
		})
	}
}

func TestEquivocation(t *testing.T) {
	w := newWorld(t, 5)
	fp := w.nodes[0].fingerprint()
	// Authority 0 gives authority 1 another vote than the rest.
	other := w.nodes[0].otherVote(firstDay, w.nodes[0].source.listed[0])
	w.fault = func(from, to *node, name string) ([]byte, error) {
		if to.index == 0 && name == firstDay+"-vote.gz" && from.index == 1 {
			return other, nil
		}
		return nil, nil
	}
	w.nodes[0].source.listed = w.nodes[0].source.listed[:2] // so that its vote matters
	w.nodes[1].source.listed = w.nodes[1].source.listed[:2]
	w.nodes[2].source.listed = w.nodes[2].source.listed[:2]
	w.until(date(firstDay))
	w.wantCurrent(firstDay, 4)
	for _, n := range w.nodes[1:] {
		first, second := n.text(firstDay+"-vote-"+fp+".gz"), n.text(firstDay+"-vote-"+fp+"-2.gz")
		if first == nil || second == nil || bytes.Equal(first, second) {
			t.Errorf("authority %d does not publish the proof", n.index)
		}
		n.wantLog("has signed two different votes", fp)
	}
	w.nodes[0].wantLog("carries our signature")
	// The day after it counts again.
	w.until(date(secondDay))
	w.wantCurrent(secondDay, 5)
}

func TestBadVotes(t *testing.T) {
	w0 := newWorld(t, 3)
	w0.until(date(firstDay).Add(-90 * time.Minute))
	votes := map[string][]byte{
		"empty":       {},
		"garbage":     []byte("\x00\x01not a vote"),
		"other day":   w0.nodes[0].otherVote(secondDay),
		"other key":   w0.nodes[2].text(firstDay + "-vote.gz"),
		"own key":     w0.nodes[1].text(firstDay + "-vote.gz"),
		"cut":         w0.nodes[0].text(firstDay + "-vote.gz")[:3000],
		"consensus":   bytes.Replace(w0.nodes[0].text(firstDay+"-vote.gz"), []byte("Status: vote"), []byte("Status: consensus"), 1),
		"other group": bytes.Replace(w0.nodes[0].text(firstDay+"-vote.gz"), []byte("auth2"), []byte("auth9"), 1),
		"unsigned":    w0.nodes[0].text(firstDay + "-vote.gz")[bytes.Index(w0.nodes[0].text(firstDay+"-vote.gz"), []byte("[Directory-Info]")):],
	}
	for name, text := range votes {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			w.fault = func(_, to *node, name string) ([]byte, error) {
				if to.index == 0 && name == firstDay+"-vote.gz" {
					return append([]byte{}, text...), nil
				}
				return nil, nil
			}
			w.until(date(firstDay))
			w.wantCurrent(firstDay, 3)
			w.nodes[1].wantLog("no vote of " + w.nodes[0].url)
			w.nodes[0].wantLog("no other authority has our vote")
		})
	}
}

func TestReplayedVote(t *testing.T) {
	w := newWorld(t, 3)
	w.until(date(firstDay))
	old := w.nodes[0].text(firstDay + "-vote.gz")
	w.fault = func(_, to *node, name string) ([]byte, error) {
		if to.index == 0 && name == secondDay+"-vote.gz" {
			return old, nil
		}
		return nil, nil
	}
	w.until(date(secondDay))
	w.wantCurrent(secondDay, 3)
	w.nodes[1].wantLog("it is for another day")
}

func TestFragmentation(t *testing.T) {
	w := newWorld(t, 3)
	w.until(date(firstDay))
	// Authorities 1 and 2 list carol, and authority 0 gets to see the vote of only one of them.
	w.nodes[0].source.listed = w.nodes[0].source.listed[:2]
	w.fault = func(from, to *node, name string) ([]byte, error) {
		if w.now.Before(date(secondDay).Add(-35*time.Minute)) && from.index == 0 && strings.Contains(name, "-vote") && (to.index == 2 || strings.Contains(name, w.nodes[2].fingerprint())) {
			return nil, errUnreachable
		}
		return nil, nil
	}
	w.until(date(secondDay).Add(time.Hour))
	w.wantCurrent(secondDay, 2)
	w.nodes[1].wantLog("fragmentation", w.nodes[0].fingerprint()[:8], "has signed another consensus")
	w.nodes[0].wantLog("fragmentation", w.nodes[2].fingerprint()[:8])
	w.nodes[1].wantLog(w.nodes[0].fingerprint()[:8] + "): it does not show the vote of " + w.nodes[2].url)
	w.nodes[0].wantLog(w.nodes[2].fingerprint()[:8] + "): it shows a vote of " + w.nodes[2].url)
	w.nodes[0].wantLog("this authority did not sign what the majority signed")
	kept, err := filepath.Glob(filepath.Join(w.nodes[1].dir, "evidence", "*"+w.nodes[0].fingerprint()+".gz"))
	if err != nil || len(kept) != 1 {
		t.Errorf("evidence: %v, %v", kept, err)
	}
}

func TestLateSignature(t *testing.T) {
	w := newWorld(t, 3)
	late := date(firstDay).Add(2*time.Hour + 10*time.Minute)
	w.fault = func(from, to *node, name string) ([]byte, error) {
		if w.now.Before(late) && (name == firstDay+".gz" || name == firstDay+".gz.sig") && from != to {
			return nil, errUnreachable
		}
		return nil, nil
	}
	w.until(late)
	for _, n := range w.nodes {
		if n.current() != nil {
			t.Fatal("published without a majority")
		}
		n.wantLog("not reached, 1 of 3", "no signature of")
	}
	w.until(late.Add(30 * time.Minute))
	w.wantCurrent(firstDay, 2)
	w.nodes[0].wantLog("consensus for 2026-11-21: reached")
}

func TestClocksOff(t *testing.T) {
	for _, skews := range [][]time.Duration{
		{2 * time.Minute, 0, 0}, {-2 * time.Minute, 0, 2 * time.Minute}, {4 * time.Minute, 0, 0, 0}, {-4 * time.Minute, 0, 0, 0},
	} {
		t.Run(fmt.Sprint(skews), func(t *testing.T) {
			w := newWorld(t, len(skews))
			for i, n := range w.nodes {
				n.skew = skews[i]
			}
			w.until(date(secondDay).Add(5 * time.Minute))
			w.wantCurrent(secondDay, 2)
			hash := w.nodes[0].current().BodyHash()
			for _, n := range w.nodes {
				if n.current().BodyHash() != hash {
					t.Error("different consensuses")
				}
			}
		})
	}
	t.Run("hours", func(t *testing.T) {
		w := newWorld(t, 4)
		w.nodes[0].skew = -3 * time.Hour
		w.until(date(firstDay).Add(30 * time.Minute))
		for _, n := range w.nodes[1:] {
			if c := n.current(); c == nil || !c.ValidAfter.Equal(date(firstDay)) {
				t.Fatal("no consensus")
			}
			n.wantLog("the clock of " + w.nodes[0].url)
		}
		w.until(date(firstDay).Add(4 * time.Hour))
		w.nodes[0].wantLog("our clock differs by more than 2m from that of 3 of 3")
	})
}

// TestRestartAnywhere kills all authorities at random instants. No two votes and no two consensuses of one authority for a day may ever be
// seen, and the consensus must come about all the same.
func TestRestartAnywhere(t *testing.T) {
	seeds := uint64(3)
	if underRace {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, 3)
			rnd := rand.New(rand.NewPCG(seed, 2))
			seen := map[string][]byte{}
			check := func() {
				for _, n := range w.nodes {
					for _, d := range []string{firstDay, secondDay} {
						for _, name := range []string{d + "-vote.gz", d + ".gz"} {
							text := n.text(name)
							key := fmt.Sprint(n.index, name)
							if text == nil && seen[key] == nil {
								continue
							}
							dir, err := parsed.ParseDirectory(text)
							if err != nil {
								t.Fatal(key, err)
							}
							if seen[key] != nil && !bytes.Equal(seen[key], dir.Body()) {
								t.Fatalf("authority %d signed two of %s", n.index, name)
							}
							seen[key] = dir.Body()
						}
					}
				}
			}
			for at := date(firstDay).Add(-2 * time.Hour); at.Before(date(secondDay)); {
				w.until(at)
				check()
				w.nodes[rnd.IntN(3)].restart()
				// What an authority would vote for changes all the time.
				for _, n := range w.nodes {
					n.source.listed = n.source.listed[:2+rnd.IntN(2)]
				}
				w.until(at)
				check()
				step := time.Duration(rnd.IntN(8*60)) * time.Second
				if left := at.Truncate(day).Add(day).Sub(at); left > 2*time.Hour {
					step = 2 * time.Hour
				}
				at = at.Add(step)
			}
			w.until(date(secondDay))
			w.wantCurrent(secondDay, 2)
			days, err := filepath.Glob(filepath.Join(w.nodes[0].dir, "history", "*.gz"))
			if err != nil || len(days) != 2 {
				t.Errorf("history: %v, %v", days, err)
			}
		})
	}
}

// TestCrashBetweenFiles leaves what a crash between two writes leaves.
func TestCrashBetweenFiles(t *testing.T) {
	public := func(n *node, name string) string { return filepath.Join(n.dir, "public", name) }
	w := newWorld(t, 3)
	w.until(date(firstDay).Add(-35 * time.Minute))
	n := w.nodes[0]
	body := n.text(firstDay + ".gz")
	n.stop()
	for _, name := range []string{public(n, firstDay+".gz.sig"), filepath.Join(n.dir, "records", firstDay+".json")} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(public(n, "."+firstDay+".gz.123.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.step()
	if !bytes.Equal(n.text(firstDay+".gz"), body) || n.text(firstDay+".gz.sig") == nil {
		t.Error("the consensus is not as it was signed")
	}
	w.until(date(firstDay))
	w.wantCurrent(firstDay, 3)

	// The history is there, the current files are not.
	n.stop()
	for _, name := range []string{"current.gz", "current.gz.sig"} {
		if err := os.Remove(public(n, name)); err != nil {
			t.Fatal(err)
		}
	}
	n.start()
	w.wantCurrent(firstDay, 3)
	if _, err := os.Stat(public(n, "current.gz")); err != nil {
		t.Error(err)
	}

	// The last consensus is damaged: the others give it back.
	w.until(date(secondDay))
	n.stop()
	if err := os.WriteFile(filepath.Join(n.dir, "history", secondDay+".gz"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	w.until(date(secondDay).Add(time.Hour))
	w.wantCurrent(secondDay, 3)
}

func TestMissedDaysAreFilled(t *testing.T) {
	w := newWorld(t, 3)
	w.until(date(firstDay).Add(time.Hour))
	w.nodes[0].stop()
	w.until(date("2026-11-25").Add(6 * time.Hour))
	w.nodes[0].start()
	w.until(date("2026-11-25").Add(7 * time.Hour))
	w.wantCurrent("2026-11-25", 2)
	days, err := filepath.Glob(filepath.Join(w.nodes[0].dir, "history", "*.gz"))
	if err != nil || len(days) != 5 {
		t.Errorf("history: %v, %v", days, err)
	}
	w.nodes[0].wantLog("took no part")
}

func TestOldDocumentsGo(t *testing.T) {
	w := newWorld(t, 1)
	w.until(begin.Add(40 * day))
	n := w.nodes[0]
	for name, want := range map[string]bool{
		firstDay + "-vote.gz": false, firstDay + ".gz": true, firstDay + ".gz.sig": true, "2026-12-28-vote.gz": true,
	} {
		if has := n.text(name) != nil; has != want {
			t.Errorf("%s is there: %v", name, has)
		}
	}
	records, err := filepath.Glob(filepath.Join(n.dir, "records", "*"))
	if err != nil || len(records) > 33 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	w := newWorld(t, 1)
	if _, err := authority.Open(w.nodes[0].config()); err == nil {
		t.Fatal("opened twice")
	}
	c := w.nodes[0].config()
	c.Identity = keys()[1]
	if _, err := authority.Open(c); !errors.Is(err, authority.ErrGroup) {
		t.Fatalf("opened with a key outside of the group: %v", err)
	}
}
