package client_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/mmtp"
	"mixminion/path"
)

// Users with IPv4 begin their paths at servers with IPv4, all the same way, and those without it at servers with IPv6.
func TestFirstHopsByLink(t *testing.T) {
	both, only6 := directory.MMTPProtocols(true, true), directory.MMTPProtocols(false, true)
	servers := mixServers()
	var text []byte
	for i, s := range servers {
		text = append(text, s.descriptor(t, func(f *directory.Fields) {
			if i < 2 {
				f.Incoming.Protocols = only6
			}
			if i == 2 {
				f.Incoming.Protocols = both
			}
			f.Outgoing.Protocols = both
		})...)
	}
	firsts := func(o client.Options) map[string]bool {
		t.Helper()
		o.Clock = clock.NewManual(noon)
		c, err := client.Open(t.TempDir(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := importTexts(t, c, text); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for range 100 {
			p, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "drop")}, nil)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(p.Packets[0].Route, ",")
			seen[first] = true
		}
		return seen
	}
	for first := range firsts(client.Options{}) {
		if slices.Contains(serverNames[:2], first) {
			t.Errorf("a user with IPv4 begins at %s", first)
		}
	}
	for first := range firsts(client.Options{NoIPv4: true}) {
		if !slices.Contains(serverNames[:3], first) {
			t.Errorf("a user without IPv4 begins at %s", first)
		}
	}
}

// Servers whose descriptors name each other are not used together.
func TestFamiliesAreKeptApart(t *testing.T) {
	c, _ := newClient(t, descriptors(t, func(f *directory.Fields) {
		if slices.Contains(serverNames[:2], f.Nickname) {
			f.Family = serverNames[:2]
		}
	}))
	together := func(route string) bool {
		return strings.Contains(route, serverNames[0]) && strings.Contains(route, serverNames[1])
	}
	for range 50 {
		p, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "drop")}, nil)
		if err != nil || together(p.Packets[0].Route) {
			t.Fatalf("route %v, %v", p, err)
		}
	}
	spec := parseSpec(t, serverNames[0]+",?:"+serverNames[1]+",?")
	p, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "drop"), Path: spec}, nil)
	if err != nil || len(p.Warnings) != 1 || p.Warnings[0].Code != path.WarnFamily {
		t.Errorf("%v, %v", p, err)
	}
	all, _ := newClient(t, descriptors(t, func(f *directory.Fields) { f.Family = serverNames }))
	if _, err := all.Prepare(t.Context(), client.Message{To: parseAddress(t, "drop")}, nil); !errors.Is(err, path.ErrNoPath) {
		t.Errorf("one operator for all: %v", err)
	}
}

// In a network with mixes of series 0.0.8, which say nothing of TLS, no path begins at one by chance.
func TestNoPathBeginsAtAMixOf008(t *testing.T) {
	old, both := serverNames[0], serverNames[1:3]
	c, _ := newClient(t, descriptors(t, func(f *directory.Fields) {
		switch {
		case f.Nickname == old:
			f.Incoming.TLS, f.Outgoing.TLS = nil, nil
		case slices.Contains(both, f.Nickname):
			f.Incoming.TLS, f.Outgoing.TLS = directory.TLSVersions(true), directory.TLSVersions(true)
		}
	}))
	through := 0
	for range 100 {
		p, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "drop")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.Packets[0].Route, old) {
			t.Fatalf("a path begins at the old mix: %s", p.Packets[0].Route)
		}
		if strings.Contains(p.Packets[0].Route, old) {
			through++
		}
	}
	if through == 0 {
		t.Error("no path goes through the old mix")
	}
	named := path.ErrNotUsable
	if mmtp.LegacyAvailable {
		named = nil
	}
	for spec, want := range map[string]error{
		old + "," + both[0] + ":?": named, "?," + old + ":" + serverNames[4] + ",?": path.ErrRelay, both[0] + "," + old + ":" + both[1] + ",?": nil,
	} {
		if _, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "drop"), Path: parseSpec(t, spec)}, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", spec, err, want)
		}
	}
	if n, err := c.QueueLen(); err != nil || n > 0 {
		t.Errorf("queued: %v, %v", n, err)
	}
}
