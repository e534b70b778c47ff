package authority_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/authority"
	"mixminion/authority/inbox"
	"mixminion/directory"
)

// One member gives its vote to one other only, at the last moment for that one's clock, which is a little slow, when
// the third has already seen that all show the same.
func TestVoteAtTheLastMomentDividesNobody(t *testing.T) {
	for _, skew := range []time.Duration{-30 * time.Second, -90 * time.Second, -110 * time.Second} {
		t.Run(skew.String(), func(t *testing.T) {
			w := newWorld(t, 3)
			w.nodes[0].source.listed, w.nodes[1].source.listed = w.nodes[0].source.listed[:2], w.nodes[1].source.listed[:2] // the vote matters
			w.nodes[1].skew = skew
			w.fault = func(from, to *node, name string) ([]byte, error) {
				late := w.now.Add(skew).After(date(firstDay).Add(-47*time.Minute)) && !w.now.Before(date(firstDay).Add(-45*time.Minute))
				if to.index == 0 && name == firstDay+"-vote.gz" && (from.index != 1 || !late) {
					return nil, authority.ErrNotFound
				}
				return nil, nil
			}
			w.until(date(firstDay).Add(-time.Minute))
			one, two := w.nodes[1].text(firstDay+"-vote-"+w.nodes[0].fingerprint()+".gz"), w.nodes[2].text(firstDay+"-vote-"+w.nodes[0].fingerprint()+".gz")
			if (one == nil) != (two == nil) {
				t.Errorf("the vote is held by authority 1: %v, by authority 2: %v", one != nil, two != nil)
			}
			w.nodes[1].step()
			w.until(date(firstDay).Add(5 * time.Minute))
			w.wantCurrent(firstDay, 2)
		})
	}
}

