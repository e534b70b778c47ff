package path

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mixminion/directory"
)

func legacyOnly(d *directory.Descriptor) { d.Incoming.TLS, d.Outgoing.TLS = nil, nil }

func bothKinds(d *directory.Descriptor) {
	d.Incoming.TLS, d.Outgoing.TLS = directory.TLSVersions(true), directory.TLSVersions(true)
}

// A mix of series 0.0.8 is joined only with mixes that make, or take, its links; no path of a user begins there.
func TestMixesOf008FollowThoseThatReachThem(t *testing.T) {
	servers := testServers(7)
	legacyOnly(servers[0])
	legacyOnly(servers[1])
	bothKinds(servers[2])
	check := func(spec string, req Request, want error) {
		t.Helper()
		if _, _, err := Select(seeded(1), servers, mustParse(t, spec), req); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", spec, err, want)
		}
	}
	block := forward()
	block.Kind = SURB
	check("c,a:b,c", forward(), nil)
	check("d,c:a,c", forward(), nil)
	check("d,a:c,e", forward(), ErrRelay)
	check("d,c:a,e", forward(), ErrRelay)
	check("c,a:d,e", forward(), ErrRelay)
	check("d,c", toSURB(servers[0], 1), nil)
	check("c,d", toSURB(servers[0], 1), ErrRelay)
	check("a,c,d", block, nil)
	check("a,d,e", block, ErrRelay)

	for spec, req := range map[string]Request{
		"a,c,d": forward(), "a,?,?:?": forward(), "b:c": forward(), "b,c": toSURB(servers[2], 1), "a,?,?": toSURB(servers[2], 1),
	} {
		_, _, err := Select(seeded(1), servers, mustParse(t, spec), req)
		if !errors.Is(err, ErrNotUsable) || !strings.Contains(err.Error(), "no links of TLS 1.3") {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// Random paths, default or not, never begin at a mix of series 0.0.8, and go through it only beside mixes that have links with it.
func TestRandomPathsHeedTLS(t *testing.T) {
	servers := testServers(7)
	legacyOnly(servers[0])
	bothKinds(servers[1])
	bothKinds(servers[2])
	for _, kind := range []Kind{Forward, SURB, Reply} {
		for _, spec := range []string{"", "*4", "?,?,?", "~3"} {
			req := forward()
			if kind == Reply {
				req = toSURB(servers[1], 1)
				req.SURBs = nil
			}
			req.Kind, req.Count = kind, 200
			s := Spec{}
			if spec != "" {
				s = mustParse(t, spec)
			}
			paths, _, err := Select(seeded(3), servers, s, req)
			if err != nil {
				t.Fatalf("%q: %v", spec, err)
			}
			passes := 0
			for _, p := range paths {
				hops := append(append([]*directory.Descriptor(nil), p.Leg1...), p.Leg2...)
				for i, d := range hops {
					if d.Nickname != "a" {
						continue
					}
					passes++
					if i == 0 || !strings.Contains("abc", hops[i-1].Nickname) || i+1 < len(hops) && !strings.Contains("abc", hops[i+1].Nickname) {
						t.Fatalf("%v", p)
					}
				}
			}
			if passes == 0 {
				t.Errorf("%q: no path goes through the old mix", spec)
			}
		}
	}

	for _, d := range servers {
		legacyOnly(d)
	}
	if _, _, err := Select(seeded(4), servers, Spec{}, forward()); !errors.Is(err, ErrNoPath) || !strings.Contains(err.Error(), "0 of them as the first") {
		t.Errorf("in a network of 0.0.8 alone: %v", err)
	}
}

// A user whose program makes legacy links may name a mix of series 0.0.8 as the first hop, and is warned. Random paths begin there no more
// than before.
func TestLegacyEntryMustBeNamed(t *testing.T) {
	servers := testServers(7)
	legacyOnly(servers[0])
	bothKinds(servers[1])
	servers[2].Incoming.TLS = []string{"1.1"} // neither kind
	able := func(req Request) Request { req.LegacyLinks = true; return req }
	for _, c := range []struct {
		spec string
		req  Request
		want error
	}{
		{"a,b:d", able(forward()), nil},
		{"A,b:?", able(forward()), nil},
		{"a,b,?", able(toSURB(servers[3], 1)), nil},
		{"a,d:b", able(forward()), ErrRelay},
		{"c,b:d", able(forward()), ErrLegacyEntry},
		{"a,b:d", forward(), ErrLegacyEntry},
		{"a,b,?", toSURB(servers[3], 1), ErrLegacyEntry},
	} {
		paths, warnings, err := Select(seeded(1), servers, mustParse(t, c.spec), c.req)
		if !errors.Is(err, c.want) || errors.Is(c.want, ErrLegacyEntry) && !errors.Is(err, ErrNotUsable) {
			t.Errorf("%s: %v, want %v", c.spec, err, c.want)
		}
		if err == nil && (paths[0].First().Nickname != "a" || !warnsOf(warnings, WarnLegacy)) {
			t.Errorf("%s: %v, %v", c.spec, paths[0], warnings)
		}
	}
	for _, spec := range []string{"*4", "?,b:?", "~3", "?,a:b,?", "b,a:b,?"} {
		req := able(forward())
		req.Count = 100
		paths, warnings, err := Select(seeded(2), servers, mustParse(t, spec), req)
		if err != nil && !errors.Is(err, ErrNoPath) || warnsOf(warnings, WarnLegacy) {
			t.Errorf("%s: %v, %v", spec, warnings, err)
		}
		for _, p := range paths {
			if !p.First().AcceptsTLS13() {
				t.Fatalf("%s: %v", spec, p)
			}
		}
	}
	block := able(forward())
	block.Kind = SURB
	if _, warnings, err := Select(seeded(3), servers, mustParse(t, "a,b,d"), block); err != nil || warnsOf(warnings, WarnLegacy) {
		t.Errorf("a reply block: %v, %v", warnings, err)
	}
}

func warnsOf(list []Warning, code WarningCode) bool {
	return slices.ContainsFunc(list, func(w Warning) bool { return w.Code == code })
}
