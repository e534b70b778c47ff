package path

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mixminion/directory"
	"mixminion/packet"
)

// anyNet draws a network of up to eight servers, some of which cannot do everything.
var anyNet = rapid.Custom(func(t *rapid.T) []*directory.Descriptor {
	var out []*directory.Descriptor
	protocols := rapid.SampledFrom([][]string{{"0.3"}, {"0.3"}, {"0.3"}, {"0.1", "0.3"}, {"0.1"}, {"0.3-IPv6"}, {"0.3", "0.3-IPv6"}})
	versions := rapid.SampledFrom([][]string{{"1.3"}, {"1.3"}, {"1.3"}, {"1.3", "1.0"}, {"1.0"}, nil})
	families := rapid.SampledFrom([][]string{nil, nil, nil, {"A", "b"}, {"b", "c", "d"}, {"e", "F"}, {"a", "h"}})
	for i := range rapid.SampledFrom([]int{0, 3, 4, 5, 6, 7, 8, 8, 8}).Draw(t, "servers") {
		out = append(out, testServer(string(rune('a'+i)), func(d *directory.Descriptor) {
			d.Incoming.Protocols = protocols.Draw(t, "incoming")
			d.Outgoing.Protocols = protocols.Draw(t, "outgoing")
			d.Incoming.TLS = versions.Draw(t, "incoming TLS")
			d.Outgoing.TLS = versions.Draw(t, "outgoing TLS")
			d.Family = families.Draw(t, "family")
			switch rapid.IntRange(0, 11).Draw(t, "defect") {
			case 0:
				d.Incoming = nil
			case 1:
				d.Outgoing = nil
			case 2:
				d.SMTP = nil
			case 3:
				d.SMTP.AllowFrom = false
			case 4:
				d.SMTP.MaximumSize = 50
			case 5:
				d.Fragmented.MaximumFragments = 5
			case 6:
				d.Fragmented = nil
			case 7:
				d.ValidUntil = end.Add(-time.Second)
			case 9, 10:
				d.SMTP.MaximumRecipients = 3
			case 8:
				d.PacketVersions = []string{"0.9"}
			}
		}))
	}
	return out
})

var anyRequest = rapid.Custom(func(t *rapid.T) Request {
	names := rapid.SliceOfN(rapid.StringMatching(`[a-hA-H]`), 0, 2)
	req := Request{
		Kind: Kind(rapid.IntRange(int(Forward), int(SURB)).Draw(t, "kind")), From: start, Until: end,
		BlockServers: names.Draw(t, "blocked"), BlockEntries: names.Draw(t, "blocked entries"), BlockExits: names.Draw(t, "blocked exits"),
		Count: rapid.IntRange(0, 4).Draw(t, "count"),
		Links: rapid.SampledFrom([][]string{nil, nil, {"0.3"}, {"0.3-IPv6"}, {"0.3", "0.3-IPv6"}}).Draw(t, "links"),
	}
	if worst := names.Draw(t, "not recommended"); len(worst) > 0 {
		req.Recommended = func(d *directory.Descriptor) bool { return !d.HasNickname(worst[0]) }
	}
	if req.Kind != Reply {
		req.Exit = rapid.SampledFrom([]packet.RoutingType{packet.TypeSMTP, packet.TypeMBOX, packet.TypeDrop}).Draw(t, "exit")
		if req.Exit == packet.TypeSMTP && rapid.IntRange(0, 3).Draw(t, "several") == 0 {
			req.Recipients = rapid.IntRange(0, 4).Draw(t, "recipients")
		}
		req.InfoLen = rapid.IntRange(0, 50).Draw(t, "address")
	}
	if req.Kind == Forward {
		req.Size = rapid.IntRange(0, 110).Draw(t, "size") * 1024
		req.UsesFrom = rapid.Bool().Draw(t, "from")
		req.Fragments = rapid.SampledFrom([]int{0, 0, 3, 6}).Draw(t, "fragments")
	}
	return req
})

