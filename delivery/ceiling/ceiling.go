// Package ceiling counts the mails that each recipient gets in a day, so that nobody can be buried in anonymous mail.
//
// The counts live in memory alone. They are kept under a hash of the mailbox with a random key that is drawn anew each day (UTC), so that
// neither a dump of the memory nor yesterday's counts tell who got mail. Mailboxes that differ only in the case of letters or by a tag
// (bob+tag) are one.
package ceiling

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"

	"mixminion/delivery/mail"
)

// Kind is a sort of mail that has a ceiling of its own.
type Kind uint8

const (
	// Readable is what anybody can read who sees it, and so the kind that annoys: text, and data that is not encrypted.
	Readable Kind = iota
	// Opaque is encrypted mail and fragments. It may be the answers to a pseudonym, which come in numbers.
	Opaque
	kinds
)

// Limits of a Counter.
type Limits struct {
	// PerDay is how many mails of each kind a recipient may get in a day; 0 means any number.
	PerDay [kinds]int
	// Exempt are mailboxes without a ceiling, and "@host" for all at a host.
	Exempt []string
}

// Counter counts mails of one day. The zero value is ready. It may be used by several goroutines.
type Counter struct {
	most   int // entries; 0 means maxEntries
	mu     sync.Mutex
	day    int64
	key    [sha256.Size]byte
	counts map[entry]uint32
}

// entry names a recipient and a kind for one day.
type entry [16]byte

// maxEntries bounds the memory: about 40 MB.
const maxEntries = 1 << 19

const day = 24 * time.Hour

// A Ceiling is a Counter with its limits.
type Ceiling struct {
	counter *Counter
	perDay  [kinds]int
	exempt  map[string]bool
	now     func() time.Time
}

// New checks limits. now is the time, nil that of the system. counter goes on counting for others who share it; nil means a new one.
func New(limits Limits, counter *Counter, now func() time.Time) (*Ceiling, error) {
	c := &Ceiling{counter: counter, perDay: limits.PerDay, exempt: map[string]bool{}, now: now}
	if c.counter == nil {
		c.counter = new(Counter)
	}
	if c.now == nil {
		c.now = time.Now
	}
	for _, n := range c.perDay {
		if n < 0 {
			return nil, fmt.Errorf("a ceiling of %d mails: it must not be negative", n)
		}
	}
	for _, addr := range limits.Exempt {
		name, ok := exemption(addr)
		if !ok {
			return nil, fmt.Errorf("%q is neither a mail address nor @host", addr)
		}
		c.exempt[name] = true
	}
	return c, nil
}

// exemption gives the form in which an exemption is looked up.
func exemption(addr string) (string, bool) {
	probe := addr
	if strings.HasPrefix(addr, "@") {
		probe = "x" + addr
	}
	if _, err := mail.ParseAddress([]byte(probe)); err != nil {
		return "", false
	}
	if probe != addr {
		return strings.ToLower(addr), true
	}
	return mail.Canonical(addr), true
}

// Counter is what counts for c, to be handed to its successor.
func (c *Ceiling) Counter() *Counter { return c.counter }

// Share lets c go on with a counter. It is called before the first Take.
func (c *Ceiling) Share(counter *Counter) { c.counter = counter }

// Take counts a mail for a mailbox, which is in the form that mail.ParseAddress accepts, and reports whether it may go today; if not, it is
// not counted.
func (c *Ceiling) Take(kind Kind, addr string) bool {
	name, limit := c.find(kind, addr)
	return limit == 0 || c.counter.take(c.now(), kind, name, uint32(limit))
}

// GiveBack undoes a Take of a mail that was not delivered after all.
func (c *Ceiling) GiveBack(kind Kind, addr string) {
	if name, limit := c.find(kind, addr); limit > 0 {
		c.counter.giveBack(c.now(), kind, name)
	}
}

// find returns the name that a mailbox is counted under, and its ceiling.
func (c *Ceiling) find(kind Kind, addr string) (name string, limit int) {
	name = mail.Canonical(addr)
	if c.exempt[name] || c.exempt[name[strings.IndexByte(name, '@'):]] {
		return name, 0
	}
	return name, c.perDay[kind]
}

func (c *Counter) take(now time.Time, kind Kind, name string, limit uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	e := c.entry(kind, name)
	n := c.counts[e]
	if n >= limit {
		return false
	}
	if most := cmp.Or(c.most, maxEntries); n == 0 && len(c.counts) >= most {
		c.shed(most / 2)
	}
	c.counts[e] = n + 1
	return true
}

func (c *Counter) giveBack(now time.Time, kind Kind, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	e := c.entry(kind, name)
	switch n := c.counts[e]; {
	case n > 1:
		c.counts[e] = n - 1
	case n == 1:
		delete(c.counts, e)
	}
}

// turn begins a new day. A clock that goes back begins none: else it would clear the counts at will.
func (c *Counter) turn(now time.Time) {
	today := now.Unix() / int64(day/time.Second)
	if c.counts != nil && today <= c.day {
		return
	}
	c.day = today
	c.counts = map[entry]uint32{}
	_, _ = rand.Read(c.key[:]) // it never fails
}

func (c *Counter) entry(kind Kind, name string) entry {
	h := hmac.New(sha256.New, c.key[:])
	h.Write([]byte{byte(kind)})
	h.Write([]byte(name))
	return entry(h.Sum(nil)[:len(entry{})])
}

// shed makes room when there are more recipients than a day has ever seen, by forgetting those who got least.
func (c *Counter) shed(keep int) {
	for least := uint32(1); len(c.counts) > keep; least *= 2 {
		for e, n := range c.counts {
			if n <= least {
				delete(c.counts, e)
			}
		}
	}
}
