package uniform_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mixminion/internal/uniform"
)

func TestInt(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{1})
	const n, draws = 7, 70000
	var count [n]int
	for range draws {
		v, err := uniform.Int(rnd, n)
		if err != nil || v < 0 || v >= n {
			t.Fatalf("%d, %v", v, err)
		}
		count[v]++
	}
	chi2 := 0.0
	for _, c := range count {
		d := float64(c) - draws/n
		chi2 += d * d / (draws / n)
	}
	// Six degrees of freedom: 38.3 is exceeded once in a million.
	if chi2 > 38.3 {
		t.Errorf("chi-square %v: %v", chi2, count)
	}
	for _, bad := range []int{0, -1, math.MinInt} {
		if _, err := uniform.Int(rnd, bad); err == nil {
			t.Errorf("%d accepted", bad)
		}
	}
}

// TestIntDrawsAgain: a draw that would favour small results is not used.
func TestIntDrawsAgain(t *testing.T) {
	src := append(bytes.Repeat([]byte{0xff}, 8), 0, 0, 0, 0, 0, 0, 0, 9)
	if v, err := uniform.Int(bytes.NewReader(src), 10); v != 9 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	if _, err := uniform.Int(bytes.NewReader(src[:12]), 10); err == nil {
		t.Error("a dry source goes unnoticed")
	}
}

func TestShuffle(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{2})
	seen := map[string]int{}
	const draws = 24000
	for range draws {
		s := []int{0, 1, 2, 3}
		if err := uniform.ShuffleSlice(rnd, s); err != nil {
			t.Fatal(err)
		}
		seen[fmt.Sprint(s)]++
	}
	chi2 := 0.0
	for _, c := range seen {
		d := float64(c) - draws/24
		chi2 += d * d / (draws / 24)
	}
	// 23 degrees of freedom: 70 is exceeded about once in a million.
	if len(seen) != 24 || chi2 > 70 {
		t.Errorf("%d orders, chi-square %v", len(seen), chi2)
	}
	if err := uniform.ShuffleSlice(bytes.NewReader(nil), []int{1, 2}); err == nil {
		t.Error("a dry source goes unnoticed")
	}
}

func TestFloat(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{3})
	sum := 0.0
	for range 10000 {
		f, err := uniform.Float(rnd)
		if err != nil || f < 0 || f >= 1 {
			t.Fatal(f, err)
		}
		sum += f
	}
	if math.Abs(sum/10000-0.5) > 0.02 {
		t.Errorf("mean %v", sum/10000)
	}
}
