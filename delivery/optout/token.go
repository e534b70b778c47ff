package optout

import (
	"crypto/subtle"
	"encoding/base32"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mixminion/delivery/mail"
)

const (
	// tokenDays is how long a token is good: on the day that it was made and this many days after it.
	tokenDays = 7
	tokenLen  = 26 // characters; 16 bytes
)

var tokenCode = base32.StdEncoding.WithPadding(base32.NoPadding)

// token proves that somebody has read a mail to an address: it says nothing without the key, and is made anew whenever it is needed.
func token(key []byte, addr string, days int64) string {
	sum := hash(key, "challenge", strconv.FormatInt(days, 10)+" "+mail.Canonical(addr))
	return strings.ToLower(tokenCode.EncodeToString(sum[:16]))
}

func daysOf(t time.Time) int64 { return t.Unix() / int64(day/time.Second) }

// goodToken reports whether text is the token of an address that is not too old.
func goodToken(key []byte, addr, text string, now time.Time) bool {
	good := 0
	for back := int64(-1); back <= tokenDays; back++ { // -1: the clock was set back meanwhile
		good |= subtle.ConstantTimeCompare([]byte(token(key, addr, daysOf(now)-back)), []byte(strings.ToLower(text)))
	}
	return good == 1
}

// The subject of a challenge, as it comes back with "Re:" or the like in front. It names the address too, since people answer from
// another one than their mail was sent to.
var (
	subjectToken   = regexp.MustCompile(`\[([A-Za-z2-7]{26})\]`)
	subjectAddress = regexp.MustCompile(`[^\s<>()\[\],;:"]{1,254}@[^\s<>()\[\],;:"]{1,254}`)
)

// maxCandidates bounds how many addresses a token is tried with.
const maxCandidates = 4

// confirmed returns the address that a mail proves to own by the token in its subject.
func confirmed(key []byte, from, subject string, now time.Time) (addr string, ok bool) {
	t := subjectToken.FindStringSubmatch(subject)
	if t == nil {
		return "", false
	}
	for _, text := range append(subjectAddress.FindAllString(subject, maxCandidates), from) {
		addr, err := mail.ParseAddress([]byte(text))
		if err == nil && goodToken(key, addr, t[1], now) {
			return addr, true
		}
	}
	return "", false
}
