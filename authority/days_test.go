package authority_test

import (
	"slices"
	"testing"
)

func TestThreeAuthoritiesAgree(t *testing.T) {
	w := newWorld(t, 3)
	w.nodes[1].source.listed = w.nodes[1].source.listed[:2]
	w.nodes[2].source.listed = w.nodes[2].source.listed[:2]
	w.nodes[0].source.against["bob"] = true
	w.until(date("2026-11-21"))
	c := w.wantCurrent("2026-11-21", 3)
	if got := names(c); !slices.Equal(got, []string{"alice", "bob"}) {
		t.Errorf("servers %v", got)
	}
	if !slices.Equal(c.Recommended, []string{"alice", "bob"}) {
		t.Errorf("recommended %v", c.Recommended)
	}
	if c.Previous != nil {
		t.Error("the first consensus names one before")
	}
	w.until(date("2026-11-22"))
	second := w.wantCurrent("2026-11-22", 3)
	if hash := c.BodyHash(); second.Previous == nil || *second.Previous != hash {
		t.Error("the second consensus does not name the first")
	}
	w.nodes[0].wantLog("consensus for 2026-11-21: reached, with the signatures of 3 of 3 authorities")
}
