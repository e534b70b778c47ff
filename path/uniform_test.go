package path

import (
	"math"
	"strings"
	"testing"

	"mixminion/directory"
	"mixminion/packet"
)

// smallNet has seven servers: a, b, c deliver mail, the others only relay.
func smallNet() []*directory.Descriptor {
	var out []*directory.Descriptor
	for _, name := range strings.Split("abcdefg", "") {
		d := testServer(name)
		if name > "c" {
			relayOnly(d)
		}
		out = append(out, d)
	}
	return out
}

// sample counts the paths that Select makes of a specification, and the servers at each of their positions.
func sample(t *testing.T, n int, servers []*directory.Descriptor, spec string, req Request) (paths map[string]int, positions []map[string]int) {
	t.Helper()
	var s Spec
	if spec != "" {
		s = mustParse(t, spec)
	}
	req.Count = n
	got, _, err := Select(seeded(uint64(n+len(spec))), servers, s, req)
	if err != nil {
		t.Fatal(err)
	}
	paths = make(map[string]int)
	for _, p := range got {
		paths[p.String()]++
		for i, d := range append(append([]*directory.Descriptor(nil), p.Leg1...), p.Leg2...) {
			if i == len(positions) {
				positions = append(positions, make(map[string]int))
			}
			positions[i][d.Nickname]++
		}
	}
	return paths, positions
}

func mustParse(t testing.TB, spec string) Spec {
	t.Helper()
	s, err := ParseSpec(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Without restrictions every server is equally likely everywhere.
func TestDefaultIsUniform(t *testing.T) {
	paths, positions := sample(t, 84000, testServers(7), "", forward())
	checkUniform(t, "paths", paths, 7*6*5*4)
	for i, p := range positions {
		checkUniform(t, "servers at "+string(rune('1'+i)), p, 7)
	}
}

// With restricted exits, the exit is uniform among those who can, and the others are uniform among the rest.
func TestDefaultWithFewExitsIsUniform(t *testing.T) {
	for _, kind := range []Kind{Forward, SURB} {
		req := forward()
		req.Kind = kind
		paths, positions := sample(t, 72000, smallNet(), "", req)
		checkUniform(t, "paths", paths, 3*6*5*4)
		checkUniform(t, "exits", positions[3], 3)
		for _, p := range positions[:3] {
			exits, others := map[string]int{}, map[string]int{}
			for name, n := range p {
				if name <= "c" {
					exits[name] = n
				} else {
					others[name] = n
				}
			}
			checkUniform(t, "those who deliver", exits, 3)
			checkUniform(t, "those who only relay", others, 4)
		}
	}
}

func TestReplyIsUniform(t *testing.T) {
	req := forward()
	req.Kind = Reply
	paths, _ := sample(t, 72000, smallNet(), "", req)
	checkUniform(t, "paths", paths, 7*6*5*4)
}

// When entries and exits are restricted and overlap, or some servers cannot relay, all paths that are left are still equally likely.
func TestRestrictedDefaultIsUniform(t *testing.T) {
	servers := smallNet()
	req := forward()
	req.BlockEntries = []string{"C", "e", "f", "g"} // left are a, b, d
	exitOnly(servers[2])                            // c is in no other place than the last
	want := 0
	for _, first := range "abd" {
		for _, last := range "abc" {
			if first != last {
				rest := 6 - 1 // without c and first
				if last != 'c' {
					rest--
				}
				want += rest * (rest - 1)
			}
		}
	}
	paths, _ := sample(t, 100*want, servers, "", req)
	checkUniform(t, "paths", paths, want)
}

// Random hops beside named ones are uniform among the servers that the specification leaves.
func TestSpecifiedPathIsUniform(t *testing.T) {
	for _, c := range []struct {
		spec  string
		exit  packet.RoutingType
		cases int
	}{
		{"?,d:?,?", packet.TypeSMTP, 3 * 5 * 4},
		{"*3:b", packet.TypeSMTP, 6 * 5 * 4},
		{"d,?:?,?", packet.TypeSMTP, 3 * 5 * 4},
		{"a,?:?", packet.TypeSMTP, 2 * 5},
		{"g:?", packet.TypeMBOX, 3},
		{"?,a,?:b,g", packet.TypeDrop, 4 * 3},
	} {
		req := forward()
		req.Exit = c.exit
		paths, _ := sample(t, 300*c.cases, smallNet(), c.spec, req)
		checkUniform(t, "paths of "+c.spec, paths, c.cases)
	}
}

// Fragments that one exit reassembles share it, and each exit is equally likely to be the one.
func TestSharedExit(t *testing.T) {
	rnd, counts := seeded(9), map[string]int{}
	req := forward()
	req.Fragments, req.Count = 3, 3
	for _, spec := range []Spec{{}, mustParse(t, "*2:~2"), mustParse(t, "~4")} {
		for range 1500 {
			paths, _, err := Select(rnd, smallNet(), spec, req)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range paths {
				if p.Last() != paths[0].Last() {
					t.Fatalf("%v: different last hops", paths)
				}
			}
			counts[paths[0].Last().Nickname]++
		}
	}
	checkUniform(t, "exits", counts, 3)
}

// The lengths of "~N" follow the rounded normal distribution; what falls below one hop counts as one.
func TestGaussianLengths(t *testing.T) {
	const n, mean = 50000, 3
	req := forward()
	req.Kind, req.Exit, req.Count = Reply, 0, n
	paths, _, err := Select(seeded(4), testServers(12), mustParse(t, "~3"), req)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]int{}
	for _, p := range paths {
		got[len(p.Leg1)]++
	}
	below := func(x float64) float64 { return 0.5 * math.Erfc(-(x-mean)/sigma/math.Sqrt2) }
	sum, df := 0.0, -1.0
	for length := 1; length <= 7; length++ {
		low, high := below(float64(length)-0.5), below(float64(length)+0.5)
		if length == 1 {
			low = 0
		}
		expected := n * (high - low)
		d := float64(got[length]) - expected
		sum, df = sum+d*d/expected, df+1
	}
	if p := upperGamma(df/2, sum/2); p < leastProbability {
		t.Errorf("p = %g, lengths %v", p, got)
	}
	if got[0] > 0 {
		t.Error("a path without hops")
	}
}
