package authority_test

import (
	"testing"
	"time"

	"mixminion/authority"
)

// One member gives its vote to one other only, at the last moment for that one's clock, which is a little slow, when the third has already seen
// that all show the same.
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
