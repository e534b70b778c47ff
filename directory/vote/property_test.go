package vote

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

// pool makes votes of five authorities, good ones and every kind of bad ones, about servers with every kind of descriptor.
func pool(w *world, n int) []*directory.Directory {
	w.t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	var ds []descriptors // of one server each
	for s, name := range []string{"alpha", "bravo", "charlie", "delta"} {
		ds = append(ds, descriptors{
			w.descriptor(s, name, day(-9), -9, 20), w.descriptor(s, name, day(-3), -3, 25), w.descriptor(s, name, day(-1), 20, 50),
			w.descriptor(s, name, day(-50), -50, -20), w.descriptor(s, name, day(-2), 31, 61),
		})
	}
	ds[0] = append(ds[0], w.descriptor(0, "alpha", day(-9), -9, 20)) // the same with another signature
	aliases := descriptors{w.plain(3, "zulu"), w.plain(4, "alpha"), w.descriptor(4, "alpha", day(-2), 1, 40)}
	versions := []string{"0.0.7.1", "0.0.8alpha3", "0.0.8", "0.0.10", "0.1"}
	some := func(list []string) (out []string) {
		for _, s := range list {
			if rnd.IntN(3) > 0 {
				out = append(out, s)
			}
		}
		return out
	}
	previous := [][sha256.Size]byte{{1}, {2}}
	var votes []*directory.Directory
	for i := range n {
		var list descriptors
		for s, of := range ds {
			if rnd.IntN(5) == 0 || s == 0 && rnd.IntN(4) == 0 || s == 3 && rnd.IntN(3) == 0 {
				continue
			}
			for _, d := range of {
				same := slices.ContainsFunc(list, func(o *directory.Descriptor) bool { return o.Digest() == d.Digest() })
				if !same && rnd.IntN(2) == 0 {
					list = append(list, d)
				}
			}
		}
		for _, d := range aliases {
			if rnd.IntN(4) == 0 && !slices.ContainsFunc(list, d.Conflicts) {
				list = append(list, d)
			}
		}
		votes = append(votes, w.vote(i%len(w.keys), list, func(info *directory.Info) {
			info.Recommended = some([]string{"alpha", "bravo", "charlie", "delta", "nobody", "zulu"})
			info.ClientVersions, info.ServerVersions = some(versions), some(versions)
			if p := rnd.IntN(4); p > 0 {
				info.Previous = &previous[p/3]
			}
			switch rnd.IntN(12) {
			case 0:
				info.Status = directory.Consensus
			case 1:
				info.ValidAfter, info.ValidUntil = day(1), day(2)
			case 2:
				info.Voters = info.Voters[1:]
			}
		}))
	}
	// Signatures that are missing, double, wrong, or of a stranger.
	for i := range 4 {
		body := votes[i].Body()
		other := votes[(i+1)%len(w.keys)]
		for _, text := range [][]byte{body, slices.Concat(bytes.TrimSuffix(votes[i].Text(), body), other.Text()), signed(w, body)} {
			d, err := w.cache.ParseDirectory(text)
			if err != nil {
				w.t.Fatal(err)
			}
			votes = append(votes, d)
		}
	}
	return votes
}

func signed(w *world, body []byte) []byte {
	text, err := directory.SignDirectory(body, w.servers[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

func TestTabulateIsDeterministic(t *testing.T) {
	w := newWorld(t, 5)
	votes := pool(w, 40)
	outcomes := make(map[[sha256.Size]byte]bool)
	failures, equivocations := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var list []*directory.Directory
		for a := range w.keys { // most cast a vote
			if rapid.IntRange(0, 6).Draw(t, "present") > 0 {
				list = append(list, votes[a+len(w.keys)*rapid.IntRange(0, 7).Draw(t, "vote")])
			}
		}
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(votes)-1), 0, 3).Draw(t, "others") {
			list = append(list, votes[i])
		}
		one, err := Tabulate(day(0), w.group, list)
		mustBeRight(t, w, list, one, err)

		// The same votes in another order, some of them repeatedly, parsed again, the group in another order, and with holes.
		shuffled := rapid.Permutation(append(slices.Clone(list), nil)).Draw(t, "order")
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(shuffled)-1), 0, 5).Draw(t, "repeated") {
			again := shuffled[i]
			if again != nil {
				parsed, err := directory.ParseDirectory(again.Text())
				if err != nil {
					t.Fatal(err)
				}
				again = parsed
			}
			shuffled = append(shuffled, again)
		}
		group := rapid.Permutation(append(slices.Clone(w.group), w.group[0])).Draw(t, "group")
		two, err2 := Tabulate(day(0), group, shuffled)
		if !bytes.Equal(one.Body, two.Body) || (err == nil) != (err2 == nil) {
			t.Fatalf("order or repetition changes the consensus: %v, %v", err, err2)
		}
		if a, b := describe(one), describe(two); a != b {
			t.Fatalf("order or repetition changes the report:\n%s\n%s", a, b)
		}
		outcomes[sha256.Sum256(one.Body)] = true
		if err != nil {
			failures++
		}
		if len(one.Equivocators) > 0 {
			equivocations++
		}
	})
	t.Logf("%d different results, %d without a majority, %d with an equivocation", len(outcomes), failures, equivocations)
}

