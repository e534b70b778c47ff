package optout

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mixminion/delivery/mail"
	"mixminion/internal/config"
	"mixminion/internal/store/durable"
)

const (
	// DefaultPerDay is how many mails a desk sends in a day at most.
	DefaultPerDay = 200
	// MaxPerDay bounds the file that counts them.
	MaxPerDay = config.MaxOptOutPerDay
	// perAddress and perDomain are how many of them go to one mailbox, and to the mailboxes of one domain: a share, so that
	// a flood of requests in the name of one domain leaves something for the others.
	perAddress  = 2
	domainShare = 4 // one part in so many

	todayHead = "mixminion opt-out counts 1 "
	sumLen    = 16
	todayKey  = 16
)

// mayChallenge counts a mail to an address and reports whether it may be sent. What is written down is the day, a key of that day, and
// for each mail a short keyed hash of its mailbox and one of its domain; see ForgetCounts. The number for all grows with the hours, so
// that a flood at midnight does not use up the day. The directory is locked.
func (l *List) mayChallenge(addr string, perDay int) (bool, error) {
	now := l.now().UTC()
	days := daysOf(now)
	file := filepath.Join(l.dir, todayFile)
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read the counts of the opt-out desk: %w", err)
	}
	key, sums, ok := parseToday(text, days)
	if !ok {
		if text != nil {
			if err := l.destroy(file); err != nil {
				return false, err
			}
		}
		key, sums = make([]byte, todayKey), nil
		rand.Read(key)
	}
	canonical := mail.Canonical(addr)
	_, domain, _ := strings.Cut(canonical, "@")
	who, where := hash(key, "mailbox", canonical)[:sumLen], hash(key, "domain", domain)[:sumLen]
	sent, toAddress, toDomain := 0, 0, 0
	for s := sums; len(s) > 0; s = s[2*sumLen:] {
		sent++
		if bytes.Equal(s[:sumLen], who) {
			toAddress++
		}
		if bytes.Equal(s[sumLen:2*sumLen], where) {
			toDomain++
		}
	}
	soFar := (perDay*(now.Hour()+1) + 23) / 24
	if sent >= soFar || toAddress >= perAddress || toDomain >= (perDay+domainShare-1)/domainShare {
		return false, nil
	}
	sums = append(append(sums, who...), where...)
	if err := l.write(todayFile, formatToday(key, sums, days)); err != nil {
		return false, fmt.Errorf("write the counts of the opt-out desk: %w", err)
	}
	return true, nil
}

// ForgetCounts destroys the counts of a day that is over, with the key under which they are kept. Whoever runs for days
// calls it now and then.
func (l *List) ForgetCounts(ctx context.Context) (err error) {
	if over, err := l.oldCounts(); len(over) == 0 {
		return err // without the lock, which would make the directory
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	over, err := l.oldCounts()
	if len(over) == 0 {
		return err
	}
	return errors.Join(err, l.destroy(over...))
}

// oldCounts returns the files with counts of a day that is over, and those that a crash left behind; without the lock, perhaps also one
// that is being written.
func (l *List) oldCounts() ([]string, error) {
	over, err := filepath.Glob(filepath.Join(l.dir, "."+todayFile+".*.tmp")) // see durable.WriteFile
	if err != nil {
		return nil, err
	}
	file := filepath.Join(l.dir, todayFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return over, nil
	}
	if err != nil {
		return over, fmt.Errorf("read the counts of the opt-out desk: %w", err)
	}
	if _, _, today := parseToday(text, daysOf(l.now())); !today {
		over = append(over, file)
	}
	return over, nil
}

// destroy overwrites and removes files of counts. The directory is locked.
func (l *List) destroy(files ...string) error {
	var errs []error
	for _, name := range files {
		errs = append(errs, durable.Overwrite(name), os.Remove(name))
	}
	if err := errors.Join(append(errs, l.blurTimes())...); err != nil {
		return fmt.Errorf("remove the counts of the opt-out desk: %w", err)
	}
	return nil
}

func formatToday(key, sums []byte, days int64) []byte {
	date := time.Unix(days*int64(day/time.Second), 0).UTC().Format(time.DateOnly)
	out := fmt.Appendf(nil, "%s%s %x\n", todayHead, date, key)
	for s := sums; len(s) > 0; s = s[2*sumLen:] {
		out = append(hex.AppendEncode(out, s[:2*sumLen]), '\n')
	}
	return out
}

// parseToday reads the counts of a day; false if they are of another day or damaged, which loses nothing but counts.
func parseToday(text []byte, days int64) (key, sums []byte, ok bool) {
	head, rest, ok := bytes.Cut(text, []byte("\n"))
	date := time.Unix(days*int64(day/time.Second), 0).UTC().Format(time.DateOnly)
	hexKey, isToday := bytes.CutPrefix(head, []byte(todayHead+date+" "))
	if !ok || !isToday {
		return nil, nil, false
	}
	key, err := hex.DecodeString(string(hexKey))
	if err != nil || len(key) != todayKey {
		return nil, nil, false
	}
	for line := range bytes.Lines(rest) {
		sum, err := hex.DecodeString(strings.TrimSuffix(string(line), "\n"))
		if err != nil || len(sum) != 2*sumLen || len(sums) > 2*sumLen*MaxPerDay {
			return nil, nil, false
		}
		sums = append(sums, sum...)
	}
	return key, sums, true
}
