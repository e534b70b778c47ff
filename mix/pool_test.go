package mix_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mixminion/mix"

	"pgregory.net/rapid"
)

// chiSquareLimit is what a chi-square statistic exceeds with a probability of about 1e-6 (Wilson and Hilferty's approximation).
func chiSquareLimit(freedom int) float64 {
	const z = 4.7534
	k := 2 / (9 * float64(freedom))
	return float64(freedom) * math.Pow(1-k+z*math.Sqrt(k), 3)
}

// evenly demands that counts look like draws from a uniform distribution.
func evenly(t *testing.T, what string, counts []int) {
	t.Helper()
	total := 0
	for _, c := range counts {
		total += c
	}
	want, chi2 := float64(total)/float64(len(counts)), 0.0
	for _, c := range counts {
		chi2 += (float64(c) - want) * (float64(c) - want) / want
	}
	if limit := chiSquareLimit(len(counts) - 1); chi2 > limit {
		t.Errorf("%s: chi-square is %.1f, above %.1f: %v", what, chi2, limit, counts)
	}
}

// pick demands that the indices are distinct and in range.
func pick(t interface {
	Helper()
	Fatalf(string, ...any)
}, rnd io.Reader, r mix.Rule, n int) []int {
	t.Helper()
	got, err := r.Pick(rnd, n)
	if err != nil {
		t.Fatalf("pick of %d: %v", n, err)
	}
	seen := map[int]bool{}
	for _, i := range got {
		if i < 0 || i >= n || seen[i] {
			t.Fatalf("pick of %d: %v", n, got)
		}
		seen[i] = true
	}
	return got
}

func TestTimedPicksAll(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{1})
	for _, n := range []int{0, 1, 2, 100} {
		if got := pick(t, rnd, mix.Rule{Algorithm: mix.Timed, MinSize: 50, Rate: 0.1}, n); len(got) != n {
			t.Errorf("%d of %d", len(got), n)
		}
	}
}

// minion-spec A.1: nothing leaves a pool that is not above its minimum; of others a fixed share, at least one packet, and never so many
// that the pool falls below the minimum.
func TestCottrellCounts(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{2})
	for _, c := range []struct {
		pool, min int
		rate      float64
		want      int
	}{
		{0, 0, 0.6, 0},
		{1, 0, 0.4, 1}, // at least one
		{1, 1, 1, 0},
		{4, 5, 0.6, 0},
		{5, 5, 0.6, 0},
		{6, 5, 0.6, 1}, // the minimum stays
		{10, 5, 0.6, 5},
		{12, 5, 0.6, 7},
		{13, 5, 0.6, 7}, // 7.8 is rounded down
		{20, 5, 0.6, 12},
		{17, 16, 0.4, 1},
		{26, 16, 0.4, 10},
		{27, 16, 0.4, 10},
		{100, 16, 0.4, 40},
		{100, 16, 1, 84},
		{50, 10, 0.001, 1},
		{100000, 16, 0.4, 40000},
	} {
		if got := pick(t, rnd, mix.Rule{Algorithm: mix.Cottrell, MinSize: c.min, Rate: c.rate}, c.pool); len(got) != c.want {
			t.Errorf("pool %d, minimum %d, rate %v: %d leave, want %d", c.pool, c.min, c.rate, len(got), c.want)
		}
	}
}

// The number that leaves a binomial pool has the mean and the variance of the binomial distribution.
func TestBinomialMoments(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{3})
	trials := 20000.0
	if underRace {
		trials = 2000
	}
	for _, c := range []struct {
		pool, min int
		rate      float64
		mean      int // per mix, as for Cottrell
	}{
		{40, 5, 0.6, 24},
		{100, 16, 0.4, 40},
		{60, 10, 0.001, 1},
	} {
		r := mix.Rule{Algorithm: mix.Binomial, MinSize: c.min, Rate: c.rate}
		sum, squares := 0.0, 0.0
		for range int(trials) {
			n := float64(len(pick(t, rnd, r, c.pool)))
			sum += n
			squares += n * n
		}
		p := float64(c.mean) / float64(c.pool)
		wantMean, wantVar := float64(c.mean), float64(c.pool)*p*(1-p)
		mean := sum / trials
		variance := squares/trials - mean*mean
		if math.Abs(mean-wantMean) > 5*math.Sqrt(wantVar/trials) {
			t.Errorf("%+v: mean %.3f, want %.3f", c, mean, wantMean)
		}
		// The fourth central moment of the distribution gives the error of the variance.
		fourth := wantVar * (1 + 3*float64(c.pool-2)*p*(1-p))
		if math.Abs(variance-wantVar) > 5*math.Sqrt((fourth-wantVar*wantVar)/trials) {
			t.Errorf("%+v: variance %.3f, want %.3f", c, variance, wantVar)
		}
	}
}

