package directory

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"mixminion/internal/crypt"
)

// MaxFamily is how many servers a family entry may name.
const MaxFamily = 64

// ParseFamily reads the names of servers of one operator, separated by commas: the value of the entry MyFamily, which dir-spec does not
// have. A name is a nickname or a fingerprint, 40 hexadecimal digits, which come back in upper case; no nickname is that long.
func ParseFamily(s string) ([]string, error) {
	names, err := parseList(s)
	if err != nil {
		return nil, err
	}
	if len(names) > MaxFamily {
		return nil, fmt.Errorf("more than %d servers", MaxFamily)
	}
	for i, name := range names {
		switch {
		case isFingerprint(name):
			names[i] = strings.ToUpper(name)
		case !ValidNickname(name):
			return nil, fmt.Errorf("%s is neither a nickname nor a fingerprint of %d hexadecimal digits", quote(name), 2*crypt.HashLen)
		}
	}
	return names, nil
}

func isFingerprint(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == crypt.HashLen
}

// sortFamily brings a family into its canonical order, without repetitions, so that equal families have equal descriptors.
func sortFamily(names []string) []string {
	names = slices.Clone(names)
	for i, name := range names {
		if isFingerprint(name) {
			names[i] = strings.ToUpper(name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.CompactFunc(names, strings.EqualFold)
}

// SameFamily reports whether two different servers belong to one operator: each names the other in its family. One side alone does not
// count, or anybody could keep two servers of others from being used together. The relation is not transitive.
func (d *Descriptor) SameFamily(other *Descriptor) bool {
	return !d.SameServer(other) && d.claims(other) && other.claims(d)
}

func (d *Descriptor) claims(other *Descriptor) bool {
	if len(d.Family) == 0 {
		return false
	}
	fingerprint := other.Fingerprint()
	return slices.ContainsFunc(d.Family, func(name string) bool { return name == fingerprint || other.HasNickname(name) })
}
