package authority

import (
	"regexp"
	"time"
)

const (
	day        = 24 * time.Hour
	dateLayout = time.DateOnly

	currentName = "current.gz"
	rawName     = "current-raw-servers.gz"
	uploadName  = "upload"
	sigSuffix   = ".sig"
	zipSuffix   = ".gz"
)

// Names of documents below the URL base (dir-spec 5.1), and three of ours: the signatures, the votes of others, and the second vote of
// somebody who signed two.
func consensusName(d time.Time) string { return d.Format(dateLayout) + zipSuffix }
func voteName(d time.Time) string      { return d.Format(dateLayout) + "-vote" + zipSuffix }
func copyName(d time.Time, fingerprint string) string {
	return d.Format(dateLayout) + "-vote-" + fingerprint + zipSuffix
}
func proofName(d time.Time, fingerprint string) string {
	return d.Format(dateLayout) + "-vote-" + fingerprint + "-2" + zipSuffix
}

var documentName = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})(-vote(-[0-9A-F]{40}(-2)?)?)?\.gz(\.sig)?$`)

// documentDay returns the day that a document is about, and whether it belongs to the voting.
func documentDay(name string) (d time.Time, vote, ok bool) {
	m := documentName.FindStringSubmatch(name)
	if m == nil {
		return time.Time{}, false, false
	}
	d, err := time.Parse(dateLayout, m[1])
	return d, m[2] != "", err == nil
}

func today(now time.Time) time.Time { return now.UTC().Truncate(day) }
