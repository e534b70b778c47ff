package path

import (
	"errors"
	"slices"
	"testing"

	"mixminion/directory"
	"mixminion/packet"
)

func toSURB(d *directory.Descriptor, n int) Request {
	req := Request{Kind: Reply, From: start, Until: end}
	for range n {
		req.SURBs = append(req.SURBs, &packet.SURB{Type: packet.TypeSwapFwdHost, Info: d.Node().AppendRoutingInfo(nil)})
	}
	return req
}

func inFamily(servers ...*directory.Descriptor) {
	for _, d := range servers {
		for _, relative := range servers {
			d.Family = append(d.Family, relative.Nickname)
		}
	}
}

func ipv6Only(d *directory.Descriptor) {
	d.Incoming.Protocols, d.Outgoing.Protocols = directory.MMTPProtocols(false, true), directory.MMTPProtocols(false, true)
}

func dualStack(d *directory.Descriptor) {
	d.Incoming.Protocols, d.Outgoing.Protocols = directory.MMTPProtocols(true, true), directory.MMTPProtocols(true, true)
}

// validPaths counts the ordered choices of four different servers that keep all rules, in the words of the descriptors.
func validPaths(servers []*directory.Descriptor, req Request) (n int) {
	var extend func(path []*directory.Descriptor)
	extend = func(path []*directory.Descriptor) {
		k := len(path)
		if k == 4 {
			if canExit(path[3], req) {
				n++
			}
			return
		}
		for _, d := range servers {
			if longer := append(path[:k:k], d); !repeats(longer) && !related(longer) &&
				(k > 0 || canBegin(d, req)) && (k == 0 || path[k-1].CanRelayTo(d)) {
				extend(longer)
			}
		}
	}
	extend(nil)
	return n
}

// Families and servers with IPv6 only leave fewer paths, and all of those are equally likely.
func TestDefaultWithFamiliesAndIPv6IsUniform(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s []*directory.Descriptor, req *Request)
	}{
		{"families", func(s []*directory.Descriptor, _ *Request) {
			inFamily(s[0], s[1])
			inFamily(s[2], s[3], s[4])
		}},
		{"one-sided families", func(s []*directory.Descriptor, _ *Request) {
			s[0].Family, s[1].Family, s[2].Family = []string{"b", "c"}, []string{"c"}, []string{"a"}
		}},
		{"IPv6", func(s []*directory.Descriptor, _ *Request) {
			dualStack(s[0])
			dualStack(s[4])
			ipv6Only(s[1])
			ipv6Only(s[5])
		}},
		{"both, and a user with IPv6 only", func(s []*directory.Descriptor, req *Request) {
			dualStack(s[0])
			dualStack(s[3])
			dualStack(s[4])
			ipv6Only(s[2])
			ipv6Only(s[6])
			inFamily(s[0], s[6])
			req.Links = directory.MMTPProtocols(false, true)
		}},
	} {
		servers, req := smallNet(), forward()
		c.change(servers, &req)
		want := validPaths(servers, req)
		paths, _ := sample(t, 120*want, servers, "", req)
		checkUniform(t, c.name, paths, want)
	}
}

// Random hops have no relatives among the servers that are named, nor where the path leads to.
func TestRandomHopsHaveNoRelatives(t *testing.T) {
	servers := testServers(7)
	inFamily(servers[0], servers[1], servers[2])
	req := forward()
	req.Count = 300
	for _, spec := range []string{"a,?:?,?", "?,b,?:?", "~3,c", "?:?,a"} {
		paths, warnings, err := Select(seeded(3), servers, mustParse(t, spec), req)
		if err != nil || anyPath(paths, related) || has(warnings, WarnFamily) {
			t.Errorf("%s: %v, warnings %v", spec, err, warnings)
		}
	}
	for _, spec := range []string{"", "?", "*3"} {
		var s Spec
		if spec != "" {
			s = mustParse(t, spec)
		}
		paths, warnings, err := Select(seeded(4), servers, s, toSURB(servers[0], 300))
		if err != nil || has(warnings, WarnFamily) {
			t.Errorf("%q: %v, %v", spec, err, warnings)
		}
		for _, p := range paths {
			if slices.ContainsFunc(p.Leg1, servers[0].SameFamily) {
				t.Fatalf("%q: %v leads to a reply block that begins at a", spec, p)
			}
		}
	}
	_, warnings, err := Select(seeded(5), servers, mustParse(t, "b,?,?,d"), toSURB(servers[0], 1))
	if err != nil || !has(warnings, WarnFamily) {
		t.Errorf("a named relative of the reply block's first hop: %v, %v", err, warnings)
	}
	inFamily(servers...)
	if _, _, err := Select(seeded(1), servers, Spec{}, forward()); !errors.Is(err, ErrNoPath) {
		t.Errorf("one operator for all: %v", err)
	}
	if paths, _, err := Select(seeded(1), servers, mustParse(t, "a,?:?,?"), forward()); err != nil || !repeatsOnly(paths[0], "a") {
		// Nothing but the named server is left, and it may be repeated.
		t.Errorf("one operator for all, beside a named server: %v, %v", paths, err)
	}
}

func repeatsOnly(p Path, name string) bool {
	return !slices.ContainsFunc(slices.Concat(p.Leg1, p.Leg2), func(d *directory.Descriptor) bool { return d.Nickname != name })
}

// A server without IPv4 comes behind servers that dial IPv6 only: inside of legs, where they meet, in front of a reply block; and
// first only for users who say that they have IPv6. No reply block begins there.
func TestIPv6OnlyServersFollowThoseThatDialIPv6(t *testing.T) {
	servers := testServers(6)
	dualStack(servers[0])
	ipv6Only(servers[1])
	check := func(spec string, req Request, want error) {
		t.Helper()
		if _, _, err := Select(seeded(1), servers, mustParse(t, spec), req); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", spec, err, want)
		}
	}
	withIPv6, surb := forward(), forward()
	withIPv6.Links = directory.MMTPProtocols(true, true)
	surb.Kind = SURB
	check("c,a,b:a,d", forward(), nil)
	check("c,a:b,a", forward(), nil)
	check("c,d:b,a", forward(), ErrRelay)
	check("c,b:a,d", forward(), ErrRelay)
	check("a,b:c,d", forward(), ErrRelay)
	check("b,a:c,d", forward(), ErrNotUsable)
	check("b,a:c,d", withIPv6, nil)
	check("b,a,c,d", surb, ErrNotUsable)
	surb.Links = withIPv6.Links
	check("b,a,c,d", surb, ErrNotUsable)
	check("c,d", toSURB(servers[1], 1), ErrRelay)
	check("c,a", toSURB(servers[1], 1), nil)

	paths, _, err := Select(seeded(2), servers, Spec{}, toSURB(servers[1], 200))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if p.Last().Nickname != "a" {
			t.Fatalf("%v leads to a server with IPv6 only", p)
		}
	}
	if _, _, err := Select(seeded(2), servers[2:], Spec{}, toSURB(servers[1], 1)); err != nil {
		t.Errorf("a reply block that begins at an unknown server: %v", err)
	}
}
