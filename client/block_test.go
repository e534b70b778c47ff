package client_test

import (
	"errors"
	"strings"
	"testing"

	"mixminion/client"
	"mixminion/internal/clock"
	"mixminion/packet"
	"mixminion/path"
)

// Random hops avoid the servers that the user blocks; those that he names are used with a warning.
func TestBlockedServers(t *testing.T) {
	const draws = 25
	open := func(o client.Options) *client.Client {
		t.Helper()
		o.Clock = clock.NewManual(noon)
		c, err := client.Open(t.TempDir(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := importTexts(t, c, descriptors(t)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open(client.Options{BlockServers: []string{"Alder"}, BlockEntries: []string{"birch"}, BlockExits: []string{"cedar"}})
	_, secret := identity(t, "", noon)
	drop, mail := parseAddress(t, "drop"), parseAddress(t, "bob@example.com")
	check := func(route string, first, last bool) {
		t.Helper()
		if strings.Contains(route, "alder") || first && strings.HasPrefix(route, "birch") || last && strings.HasSuffix(route, "cedar") {
			t.Errorf("route %s", route)
		}
	}
	for range draws {
		for _, to := range []client.Address{drop, mail} {
			p, err := c.Prepare(t.Context(), client.Message{To: to}, nil)
			if err != nil || p.Warnings != nil {
				t.Fatalf("warnings %v, error %v", p.Warnings, err)
			}
			check(p.Packets[0].Route, true, true)
		}
	}
	for _, s := range generate(t, c, draws, mail, secret, path.Spec{}, client.SURBLifetime) {
		p, _, err := c.PrepareReply(t.Context(), client.Reply{}, []*packet.SURB{s}, nil)
		if err != nil {
			t.Fatal(err)
		}
		check(p.Packets[0].Route, true, false)
		j := carry(t, p.Packets[0])
		check(strings.Join(j.route[path.DefaultHops:], ","), false, true)
	}

	p, err := c.Prepare(t.Context(), client.Message{To: mail, Path: parseSpec(t, "birch,alder:elm,cedar")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Packets[0].Route != "birch,alder:elm,cedar" || len(p.Warnings) != 3 {
		t.Errorf("route %s, warnings %v", p.Packets[0].Route, p.Warnings)
	}
	for _, w := range p.Warnings {
		if w.Code != path.WarnBlocked {
			t.Errorf("warning %v", w)
		}
	}
	for want, o := range map[error]client.Options{
		path.ErrTooFewServers: {BlockServers: serverNames[:3]},
		path.ErrNoExit:        {BlockExits: serverNames},
		path.ErrNoPath:        {BlockEntries: serverNames},
	} {
		if _, err := open(o).Prepare(t.Context(), client.Message{To: mail}, nil); !errors.Is(err, want) {
			t.Errorf("%+v: error %v, want %v", o, err, want)
		}
	}
}
