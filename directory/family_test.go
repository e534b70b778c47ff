package directory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func manyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("mix-", i)
	}
	return names
}

// The entries for families and IPv6 are all that a descriptor with them has more than one without: programs that do not know them read
// the rest as before, and a server without them has the descriptor it always had.
func TestFamilyAndIPv6AreAdditions(t *testing.T) {
	identity, packetKey := keys(t)
	f := sampleFields(packetKey)
	f.Family = []string{"zoe", strings.Repeat("ab", 20), "Alice", "ZOE"}
	f.Incoming.Protocols = MMTPProtocols(true, true)
	f.Outgoing.Protocols = MMTPProtocols(false, true)
	text, err := SignDescriptor(identity, f)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := SignDescriptor(identity, sampleFields(packetKey))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(string(text), "\n")
	want := strings.Split(string(plain), "\n")
	for i, line := range want {
		switch {
		case strings.HasPrefix(line, "Digest: "), strings.HasPrefix(line, "Signature: "):
			want[i], got[i] = "", ""
		case line == "[Outgoing/MMTP]":
			want[i-1], want[i+2] = "Protocols: 0.3, 0.3-IPv6", "Protocols: 0.3-IPv6"
		}
	}
	for i, line := range want {
		if line == "[Incoming/MMTP]" {
			want = slices.Insert(want, i, "MyFamily: "+strings.Repeat("AB", 20)+", Alice, zoe")
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSameFamily(t *testing.T) {
	k, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	server := func(i int, name string, family ...string) *Descriptor {
		return &Descriptor{Fields: Fields{Nickname: name, Family: family}, Identity: &k[i].PublicKey}
	}
	a, b := server(0, "Anna"), server(1, "Bert")
	for name, c := range map[string]struct {
		first, second *Descriptor
		want          bool
	}{
		"neither":              {a, b, false},
		"one side":             {server(0, "Anna", "bert"), b, false},
		"the other side":       {a, server(1, "Bert", "anna"), false},
		"both, by nickname":    {server(0, "Anna", "x", "bert"), server(1, "Bert", "ANNA"), true},
		"both, by fingerprint": {server(0, "Anna", b.Fingerprint()), server(1, "Bert", a.Fingerprint()), true},
		"both, mixed":          {server(0, "Anna", b.Fingerprint()), server(1, "Bert", "anna", "y"), true},
		"both, a third one":    {server(0, "Anna", "carl"), server(1, "Bert", "carl"), false},
		"itself":               {server(0, "Anna", "anna"), server(0, "Anna", a.Fingerprint()), false},
	} {
		if got := c.first.SameFamily(c.second); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if got := c.second.SameFamily(c.first); got != c.want {
			t.Errorf("%s, the other way round: %v", name, got)
		}
	}
}

// Servers are joined when a link between them is possible: a server without IPv4 follows only one that dials IPv6.
func TestRelayOverIPv6(t *testing.T) {
	server := func(name string, in, out []string) *Descriptor {
		return &Descriptor{Fields: Fields{
			Nickname: name, Incoming: &Incoming{Protocols: in}, Outgoing: &Outgoing{Protocols: out},
		}}
	}
	v4, v6, both := MMTPProtocols(true, false), MMTPProtocols(false, true), MMTPProtocols(true, true)
	old, dual, dialer, only := server("old", v4, v4), server("dual", both, both), server("dialer", v4, both), server("only", v6, v6)
	for _, c := range []struct {
		from, to *Descriptor
		want     bool
	}{
		{old, old, true}, {old, dual, true}, {old, dialer, true}, {old, only, false},
		{dual, old, true}, {dual, dialer, true}, {dual, only, true},
		{dialer, old, true}, {dialer, dual, true}, {dialer, only, true},
		{only, old, false}, {only, dual, true}, {only, dialer, false}, {only, only, true},
	} {
		if got := c.from.CanRelayTo(c.to); got != c.want {
			t.Errorf("%s to %s: %v", c.from.Nickname, c.to.Nickname, got)
		}
	}
	for _, c := range []struct {
		to       *Descriptor
		from     []string
		accepted bool
	}{
		{old, nil, true}, {only, nil, false}, {dual, nil, true}, {only, v6, true}, {only, both, true}, {old, v6, false}, {dual, v6, true},
	} {
		if got := c.to.AcceptsConnections(c.from...); got != c.accepted {
			t.Errorf("%v to %s: %v", c.from, c.to.Nickname, got)
		}
	}
}

func FuzzParseFamily(f *testing.F) {
	for _, s := range []string{"", "a", "a,b", "a, " + strings.Repeat("0f", 20), ",", "a,,b", strings.Repeat("a,", 65) + "a", "\t", "a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		names, err := ParseFamily(s)
		if err != nil {
			return
		}
		if len(names) == 0 || len(names) > MaxFamily {
			t.Fatalf("%d names", len(names))
		}
		again, err := ParseFamily(formatList(names))
		if err != nil || !slices.Equal(again, names) {
			t.Fatalf("%q, then %q: %v", names, again, err)
		}
	})
}
