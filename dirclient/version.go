package dirclient

import "mixminion/directory"

// Advice is what the authorities think of a version of this software.
type Advice int

// The kinds of advice.
const (
	VersionFine     Advice = iota // recommended, or the authorities say nothing of this software
	VersionObsolete               // not recommended, and a newer one is
	VersionNew                    // newer than all that are recommended
)

// CheckVersion looks a version of this software up in the list that a directory recommends (dir-spec 4.1). Versions of
// this software begin with 0.1.0, and those below are the first implementation's, which share the list: entries below
// 0.1.0, and such as are no versions, say nothing about this software, and a list of nothing else has no advice.
func CheckVersion(recommended []string, version string) Advice {
	known, newer := false, false
	for _, v := range recommended {
		if directory.CompareVersions(v, firstVersion) < 0 {
			continue
		}
		c := directory.CompareVersions(v, version)
		if c == 0 {
			return VersionFine
		}
		known, newer = true, newer || c > 0
	}
	switch {
	case newer:
		return VersionObsolete
	case known:
		return VersionNew
	}
	return VersionFine
}

// firstVersion is before all versions of this software and after those of the first implementation.
const firstVersion = "0.1alpha"
