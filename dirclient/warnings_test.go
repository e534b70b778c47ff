package dirclient

import (
	"strings"
	"testing"
	"time"

	"mixminion/internal/testnet/testdir"
)

func TestWarnings(t *testing.T) {
	s := spec(t, today)
	s.Detached = []int{2, 0}
	gz, sig := publish(t, s)
	c, err := Judge(gz, sig, testdir.Authorities(3), today)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		now  time.Time
		list []string
		want string
	}{
		{today.Add(time.Hour), nil, ""},
		{today.Add(time.Hour), []string{"0.0.8", "0.1.0"}, ""},
		{tomorrow.Add(time.Hour), nil, "the directory is that of 2026-11-22 and ended 1 hour ago"},
		{tomorrow.Add(40 * time.Hour), nil, "ended 40 hours ago"},
		{tomorrow.Add(72 * time.Hour), nil, "ended 3 days ago"},
		{today, []string{"0.1.1"}, "no longer recommend version 0.1.0 of this program, but 0.1.1"},
		{today, []string{"0.1.0beta1"}, "version 0.1.0 of this program is newer"},
	} {
		got := strings.Join(c.Warnings(w.now, w.list, "0.1.0"), "\n")
		if (got == "") != (w.want == "") || !strings.Contains(got, w.want) {
			t.Errorf("%v, %v: %q", w.now, w.list, got)
		}
	}
	if got := c.MissingSigners(); len(got) != 1 || got[0] != testdir.Authorities(3)[1].Fingerprint {
		t.Error(got)
	}
}

func TestAuthorityList(t *testing.T) {
	if _, err := Builtin(); err != nil {
		t.Error(err)
	}
	id := strings.Repeat("0A", 20)
	list, err := parseAuthorities("# comment\n\n" + id + " http://a.example/ \r\n")
	if err != nil || len(list) != 1 || list[0].Fingerprint != id || list[0].URLs[0] != "http://a.example/" {
		t.Error(list, err)
	}
	for _, bad := range []string{id, id + " http://a", id[1:] + " http://a/", strings.ToLower(id) + " http://a/", id + " http://a/ x"} {
		if _, err := parseAuthorities("#\n" + bad); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