// satisfies is the definition in path-spec 3.2: whether the leg can be cut into one piece for each element.
func satisfies(leg []*directory.Descriptor, elements []Element) bool {
	if len(elements) == 0 {
		return len(leg) == 0
	}
	e, fits := elements[0], func(n int) bool { return n <= len(leg) && satisfies(leg[n:], elements[1:]) }
	switch e.Kind {
	case Named:
		return len(leg) > 0 && leg[0].HasNickname(e.Name) && fits(1)
	case File:
		return len(leg) > 0 && (leg[0].HasNickname(e.Name) || leg[0].HasNickname("filed")) && fits(1)
	case Random:
		return fits(1)
	case Count:
		return fits(e.N)
	}
	for n := 1; n <= len(leg); n++ {
		if fits(n) {
			return true
		}
	}
	return false
}

// checkPath fails unless the path is valid (path-spec 2.2).
func checkPath(t *rapid.T, p Path, req Request) []*directory.Descriptor {
	whole := append(append([]*directory.Descriptor(nil), p.Leg1...), p.Leg2...)
	if len(p.Leg1) == 0 || (req.Kind == Forward) != (len(p.Leg2) > 0) {
		t.Fatalf("%v: wrong legs", p)
	}
	for i, d := range whole {
		switch {
		case !d.ValidOver(req.From, req.Until):
			t.Fatalf("%v: %s is not valid all the time", p, d.Nickname)
		case d.Incoming == nil || !d.UnwrapsVersion(packet.Version) || i == 0 && !canBegin(d, req):
			t.Fatalf("%v: %s takes no such packets", p, d.Nickname)
		case i == 0 && req.Kind != SURB && !slices.Contains(d.Incoming.TLS, "1.3"):
			t.Fatalf("%v begins at a mix without TLS 1.3", p)
		case i > 0 && !whole[i-1].CanRelayTo(d):
			t.Fatalf("%v: cannot relay to %s", p, d.Nickname)
		}
	}
	if !canExit(whole[len(whole)-1], req) {
		t.Fatalf("%v: does not deliver", p)
	}
	return whole
}

// canBegin says in its own words which servers the sender, or for a reply block any mix, can reach.
func canBegin(d *directory.Descriptor, req Request) bool {
	links := req.Links
	if req.Kind == SURB || links == nil {
		links = []string{"0.3"}
	}
	return slices.ContainsFunc(links, func(l string) bool { return slices.Contains(d.Incoming.Protocols, l) })
}

// related reports whether two of the servers are of one family.
func related(ds []*directory.Descriptor) bool {
	for i, a := range ds {
		if slices.ContainsFunc(ds[:i], a.SameFamily) {
			return true
		}
	}
	return false
}

// canExit says in its own words what the last hop must be able to do (path-spec 2.4).
func canExit(d *directory.Descriptor, req Request) bool {
	ok := true
	if delivery, is := map[packet.RoutingType]*directory.Delivery{packet.TypeSMTP: d.SMTP, packet.TypeMBOX: d.MBOX}[req.Exit]; is {
		ok = delivery != nil && (req.Recipients < 2 || delivery.MaximumRecipients >= req.Recipients) && (!req.UsesFrom || delivery.AllowFrom) && req.Size <= delivery.MaximumSize*1024
	}
	if req.Fragments > 0 {
		ok = ok && d.Fragmented != nil && d.Fragmented.MaximumFragments >= req.Fragments
	}
	return ok
}

func isIn(name string, list []string) bool {
	for _, l := range list {
		if strings.EqualFold(l, name) {
			return true
		}
	}
	return false
}

func TestSpecifiedPathsAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		servers, req := anyNet.Draw(t, "servers"), anyRequest.Draw(t, "request")
		req.Lookup = func(string) (*directory.Descriptor, error) { return testServer("filed"), nil }
		spec := anySpec(req.Kind == Forward).Draw(t, "spec")
		paths, warnings, err := Select(seeded(rapid.Uint64().Draw(t, "seed")), servers, spec, req)
		if err != nil {
			if errors.Is(err, ErrRequest) || errors.Is(err, ErrSwap) || len(paths) > 0 {
				t.Fatal(err)
			}
			return
		}
		if len(paths) != max(req.Count, 1) {
			t.Fatalf("%d paths", len(paths))
		}
		for _, p := range paths {
			whole := checkPath(t, p, req)
			if spec.Split && !(satisfies(p.Leg1, spec.Leg1) && satisfies(p.Leg2, spec.Leg2)) || !spec.Split && !spec.isGaussian() && !satisfies(whole, spec.Leg1) {
				t.Fatalf("%v does not satisfy %v", p, spec)
			}
			if !spec.Split && req.Kind == Forward && len(p.Leg1) != (len(whole)+1)/2 {
				t.Fatalf("%v is not cut in the middle", p)
			}
			if req.Fragments > 0 && p.Last() != paths[0].Last() {
				t.Fatalf("%v: different last hops", paths)
			}
			if has(warnings, WarnFamily) != anyPath(paths, related) {
				t.Fatalf("%v: warnings %v", paths, warnings)
			}
			// A random hop has no relatives: whatever two servers have one operator, the specification names both.
			for i, a := range whole {
				if slices.ContainsFunc(whole[:i], a.SameFamily) && !names(spec, a) {
					t.Fatalf("%v: %s was chosen beside a relative", p, a.Nickname)
				}
			}
			if has(warnings, WarnShort) != anyPath(paths, func(ds []*directory.Descriptor) bool { return len(ds) < 4 }) ||
				has(warnings, WarnRepeat) != anyPath(paths, repeats) {
				t.Fatalf("%v: warnings %v", paths, warnings)
			}
		}
	})
}

func names(spec Spec, d *directory.Descriptor) bool {
	return slices.ContainsFunc(slices.Concat(spec.Leg1, spec.Leg2), func(e Element) bool {
		return (e.Kind == Named || e.Kind == File) && (d.HasNickname(e.Name) || d.HasNickname("filed"))
	})
}

func has(ws []Warning, code WarningCode) bool {
	for _, w := range ws {
		if w.Code == code {
			return true
		}
	}
	return false
}

func anyPath(paths []Path, is func([]*directory.Descriptor) bool) bool {
	for _, p := range paths {
		if is(append(append([]*directory.Descriptor(nil), p.Leg1...), p.Leg2...)) {
			return true
		}
	}
	return false
}

func repeats(ds []*directory.Descriptor) bool {
	seen := map[string]bool{}
	for _, d := range ds {
		if seen[d.Nickname] {
			return true
		}
		seen[d.Nickname] = true
	}
	return false
}

// The default finds a path if and only if one exists that is in order in every respect.
func TestDefaultPathsAreStrong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		servers, req := anyNet.Draw(t, "servers"), anyRequest.Draw(t, "request")
		paths, warnings, err := Select(seeded(rapid.Uint64().Draw(t, "seed")), servers, Spec{}, req)
		if exists := strongPathExists(servers, req); exists != (err == nil) {
			t.Fatalf("a path exists: %v, result: %v, %v", exists, paths, err)
		}
		if err != nil {
			return
		}
		for _, p := range paths {
			whole := checkPath(t, p, req)
			if len(whole) != 4 || repeats(whole) || related(whole) || req.Kind == Forward && len(p.Leg1) != 2 {
				t.Fatalf("%v: wrong form", p)
			}
			for i, d := range whole {
				if isIn(d.Nickname, req.BlockServers) || i == 0 && isIn(d.Nickname, req.BlockEntries) ||
					i == 3 && isIn(d.Nickname, req.BlockExits) || req.Recommended != nil && !req.Recommended(d) {
					t.Fatalf("%v: %s must not be there", p, d.Nickname)
				}
			}
		}
		if len(warnings) > 0 {
			t.Fatalf("warnings %v", warnings)
		}
	})
}

