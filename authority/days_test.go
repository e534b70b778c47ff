package authority_test

import (
	"bytes"
	"slices"
	"testing"

	"mixminion/directory"
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

// A server has signed one descriptor twice, with two signatures, and given each authority another text. They agree all the same.
func TestOneDescriptorWithSeveralSignatures(t *testing.T) {
	w := newWorld(t, 3)
	var first []byte
	for _, n := range w.nodes {
		d := descriptor(t, 0, "alice", nil)
		n.source.listed = []*directory.Descriptor{d}
		if first == nil || bytes.Compare(d.Text(), first) < 0 {
			first = d.Text()
		}
	}
	if bytes.Equal(w.nodes[0].source.listed[0].Text(), w.nodes[1].source.listed[0].Text()) ||
		w.nodes[0].source.listed[0].Digest() != w.nodes[1].source.listed[0].Digest() {
		t.Fatal("these are no such descriptors")
	}
	w.until(date(firstDay))
	c := w.wantCurrent(firstDay, 3)
	if len(c.Servers) != 1 || !bytes.Equal(c.Servers[0].Text(), first) {
		t.Errorf("%d servers, or not the text that comes first", len(c.Servers))
	}
}
