package path

import (
	"errors"
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
