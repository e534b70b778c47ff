package dirclient

import (
	"fmt"
	"strings"
	"time"

	"mixminion/directory"
)

// Warnings says what a user of this directory should know at now: that it is stale, and that the authorities advise against this version of
// the program, which recommended is their list about.
func (c *Consensus) Warnings(now time.Time, recommended []string, version string) []string {
	var list []string
	if f := c.Freshness(now); f == directory.Stale || f == directory.Expired {
		list = append(list, fmt.Sprintf("the directory is that of %s and ended %s ago; others may use a newer one",
			c.ValidAfter.Format(dayLayout), hours(now.Sub(c.ValidUntil))))
	}
	switch CheckVersion(recommended, version) {
	case VersionObsolete:
		list = append(list, fmt.Sprintf("the directory authorities no longer recommend version %s of this program, but %s; update it",
			version, strings.Join(recommended, ", ")))
	case VersionNew:
		list = append(list, fmt.Sprintf("version %s of this program is newer than what the directory authorities recommend: %s",
			version, strings.Join(recommended, ", ")))
	}
	return list
}

// hours gives a time in hours, up to two days, or in days.
func hours(d time.Duration) string {
	n, unit := int(d/time.Hour), "hour"
	if n >= 48 {
		n, unit = n/24, "day"
	}
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// MissingSigners are the fingerprints of trusted authorities that have not signed the directory in both ways.
func (c *Consensus) MissingSigners() []string {
	var list []string
	for _, s := range c.Quorum.Standings {
		if !s.Signed || !s.Detached {
			list = append(list, s.Fingerprint)
		}
	}
	return list
}
