package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"mixminion/delivery/mail"
)

// limits counts the mails of a day: in memory alone, by keyed hashes of their senders' mailboxes, under a key that is forgotten with the day. The
// number for all bounds how many there are.
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

// take counts a mail, and reports false if it is one too many.
func (l *limits) take(addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.sender(addr)
	if l.total >= l.perDay || l.senders[id] >= l.perSender {
		return false
	}
	l.total++
	l.senders[id]++
	return true
}

// giveBack forgets a mail that was counted and not taken.
func (l *limits) giveBack(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id := l.sender(addr); l.senders[id] > 0 {
		l.total--
		l.senders[id]--
	}
}