// The group is divided, and a member signs what both parts have signed: with three members, both then have a majority.
func TestTwoConsensusesNameTheCulprit(t *testing.T) {
	w := newWorld(t, 3)
	w.until(date(firstDay))
	w.nodes[0].source.listed = w.nodes[0].source.listed[:2]
	w.fault = func(from, to *node, name string) ([]byte, error) {
		if w.now.Before(date(secondDay).Add(-35*time.Minute)) && from.index == 0 && strings.Contains(name, "-vote") && (to.index == 2 || strings.Contains(name, w.nodes[2].fingerprint())) {
			return nil, errUnreachable
		}
		if from.index != 0 && to.index == 0 && name == secondDay+".gz" {
			d, err := directory.ParseDirectory(to.text(name))
			if err != nil {
				return nil, err
			}
			signer, err := directory.NewSigner(d.Body(), keys()[2])
			return d.WithSigners(signer), err
		}
		return nil, nil
	}
	w.until(date(secondDay).Add(time.Hour))
	w.wantCurrent(secondDay, 2)
	w.nodes[1].wantLog("an authority has signed two different consensuses for one day", w.nodes[2].url+" ("+w.nodes[2].fingerprint()[:8]+") has signed two")
	if n := strings.Count(w.nodes[1].log.String(), "an authority has signed two different consensuses"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

// A clock that runs years ahead for a while must not make an authority forget, and then sign once more, what it has signed.
func TestClockFarAheadForgetsNothing(t *testing.T) {
	w := newWorld(t, 3)
	w.until(date(secondDay).Add(-90 * time.Minute))
	n := w.nodes[0]
	before := n.text(secondDay + "-vote.gz")
	if before == nil {
		t.Fatal("no vote")
	}
	if _, err := n.Step(context.Background(), w.now.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	n.source.listed = n.source.listed[:1] // so that a new vote would be another one
	n.restart()
	w.until(date(secondDay))
	if !bytes.Equal(n.text(secondDay+"-vote.gz"), before) {
		t.Error("there is another vote")
	}
	w.wantCurrent(secondDay, 3)
}

// Servers with very many long descriptors lose their own place only.
func TestVoteHasRoomForOthers(t *testing.T) {
	w := newWorld(t, 1)
	n := w.nodes[0]
	long := longDescriptors(t, 256)
	n.source.listed = append(slices.Clone(n.source.listed[:2]), long...)
	w.until(date(firstDay))
	c := w.wantCurrent(firstDay, 1)
	if got := fmt.Sprint(names(c)); got != "[alice bob]" {
		t.Errorf("the consensus lists %s", got)
	}
	n.wantLog("there is no room in the vote")
}

// longDescriptors gives descriptors of one server which have the greatest length.
func longDescriptors(t *testing.T, n int) []*directory.Descriptor {
	t.Helper()
	var out []*directory.Descriptor
	for i := range n {
		d := descriptor(t, 2, "carol", func(f *directory.Fields) {
			f.ValidAfter = begin.Truncate(day)
			f.ValidUntil = begin.Truncate(day).Add(time.Duration(60+i) * day)
			f.Published = begin.Add(-time.Hour - time.Duration(i)*time.Second)
			f.WhyInsecure, f.Secure = strings.Repeat("x", 60<<10), false
		})
		out = append(out, d)
	}
	return out
}

// Damaged files cost an authority its part in that day, at most, and never a second signature.
func TestDamagedFiles(t *testing.T) {
	for _, test := range []struct{ file, at string }{
		{firstDay + "-vote.gz", "23:10"}, {firstDay + "-vote-0.gz", "23:16"}, {firstDay + ".gz", "23:25"}, {firstDay + ".gz.sig", "23:25"},
	} {
		t.Run(test.file, func(t *testing.T) {
			w := newWorld(t, 3)
			at, err := time.Parse("2006-01-02 15:04", "2026-11-20 "+test.at)
			if err != nil {
				t.Fatal(err)
			}
			w.until(at)
			n := w.nodes[1]
			n.stop()
			file := filepath.Join(n.dir, "public", strings.Replace(test.file, "vote-0", "vote-"+w.nodes[0].fingerprint(), 1))
			if err := os.Truncate(file, 40); err != nil {
				t.Fatal(err)
			}
			n.source.listed = n.source.listed[:1] // so that what it would sign anew is another text
			n.start()
			w.until(date(firstDay).Add(time.Hour))
			w.wantCurrent(firstDay, 2)
			for _, other := range w.nodes {
				if strings.Contains(other.log.String(), "two different") || strings.Contains(other.log.String(), "fragmentation") {
					t.Errorf("authority %d saw two signatures", other.index)
				}
			}
			w.until(date(secondDay))
			w.wantCurrent(secondDay, 3)
		})
	}
}

// slowExchange takes the first lists of others for as long as it may.
type slowExchange struct{ done int }

func (e *slowExchange) RawList() ([]byte, error) { return authority.Compress([]byte("x")) }

func (e *slowExchange) AddRawList(ctx context.Context, _ io.Reader, _ string) (inbox.Summary, error) {
	if e.done < 2 {
		e.done++
		<-ctx.Done()
	}
	return inbox.Summary{}, ctx.Err()
}

// A list that is long to work through ends before the vote.
func TestSlowListDoesNotDelayTheVote(t *testing.T) {
	w := newWorld(t, 3)
	w.until(date(firstDay).Add(-time.Hour - time.Minute))
	n := w.nodes[0]
	n.stop()
	c, e := n.config(), &slowExchange{}
	c.Exchange = e
	w.fault = func(_, _ *node, name string) ([]byte, error) {
		if name == "current-raw-servers.gz" {
			return []byte("x"), nil
		}
		return nil, nil
	}
	w.now = date(firstDay).Add(-time.Hour - time.Millisecond)
	n.open(c)
	n.step()
	if e.done != 2 {
		t.Errorf("%d lists were looked at", e.done)
	}
	w.until(date(firstDay))
	w.wantCurrent(firstDay, 3)
}
