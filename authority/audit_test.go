package authority_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mixminion/authority"
	"mixminion/directory"
)

func (n *node) audit(group []directory.Voter) *authority.AuditReport {
	n.w.t.Helper()
	r, err := authority.Audit(n.dir, group)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return r
}

func TestAudit(t *testing.T) {
	w := newWorld(t, 3)
	n := w.nodes[0]
	if r := n.audit(w.group); !r.OK() || r.Consensuses != 0 {
		t.Errorf("before the first: %+v", r)
	}
	w.until(date("2026-11-25"))
	r := n.audit(w.group)
	if !r.OK() || r.Consensuses != 5 || len(r.Missing)+len(r.Notes) > 0 || !r.First.Equal(date(firstDay)) || !r.Last.Equal(date("2026-11-25")) {
		t.Errorf("%+v", r)
	}
	if other := w.nodes[1].audit(w.group); other.Head != r.Head || len(r.Head) != 64 {
		t.Errorf("heads %s and %s", r.Head, other.Head)
	}
	history := func(d string) string { return filepath.Join(n.dir, "history", d+".gz") }
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	third := read(history("2026-11-23"))
	third2 := read(history("2026-11-23") + ".sig")

	// Another consensus of that day, by two authorities that were robbed of their keys.
	text, err := authority.Decompress(third, authority.MaxDocument)
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.ParseDirectory(text)
	if err != nil {
		t.Fatal(err)
	}
	info := d.Info
	info.Recommended = nil
	body, err := directory.FormatDirectory(info, d.Servers)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := directory.SignDirectory(body, keys()[0], keys()[1])
	if err != nil {
		t.Fatal(err)
	}
	var sigs []directory.Detached
	for _, key := range keys()[:2] {
		s, err := directory.SignDetached(body, key)
		if err != nil {
			t.Fatal(err)
		}
		sigs = append(sigs, s)
	}
	sigText, err := directory.FormatDetached(sigs)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := authority.Compress(forged)
	if err != nil {
		t.Fatal(err)
	}
	write(history("2026-11-23"), zipped)
	write(history("2026-11-23")+".sig", sigText)
	if r := n.audit(w.group); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "2026-11-24 names another consensus before it than the one of 2026-11-23") {
		t.Errorf("forged: %q", r.Problems)
	}

	for what, data := range map[string][]byte{"garbage": []byte("x"), "another day": read(history("2026-11-24"))} {
		write(history("2026-11-23"), data)
		if r := n.audit(w.group); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "2026-11-23") {
			t.Errorf("%s: %q", what, r.Problems)
		}
	}

	for _, name := range []string{history("2026-11-23"), history("2026-11-23") + ".sig"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if r := n.audit(w.group); !r.OK() || !slices.Equal(r.Missing, []string{"2026-11-23"}) || len(r.Notes) != 1 {
		t.Errorf("missing: %+v", r)
	}
	write(history("2026-11-23"), third)
	write(history("2026-11-23")+".sig", third2)

	// The group has been changed since: the chain vouches for what was before. Without a majority for the last one nothing does.
	if r := n.audit(w.group[:1]); !r.OK() || len(r.Notes) != 0 {
		t.Errorf("smaller group: %+v", r)
	}
	changed := []directory.Voter{w.group[0], {Fingerprint: strings.Repeat("A", 40), URL: "http://a.example.com/"}, {Fingerprint: strings.Repeat("B", 40), URL: "http://b.example.com/"}}
	if r := n.audit(changed); len(r.Problems) != 1 || len(r.Notes) != 4 {
		t.Errorf("other group: %+v", r)
	}
}