// Whatever the parameters, no more leave than a rule allows.
func TestPickKeepsTheMinimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var seed [32]byte
		copy(seed[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))
		r := mix.Rule{
			Algorithm: rapid.SampledFrom([]mix.Algorithm{mix.Binomial, mix.Cottrell}).Draw(t, "algorithm"),
			MinSize:   rapid.IntRange(0, 40).Draw(t, "minimum"),
			Rate:      rapid.Float64Range(0.001, 1).Draw(t, "rate"),
		}
		n := rapid.IntRange(0, 60).Draw(t, "pool")
		if got := pick(t, rand.NewChaCha8(seed), r, n); n-len(got) < min(n, r.MinSize) {
			t.Fatalf("%d of %d leave", len(got), n)
		}
	})
}

// At a rate of 1 every throw of the dice says "leave": only the cap protects the minimum.
func TestBinomialCap(t *testing.T) {
	r := mix.Rule{Algorithm: mix.Binomial, MinSize: 9, Rate: 1}
	rnd := rand.NewChaCha8([32]byte{4})
	most := 0
	for range 2000 {
		most = max(most, len(pick(t, rnd, r, 10)))
	}
	if most != 1 {
		t.Errorf("up to %d of 10 leave a pool that keeps 9", most)
	}
}

// Which packets leave, and in which order, tells nothing of where they stood in the pool.
func TestPickIsUniform(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{5})
	const pool, trials = 12, 20000
	for _, a := range []mix.Algorithm{mix.Binomial, mix.Cottrell, mix.Timed} {
		r := mix.Rule{Algorithm: a, MinSize: 3, Rate: 0.5}
		var first, last, picked [pool]int
		var orders [6]int
		for range trials {
			got := pick(t, rnd, r, pool)
			for _, i := range got {
				picked[i]++
			}
			if len(got) > 0 {
				first[got[0]]++
				last[got[len(got)-1]]++
			}
			if len(got) >= 3 {
				orders[order(got[:3])]++
			}
		}
		if a != mix.Timed {
			// Those that leave together exclude each other, which makes the counts more even than independent draws.
			evenly(t, a.String()+": picked", picked[:])
		}
		evenly(t, a.String()+": first", first[:])
		evenly(t, a.String()+": last", last[:])
		evenly(t, a.String()+": order", orders[:])
	}
}

// order numbers the order of three different numbers from 0 to 5.
func order(s []int) int {
	sorted := slices.Sorted(slices.Values(s))
	return 2*slices.Index(sorted, s[0]) + map[bool]int{true: 1}[s[1] > s[2]]
}

func TestPickDrySource(t *testing.T) {
	for _, a := range []mix.Algorithm{mix.Binomial, mix.Cottrell, mix.Timed} {
		r := mix.Rule{Algorithm: a, MinSize: 2, Rate: 0.5}
		full := strings.Repeat("mixed up", 40)
		failed := 0
		for n := range len(full) {
			got, err := r.Pick(strings.NewReader(full[:n]), 10)
			if err == nil {
				continue
			}
			failed++
			if got != nil || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%v with %d random bytes: %v, %v", a, n, got, err)
			}
		}
		// A shuffle of ten takes nine numbers of eight bytes, the dice ten more.
		want := 72
		if a == mix.Binomial {
			want = 152
		}
		if failed != want {
			t.Errorf("%v takes %d random bytes, want %d", a, failed, want)
		}
	}
}

func TestAlgorithmNames(t *testing.T) {
	got := fmt.Sprint(mix.Binomial, mix.Cottrell, mix.Timed, mix.Algorithm(9))
	if want := "BinomialCottrellMixPool CottrellMixPool TimedMixPool Algorithm(9)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func BenchmarkPick(b *testing.B) {
	rnd := rand.NewChaCha8([32]byte{6})
	r := mix.Rule{Algorithm: mix.Binomial, MinSize: 16, Rate: 0.4}
	for b.Loop() {
		if _, err := r.Pick(rnd, 10000); err != nil {
			b.Fatal(err)
		}
	}
}
