package uniform_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mixminion/internal/uniform"
)

func TestExp(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{9})
	const n = 100000
	sum, above := 0.0, 0
	for range n {
		x, err := uniform.Exp(rnd)
		if err != nil || x < 0 {
			t.Fatal(x, err)
		}
		sum += x
		if x > math.Ln2 {
			above++
		}
	}
	if mean := sum / n; math.Abs(mean-1) > 5/math.Sqrt(n) {
		t.Errorf("mean %v", mean)
	}
	if share := float64(above) / n; math.Abs(share-0.5) > 2.5/math.Sqrt(n) {
		t.Errorf("median: %v are above", share)
	}
	if x, err := uniform.Exp(bytes.NewReader(make([]byte, 16))); err != nil || math.Abs(x-128*math.Ln2) > 1e-9 {
		t.Error(x, err)
	}
	if _, err := uniform.Exp(strings.NewReader("short")); err == nil {
		t.Error("no error from a dry source")
	}
}
