package path

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// A netModel is a network whose mixes fall into classes. Mixes of a class are alike, so counting classes instead of mixes gives exact
// probabilities. TestNetModel compares it with the real thing.
type netModel struct {
	size  []int    // how many mixes each class has
	entry []bool   // whether a path can begin there
	relay [][]bool // relay[a][b]: whether a mix of class a can pass packets on to one of class b
}

// The classes of ipv6Model.
const (
	only4   = iota // IPv4 in both directions
	dual           // both
	only6          // IPv6 in both directions
	classes        // how many
)

// ipv6Model is a network of users with IPv4.
func ipv6Model(n4, nDual, n6 int) netModel {
	return netModel{
		size: []int{n4, nDual, n6}, entry: []bool{true, true, false},
		relay: [][]bool{{true, true, false}, {true, true, true}, {false, true, true}},
	}
}

// each calls f for every sequence of DefaultHops classes along which a path is possible, with the number of such paths.
func (m netModel) each(f func(seq [DefaultHops]int, paths float64)) {
	var seq [DefaultHops]int
	left := append([]int(nil), m.size...)
	var extend func(i int, paths float64)
	extend = func(i int, paths float64) {
		if i == DefaultHops {
			f(seq, paths)
			return
		}
		for class, n := range left {
			if n == 0 || i == 0 && !m.entry[class] || i > 0 && !m.relay[seq[i-1]][class] {
				continue
			}
			seq[i] = class
			left[class]--
			extend(i+1, paths*float64(n))
			left[class]++
		}
	}
	extend(0, 1)
}

// total is how many paths there are.
func (m netModel) total() (n float64) {
	m.each(func(_ [DefaultHops]int, paths float64) { n += paths })
	return n
}

// links[a][b] is the probability that a packet which is seen on a link between two mixes goes from class a to class b.
func (m netModel) links() [][]float64 {
	p := make([][]float64, len(m.size))
	for i := range p {
		p[i] = make([]float64, len(m.size))
	}
	total := m.total()
	m.each(func(seq [DefaultHops]int, paths float64) {
		for i := range DefaultHops - 1 {
			p[seq[i]][seq[i+1]] += paths / total / (DefaultHops - 1)
		}
	})
	return p
}

// entropy of a mix whose class has the given weights, in bits; itself is the class of a mix that it cannot be, or -1.
func (m netModel) entropy(weights []float64, itself int) (h float64) {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	for class, w := range weights {
		mixes := m.size[class]
		if class == itself {
			mixes--
		}
		if w > 0 {
			h -= w / sum * math.Log2(w/sum/float64(mixes))
		}
	}
	return h
}

// next is what somebody who sees a packet leave a mix of class a does not know about where it goes, in bits.
func (m netModel) next(a int) float64 { return m.entropy(m.links()[a], a) }

// previous is what a mix of class b, or somebody who watches it, does not know about where a packet was before that.
func (m netModel) before(b int) float64 {
	weights := make([]float64, len(m.size))
	for a, row := range m.links() {
		weights[a] = row[b]
	}
	return m.entropy(weights, b)
}

// average is next, for a packet that is seen on any link.
func (m netModel) average() (h float64) {
	for a, row := range m.links() {
		p := 0.0
		for _, w := range row {
			p += w
		}
		if p > 0 {
			h += p * m.next(a)
		}
	}
	return h
}

// uses is the probability that a path goes through a certain mix of a class.
func (m netModel) uses(class int) (p float64) {
	total := m.total()
	m.each(func(seq [DefaultHops]int, paths float64) {
		for _, c := range seq {
			if c == class {
				p += paths / total / float64(m.size[class])
			}
		}
	})
	return p
}

// bothEnds is the probability that the first and the last hop are of the last class.
func (m netModel) bothEnds() (p float64) {
	his, total := len(m.size)-1, m.total()
	m.each(func(seq [DefaultHops]int, paths float64) {
		if seq[0] == his && seq[DefaultHops-1] == his {
			p += paths / total
		}
	})
	return p
}

