package directory

import (
	"testing"

	"pgregory.net/rapid"
)

func TestCompareVersions(t *testing.T) {
	sorted := []string{"0.0.7.1", "0.0.8alpha2", "0.0.8alpha3", "0.0.8alpha10", "0.0.8beta1", "0.0.8rc1", "0.0.8", "0.0.8.1", "0.0.9alpha1",
		"0.0.10", "0.1-rc.1", "0.01", "0.1", "0.1.0", "1.0", "1.0-1", "2", "10"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := CompareVersions(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.StringMatching(`[0-9a-b.]{0,6}`)
		a, b, c := version.Draw(t, "a"), version.Draw(t, "b"), version.Draw(t, "c")
		if CompareVersions(a, b) != -CompareVersions(b, a) || (CompareVersions(a, b) == 0) != (a == b) {
			t.Fatal("not antisymmetric")
		}
		if CompareVersions(a, b) < 0 && CompareVersions(b, c) < 0 && CompareVersions(a, c) >= 0 {
			t.Fatal("not transitive")
		}
	})
}
