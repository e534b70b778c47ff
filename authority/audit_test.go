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
	// forge makes another consensus of a day, by two authorities.
	forge := func(day string, change func(*directory.Info)) (gz, sig []byte) {
		text, err := authority.Decompress(read(history(day)), authority.MaxDocument)
		if err != nil {
			t.Fatal(err)
		}
		d, err := directory.ParseDirectory(text)
		if err != nil {
			t.Fatal(err)
		}
		info := d.Info
		change(&info)
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
		if sig, err = directory.FormatDetached(sigs); err != nil {
			t.Fatal(err)
		}
		if gz, err = authority.Compress(forged); err != nil {
			t.Fatal(err)
		}
		return gz, sig
	}
	third := read(history("2026-11-23"))
	third2 := read(history("2026-11-23") + ".sig")
	changed := []directory.Voter{w.group[0], {Fingerprint: strings.Repeat("A", 40), URL: "http://a.example.com/"}, {Fingerprint: strings.Repeat("B", 40), URL: "http://b.example.com/"}}

	// The last one names that of the 23rd, since that of the 24th came when two had voted.
	last, last2 := read(history("2026-11-25")), read(history("2026-11-25")+".sig")
	gz, sig := forge("2026-11-25", func(info *directory.Info) {
		text, err := authority.Decompress(third, authority.MaxDocument)
		if err != nil {
			t.Fatal(err)
		}
		before, err := directory.ParseDirectory(text)
		if err != nil {
			t.Fatal(err)
		}
		hash := before.BodyHash()
		info.Previous = &hash
	})
	write(history("2026-11-25"), gz)
	write(history("2026-11-25")+".sig", sig)
	if r := n.audit(w.group); !r.OK() || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "that of 2026-11-24 came late") {
		t.Errorf("late: %+v", r)
	}
	if r := n.audit(changed); len(r.Problems) != 1 || !slices.ContainsFunc(r.Notes, func(s string) bool {
		return strings.Contains(s, "2026-11-24 was made by another group, and none that is kept vouches for it")
	}) {
		t.Errorf("late, other group: %+v", r)
	}
	write(history("2026-11-25"), last)
	write(history("2026-11-25")+".sig", last2)

	// Another consensus of that day, by two authorities that were robbed of their keys.
	gz, sig = forge("2026-11-23", func(info *directory.Info) { info.Recommended = nil })
	write(history("2026-11-23"), gz)
	write(history("2026-11-23")+".sig", sig)
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
	if r := n.audit(changed); len(r.Problems) != 1 || len(r.Notes) != 4 {
		t.Errorf("other group: %+v", r)
	}
}
