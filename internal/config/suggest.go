package config

import "strings"

// nearest returns the candidate that a misspelt name most likely means, or "".
// fold is true when the two differ in nothing but capitals.
func nearest(name string, candidates []string) (best string, fold bool) {
	for _, c := range candidates {
		if strings.EqualFold(c, name) {
			return c, true
		}
	}
	limit := min(3, 1+len(name)/4)
	for _, c := range candidates {
		// The length difference is a lower bound; it also keeps a hostile
		// name of a megabyte from costing more than this comparison.
		if len(name)-len(c) > limit || len(c)-len(name) > limit {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d <= limit {
			best, limit = c, d-1
		}
	}
	return best, false
}

// distance is the Levenshtein distance of two ASCII strings.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