func strongPathExists(servers []*directory.Descriptor, req Request) bool {
	var try func(path []*directory.Descriptor) bool
	try = func(path []*directory.Descriptor) bool {
		n := len(path)
		if n == 4 {
			return canExit(path[3], req) && !isIn(path[3].Nickname, req.BlockExits)
		}
		for _, d := range servers {
			switch {
			case !d.ValidOver(req.From, req.Until), d.Incoming == nil, !d.UnwrapsVersion(packet.Version), isIn(d.Nickname, req.BlockServers),
				req.Recommended != nil && !req.Recommended(d),
				n == 0 && (!canBegin(d, req) || !slices.Contains(d.Incoming.TLS, "1.3") || isIn(d.Nickname, req.BlockEntries)),
				n > 0 && !path[n-1].CanRelayTo(d), repeats(append(path[:n:n], d)), related(append(path[:n:n], d)):
			default:
				if try(append(path[:n:n], d)) {
					return true
				}
			}
		}
		return false
	}
	return try(nil)
}

// Two users with the same list of servers choose from the same set: the order in which the servers stand, and descriptors that are not
// in force, make no difference. So nothing of how somebody came by the list shows in the choice.
func TestEqualListsGiveEqualChoices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		servers, req := anyNet.Draw(t, "servers"), anyRequest.Draw(t, "request")
		var spec Spec
		if rapid.Bool().Draw(t, "specified") {
			spec = anySpec(req.Kind == Forward).Draw(t, "spec")
			req.Lookup = func(string) (*directory.Descriptor, error) { return testServer("filed"), nil }
		}
		seed := rapid.Uint64().Draw(t, "seed")
		paths, _, err := Select(seeded(seed), servers, spec, req)

		other := rapid.Permutation(servers).Draw(t, "other order")
		for _, s := range servers[:rapid.IntRange(0, len(servers)).Draw(t, "old ones")] {
			other = append(other, testServer(s.Nickname, func(d *directory.Descriptor) {
				d.Published, d.ValidUntil = start.Add(-100*time.Hour), start.Add(-time.Hour)
			}))
		}
		again, _, againErr := Select(seeded(seed), other, spec, req)
		if (err == nil) != (againErr == nil) || len(paths) != len(again) {
			t.Fatalf("%v, %v; in another order %v, %v", paths, err, again, againErr)
		}
		for i := range paths {
			if paths[i].String() != again[i].String() {
				t.Fatalf("%v; in another order %v", paths, again)
			}
		}
	})
}

// Where enough servers exist, random hops differ from all others even in specifications with room for them only just.
func TestRandomHopsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(4, 12).Draw(t, "servers")
		spec := Spec{Leg1: []Element{{Kind: Count, N: n - 2}, {Kind: Named, Name: "b"}, {Kind: Random}}}
		paths, warnings, err := Select(seeded(rapid.Uint64().Draw(t, "seed")), testServers(n), spec, forward())
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%v, %v, %v", paths, warnings, err)
		}
		spec.Leg1[0].N *= 2
		paths, warnings, err = Select(seeded(rapid.Uint64().Draw(t, "seed")), testServers(n), spec, forward())
		if err != nil {
			if errors.Is(err, packet.ErrTooLong) {
				return
			}
			t.Fatal(err)
		}
		whole := append(append([]*directory.Descriptor(nil), paths[0].Leg1...), paths[0].Leg2...)
		for i := range whole[1:] {
			if whole[i] == whole[i+1] {
				t.Fatalf("%v: side by side", paths[0])
			}
		}
		if !has(warnings, WarnRepeat) {
			t.Fatal("repetition without a warning")
		}
	})
}
