package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"mixminion/delivery/mail"
)

// limits counts the mails of a day: in memory alone, by keyed hashes of their senders' mailboxes, under a key that is
// forgotten with the day. The number for all bounds how many there are.
type limits struct {
	perSender, perDay int
	now               func() time.Time

	mu      sync.Mutex
	day     int64
	key     []byte
	total   int
	senders map[[16]byte]int
}

func newLimits(perSender, perDay int, now func() time.Time) *limits {
	return &limits{perSender: perSender, perDay: perDay, now: now, day: -1}
}

// sender begins a new day if it is time, and returns what stands for a mailbox today. mu is held.
func (l *limits) sender(addr string) (id [16]byte) {
	if day := l.now().Unix() / (24 * 60 * 60); day != l.day {
		l.day, l.total, l.senders, l.key = day, 0, map[[16]byte]int{}, make([]byte, 32)
		rand.Read(l.key)
	}
	h := hmac.New(sha256.New, l.key)
	h.Write([]byte(mail.Canonical(addr)))
	copy(id[:], h.Sum(nil))
	return id
}

// ids returns what stands for mailboxes today, each once. mu is held.
func (l *limits) ids(addrs []string) map[[16]byte]bool {
	out := map[[16]byte]bool{}
	for _, addr := range addrs {
		out[l.sender(addr)] = true
	}
	return out
}

// take counts a mail for each of the mailboxes that it is from, and reports false if it is one too many for one of them.
func (l *limits) take(addrs ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := l.ids(addrs)
	for id := range ids {
		if l.senders[id] >= l.perSender {
			return false
		}
	}
	if l.total >= l.perDay {
		return false
	}
	l.total++
	for id := range ids {
		l.senders[id]++
	}
	return true
}

// giveBack forgets a mail that was counted and not taken.
func (l *limits) giveBack(addrs ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	counted := false
	for id := range l.ids(addrs) {
		if l.senders[id] > 0 { // else a new day has begun
			l.senders[id]--
			counted = true
		}
	}
	if counted {
		l.total--
	}
}
