package directory

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

const (
	dateLayout = "2006-01-02"
	timeLayout = "2006-01-02 15:04:05"
)

var (
	errDate    = errors.New("not a date of the form YYYY-MM-DD")
	errTime    = errors.New("not a time of the form YYYY-MM-DD HH:MM:SS")
	errBoolean = errors.New("neither yes nor no")
	errNumber  = errors.New("not a decimal number in range")
	errBase64  = errors.New("not base64")
	errList    = errors.New("not a list separated by commas")
)

// hasShape reports whether s has a digit wherever shape has a 0 and otherwise the same characters. It is there because
// time.Parse alone would take more than the specification allows.
func hasShape(s, shape string) bool {
	if len(s) != len(shape) {
		return false
	}
	for i := range len(s) {
		if shape[i] == '0' && !isDigit(s[i]) || shape[i] != '0' && s[i] != shape[i] {
			return false
		}
	}
	return true
}

// parseDate reads a date (dir-spec 2.4), also in the old style with slashes, as midnight UTC.
func parseDate(s string) (time.Time, error) {
	if hasShape(s, "0000/00/00") {
		s = strings.ReplaceAll(s, "/", "-")
	}
	if !hasShape(s, "0000-00-00") {
		return time.Time{}, errDate
	}
	t, err := time.Parse(dateLayout, s)
	if err != nil {
		return time.Time{}, errDate
	}
	return t, nil
}

// parseTime reads a time (dir-spec 2.4) and drops fractions of a second.
func parseTime(s string) (time.Time, error) {
	if len(s) > 10 && hasShape(s[:10], "0000/00/00") {
		s = strings.ReplaceAll(s[:10], "/", "-") + s[10:]
	}
	whole, fraction, hasFraction := strings.Cut(s, ".")
	if hasFraction && !hasShape(fraction, "000") && !hasShape(fraction, "0000") || !hasShape(whole, "0000-00-00 00:00:00") {
		return time.Time{}, errTime
	}
	t, err := time.Parse(timeLayout, whole)
	if err != nil {
		return time.Time{}, errTime
	}
	return t, nil
}

func parseBoolean(s string) (bool, error) {
	switch s {
	case "yes":
		return true, nil
	case "no":
		return false, nil
	}
	return false, errBoolean
}

func formatBoolean(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// parseNumber reads a decimal number between low and high. It takes no sign and no blanks.
func parseNumber(s string, low, high int) (int, error) {
	for _, c := range []byte(s) {
		if !isDigit(c) {
			return 0, errNumber
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, errNumber
	}
	return n, nil
}

// parseList reads a list separated by commas. No item may be empty or contain blanks.
func parseList(s string) ([]string, error) {
	items := strings.Split(s, ",")
	for i, item := range items {
		items[i] = strings.Trim(item, blanks)
		if items[i] == "" || strings.ContainsAny(items[i], blanks) {
			return nil, errList
		}
	}
	return items, nil
}

func formatList(items []string) string { return strings.Join(items, ", ") }

func decodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errBase64
	}
	return b, nil
}

func encodeBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
