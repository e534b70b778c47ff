package optout

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"mixminion/delivery/inmail"
	"mixminion/delivery/mail"
)

// MaxMail is how much is read of a mail to the desk.
const MaxMail = 256 << 10

// Desk answers the mails that come to the operator's address for those who want no anonymous mail.
type Desk struct {
	List *List
	// Address is the operator's address: where requests come to, and whom the answers are from.
	Address string
	// PerDay is how many mails it sends in a day at most; 0 means DefaultPerDay.
	PerDay int
	// Send hands a finished mail to the mail server, with an empty envelope sender.
	Send func(ctx context.Context, to string, data []byte) error
	Now  func() time.Time
}

// Receive handles a mail. sender is the address in the envelope, or inmail.NoSender. What is not a request of a person, and what is one
// too many, is passed over in silence: an answer would go to somebody who has not written. So an error means that it should be tried
// again later, or that it was no mail (inmail.ErrMalformed).
func (d *Desk) Receive(ctx context.Context, raw []byte, sender string) error {
	m, err := inmail.Read(raw)
	if err != nil {
		return err
	}
	if m.Automatic(sender) || mail.Canonical(m.From) == mail.Canonical(d.Address) {
		return nil
	}
	unlock, err := d.List.lock(ctx)
	if err != nil {
		return err
	}
	key, err := d.List.keyForTokens()
	if err = errors.Join(err, unlock()); err != nil {
		return err
	}
	addr, ok := confirmed(key, m.From, m.Subject, d.Now())
	if ok {
		_, err := d.List.Add(ctx, addr)
		return err
	}
	if d.List.Has(m.From) {
		return nil
	}
	return d.challenge(ctx, key, m.From)
}

// keyForTokens returns the key. The directory is locked.
func (l *List) keyForTokens() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(); err != nil {
		return nil, err
	}
	if err := l.makeKey(); err != nil {
		return nil, err
	}
	return l.key, nil
}

// challenge sends a challenge if the limits allow it. It is counted before it is sent, so that trouble with the mail server does not lift
// the limits.
func (d *Desk) challenge(ctx context.Context, key []byte, addr string) (err error) {
	perDay := d.PerDay
	if perDay <= 0 {
		perDay = DefaultPerDay
	}
	unlock, err := d.List.lock(ctx)
	if err != nil {
		return err
	}
	may, err := d.List.mayChallenge(addr, min(perDay, MaxPerDay))
	if err = errors.Join(err, unlock()); err != nil || !may {
		return err
	}
	return d.Send(ctx, addr, d.write(addr, token(key, addr, daysOf(d.Now()))))
}

// write makes the challenge: a fixed text with the address and the token.
func (d *Desk) write(addr, token string) []byte {
	var id [16]byte
	rand.Read(id[:])
	_, domain, _ := strings.Cut(d.Address, "@")
	head := []string{
		"From: " + d.Address,
		"To: " + addr,
		"Subject: No anonymous mail to",
		" " + addr,
		" [" + token + "]",
		"Date: " + d.Now().UTC().Truncate(time.Hour).Format("Mon, 02 Jan 2006 15:04:05 +0000"),
		"Message-ID: <" + hex.EncodeToString(id[:]) + "@" + domain + ">",
		"Auto-Submitted: auto-replied",
		"Precedence: bulk",
		"X-Auto-Response-Suppress: All",
		"MIME-Version: 1.0",
		"Content-Type: text/plain; charset=us-ascii",
		"",
	}
	return []byte(strings.Join(head, "\r\n") + "\r\n" + strings.ReplaceAll(fmt.Sprintf(challengeText, tokenDays), "\n", "\r\n"))
}

// challengeText says nothing that the request said, so that nobody can have a text of their own sent to others.
const challengeText = `Somebody, probably you, asked that this remailer deliver no more anonymous
mail to the address in the subject line.

To confirm it, answer this mail and leave the subject as it is. That is
possible for %d days. It counts from the moment in which your answer comes
in, also for mail that waits here. This remailer keeps a keyed hash of your
address, and not the address. You will get no other mail about it.

If it was not you, do nothing: nothing will change. You get at most two mails
like this one in a day, however often somebody asks in your name.

This remailer does not know who writes the messages that it delivers, or who
asked for this mail.
`