// The counts agree with an enumeration of real descriptors, and so, by TestDefaultWithFamiliesAndIPv6IsUniform, with what Select does.
func TestNetModel(t *testing.T) {
	for _, size := range [][classes]int{{7, 0, 0}, {3, 4, 0}, {3, 3, 2}, {0, 4, 3}, {5, 1, 3}} {
		servers := testServers(size[only4] + size[dual] + size[only6])
		for i, d := range servers {
			switch {
			case i >= size[only4]+size[dual]:
				ipv6Only(d)
			case i >= size[only4]:
				dualStack(d)
			}
		}
		m := ipv6Model(size[only4], size[dual], size[only6])
		if want := validPaths(servers, forward()); m.total() != float64(want) {
			t.Errorf("%v: %v paths, want %d", size, m.total(), want)
		}
	}
	uniform := ipv6Model(30, 0, 0)
	if h := math.Log2(29); math.Abs(uniform.next(only4)-h) > 1e-9 || math.Abs(uniform.before(only4)-h) > 1e-9 || math.Abs(uniform.average()-h) > 1e-9 {
		t.Errorf("30 equal mixes: %v bits instead of %v", uniform.next(only4), h)
	}
	if p := uniform.uses(only4); math.Abs(p-4./30) > 1e-9 {
		t.Errorf("a mix of 30 is used with probability %v", p)
	}
}

// costTables are the numbers of docs/spec/ipv6.md.
func costTables() string {
	var b strings.Builder
	bits := func(h float64) string { return fmt.Sprintf("%.2f", h) }
	cell := func(m netModel, class int, f func(int) float64) string {
		if m.size[class] == 0 {
			return "-"
		}
		return bits(f(class))
	}
	percent := func(m netModel, class int) string {
		if m.size[class] == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f %%", 100*m.uses(class))
	}
	row := func(first string, m netModel) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", first, bits(math.Log2(m.total())), bits(m.average()),
			cell(m, only4, m.next), cell(m, dual, m.next), cell(m, only6, m.next), cell(m, only6, m.before),
			percent(m, only4), percent(m, dual), percent(m, only6))
	}
	const columns = " | path | next hop, mean | behind IPv4-only | behind dual | behind IPv6-only | before IPv6-only | " +
		"uses an IPv4-only | uses a dual | uses an IPv6-only |\n|---|---|---|---|---|---|---|---|---|---|\n"

	const all = 30
	b.WriteString("| IPv6-only, dual, IPv4-only" + columns)
	for n6 := range 16 {
		nDual := (all - n6) / 2
		row(fmt.Sprintf("%d, %d, %d", n6, nDual, all-n6-nDual), ipv6Model(all-n6-nDual, nDual, n6))
	}
	b.WriteString("\n| dual, beside 5 IPv6-only" + columns)
	for _, nDual := range []int{1, 2, 3, 5, 8, 12, 16, 20, 25} {
		row(fmt.Sprint(nDual), ipv6Model(all-5-nDual, nDual, 5))
	}

	b.WriteString("\n| his mixes of 30 | like all others | dual, beside 5 IPv6-only and 3 honest dual | only among themselves |\n|---|---|---|---|\n")
	for _, his := range []int{2, 3, 5, 8, 10, 12, 15} {
		honest := all - his
		alike := netModel{size: []int{honest, his}, entry: []bool{true, true}, relay: [][]bool{{true, true}, {true, true}}}
		m := ipv6Model(honest-5-3, 3, 5)
		scarce := netModel{size: append(m.size, his), entry: append(m.entry, true), relay: [][]bool{
			append(m.relay[only4], true), append(m.relay[dual], true), append(m.relay[only6], true), {true, true, true, true},
		}}
		apart := netModel{size: []int{honest, his}, entry: []bool{true, true}, relay: [][]bool{{true, false}, {false, true}}}
		fmt.Fprintf(&b, "| %d | %.2f %% | %.2f %% | %.2f %% |\n", his, 100*alike.bothEnds(), 100*scarce.bothEnds(), 100*apart.bothEnds())
	}
	return b.String()
}

// The tables in the document are what the program says.
func TestIPv6CostTables(t *testing.T) {
	text, err := os.ReadFile("../docs/spec/ipv6.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := costTables()
	t.Logf("\n%s", tables)
	for _, table := range strings.Split(tables, "\n\n") {
		if !strings.Contains(string(text), strings.TrimSpace(table)) {
			t.Errorf("docs/spec/ipv6.md does not hold this table:\n%s", table)
		}
	}
}