// describe tells all of a result but its body.
func describe(r *Result) string {
	var b strings.Builder
	for _, list := range [][]string{r.Counted, r.Missing, texts(r.Servers)} {
		b.WriteString(strings.Join(list, " ") + "\n")
	}
	for _, x := range r.Rejected {
		b.WriteString("rejected " + x.Fingerprint + ": " + x.Err.Error() + "\n")
	}
	for _, x := range r.Equivocators {
		b.WriteString("equivocator " + x.Fingerprint + string(x.Texts[0]) + string(x.Texts[1]) + "\n")
	}
	for _, x := range r.Excluded {
		b.WriteString("excluded " + x.Nickname + " " + x.Fingerprint + " " + string(x.Digest[:]) + ": " + x.Reason + "\n")
	}
	return b.String()
}

// mustBeRight compares a result with a plain reading of dir-spec 7.3.
func mustBeRight(t *rapid.T, w *world, votes []*directory.Directory, r *Result, err error) {
	bodies := make(map[string]map[[sha256.Size]byte]*directory.Directory)
	for _, d := range votes {
		if Check(d, day(0), w.group) == nil {
			fp := d.Signers[0].Fingerprint()
			if bodies[fp] == nil {
				bodies[fp] = make(map[[sha256.Size]byte]*directory.Directory)
			}
			bodies[fp][d.BodyHash()] = d
		}
	}
	var counted []*directory.Directory
	for _, of := range bodies {
		for _, d := range of {
			if len(of) == 1 {
				counted = append(counted, d)
			}
		}
	}
	if 2*len(counted) <= len(w.group) {
		if !errors.Is(err, ErrNoMajority) || r.Body != nil {
			t.Fatalf("%d votes of %d count, but %v", len(counted), len(w.group), err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.ParseDirectory(r.Body)
	if err != nil || d.Status != directory.Consensus || !slices.Equal(d.Voters, w.group) {
		t.Fatalf("the consensus is broken: %v", err)
	}
	in := func(holds func(*directory.Directory) bool) bool {
		n := 0
		for _, v := range counted {
			if holds(v) {
				n++
			}
		}
		return 2*n > len(w.group)
	}
	listed := make(map[crypt.Digest]bool) // which descriptors must be there
	for _, v := range counted {
		for _, s := range v.Servers {
			var all descriptors
			one := true
			for _, other := range counted {
				for _, o := range other.Servers {
					if o.SameServer(s) {
						all = append(all, o)
						one = one && o.HasNickname(s.Nickname)
					}
				}
			}
			listed[s.Digest()] = one && !s.Expired(day(0)) && !s.ValidAfter.After(day(30)) && !directory.Superseded(s, all, day(0)) &&
				in(func(o *directory.Directory) bool { return slices.ContainsFunc(o.Servers, s.SameServer) })
		}
	}
	for _, s := range d.Servers {
		if !listed[s.Digest()] {
			t.Fatalf("%s must not be there", s.Nickname)
		}
		delete(listed, s.Digest())
	}
	for _, missing := range listed {
		if missing {
			t.Fatal("a descriptor is missing")
		}
	}
	for _, name := range []string{"alpha", "bravo", "charlie", "delta", "nobody", "zulu"} {
		want := in(func(v *directory.Directory) bool { return slices.Contains(v.Recommended, name) }) &&
			slices.ContainsFunc(d.Servers, func(s *directory.Descriptor) bool { return s.HasNickname(name) })
		if slices.Contains(d.Recommended, name) != want {
			t.Fatalf("recommends %s: %v", name, !want)
		}
	}
}

func BenchmarkTabulate5x100(b *testing.B) {
	w := newWorld(b, 5)
	var list descriptors
	for i := range 100 {
		list = append(list, w.descriptor(i%6, "server"+string(rune('a'+i%6)), day(-1), i%29, 30+i/6))
	}
	var votes []*directory.Directory
	for a := range 5 {
		votes = append(votes, w.vote(a, list, nil))
	}
	for b.Loop() {
		if _, err := Tabulate(day(0), w.group, votes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck5VotesOf100(b *testing.B) {
	w := newWorld(b, 5)
	var list descriptors
	for i := range 100 {
		list = append(list, w.descriptor(i%6, "server"+string(rune('a'+i%6)), day(-1), i%29, 30+i/6))
	}
	var texts [][]byte
	for a := range 5 {
		texts = append(texts, w.text(a, list, nil))
	}
	for b.Loop() {
		var cache directory.Cache
		for _, text := range texts {
			if _, err := CheckVote(&cache, text, day(0), w.group); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func FuzzCheckVote(f *testing.F) {
	for _, name := range []string{"vote-0", "vote-1", "vote-2", "consensus-0"} {
		f.Add(readFile(f, name))
	}
	d, err := directory.ParseDirectory(readFile(f, "vote-0"))
	if err != nil {
		f.Fatal(err)
	}
	var cache directory.Cache
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := CheckVote(&cache, text, d.ValidAfter, d.Voters)
		if (v == nil) != (err != nil) || err != nil && !errors.Is(err, ErrVote) {
			t.Fatal(err)
		}
		parsed, err := cache.ParseDirectory(text)
		if err != nil {
			return
		}
		// Nobody signs what the fuzzer writes, but Tabulate must bear it.
		if _, err := Tabulate(parsed.ValidAfter, parsed.Voters, []*directory.Directory{parsed, nil, parsed}); err == nil {
			t.Fatal("one vote makes a consensus")
		}
	})
}
