package path

import (
	"math"
	"testing"
)

// chiSquare tests whether the counts come from equally likely cases: it returns the probability that chance makes them at least as
// uneven as they are.
func chiSquare(counts []int) float64 {
	total := 0
	for _, n := range counts {
		total += n
	}
	expected, sum := float64(total)/float64(len(counts)), 0.0
	for _, n := range counts {
		d := float64(n) - expected
		sum += d * d / expected
	}
	return upperGamma(float64(len(counts)-1)/2, sum/2)
}

// upperGamma is the regularised upper incomplete gamma function Q(a, x): by its power series where that converges quickly, otherwise by
// Lentz's evaluation of its continued fraction.
func upperGamma(a, x float64) float64 {
	if x <= 0 {
		return 1
	}
	lg, _ := math.Lgamma(a)
	front := math.Exp(-x + a*math.Log(x) - lg)
	if x < a+1 {
		term, sum := 1/a, 1/a
		for n := a + 1; term > sum*1e-15; n++ {
			term *= x / n
			sum += term
		}
		return 1 - front*sum
	}
	const tiny = 1e-300
	b := x + 1 - a
	c, d := 1/tiny, 1/b
	h := d
	for i := 1.0; i < 10000; i++ {
		an := -i * (i - a)
		b += 2
		d = an*d + b
		if math.Abs(d) < tiny {
			d = tiny
		}
		c = b + an/c
		if math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		h *= d * c
		if math.Abs(d*c-1) < 1e-15 {
			break
		}
	}
	return front * h
}

func TestUpperGamma(t *testing.T) {
	// The chi-square distribution's well-known critical values, and Q(1, x) = exp(-x).
	for _, c := range []struct{ df, x, want float64 }{
		{1, 3.841459, 0.05}, {1, 6.634897, 0.01}, {5, 11.070498, 0.05}, {10, 23.209251, 0.01}, {100, 124.342113, 0.05}, {30, 18.492661, 0.95},
		{2, 20, math.Exp(-10)}, {2, 60, math.Exp(-30)}, {2, 0.2, math.Exp(-0.1)},
	} {
		if got := upperGamma(c.df/2, c.x/2); math.Abs(got/c.want-1) > 1e-5 {
			t.Errorf("%v degrees of freedom, %v: %v, want %v", c.df, c.x, got, c.want)
		}
	}
}

// leastProbability is how unlikely a result may be before a test fails. Seeds are fixed, so that a test that passed once passes for ever.
const leastProbability = 1e-6

func checkUniform(t *testing.T, what string, counts map[string]int, cases int) {
	t.Helper()
	list := make([]int, 0, cases)
	for _, n := range counts {
		list = append(list, n)
	}
	if len(list) != cases {
		t.Fatalf("%s: %d different ones, want %d", what, len(list), cases)
	}
	if p := chiSquare(list); p < leastProbability {
		t.Errorf("%s are not equally likely: p = %g", what, p)
	}
}

// The normal distribution, cut into ten equally likely pieces.
func TestNormal(t *testing.T) {
	limits := []float64{-1.2815516, -0.8416212, -0.5244005, -0.2533471, 0, 0.2533471, 0.5244005, 0.8416212, 1.2815516}
	rnd, counts := seeded(2), make([]int, len(limits)+1)
	for range 100000 {
		z, err := normal(rnd)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for i < len(limits) && z > limits[i] {
			i++
		}
		counts[i]++
	}
	if p := chiSquare(counts); p < leastProbability {
		t.Errorf("p = %g, counts %v", p, counts)
	}
	extreme := &script{words: []uint64{0, 0}}
	if z, err := normal(extreme); err != nil || math.IsInf(z, 0) || math.IsNaN(z) {
		t.Errorf("the smallest number gives %v, %v", z, err)
	}
}
