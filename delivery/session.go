package delivery

import (
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-smtp"
)

// quitTimeout is how long the answer to QUIT may take. Nothing depends on it.
const quitTimeout = 5 * time.Second

// What can be wrong with a session beside the mail that it carries.
var (
	// errLost: the connection broke, or the server closes it. The mail has certainly not been accepted for any recipient.
	errLost = errors.New("connection lost")
	// errLostAnswer: the connection broke between a mail and its answer.
	errLostAnswer = errors.New("connection lost before the answer to a mail")
	// errBusy: the server does not take mail from us for now.
	errBusy = errors.New("it takes no mail from this exit for now")
	// errRejected: the server does not take mail from us, whoever it is for.
	errRejected = errors.New("it takes no mail from this exit")
)

// session is a connection to a smart host.
type session struct {
	client  *smtp.Client
	unwatch func() bool // ends the watch over the context
	mails   int         // sent or tried
	host    *smartHost
}

// send sends data to every address of e and tells the outcome for each. An error means that the session is of no use any more; it
// is one of the four above, and what the server answered is part of it only as long as no recipient was named.
func (s *session) send(e Envelope, data []byte) ([]Outcome, error) {
	s.mails++
	outcomes := make([]Outcome, len(e.To))
	all := func(o Outcome) []Outcome {
		for i := range outcomes {
			if outcomes[i] == (Outcome{}) {
				outcomes[i] = o
			}
		}
		return outcomes
	}

	// A refusal that may be about us is only final from a server that has taken mail since this one was to be sent.
	refusal := func(err error) Outcome {
		if !aboutRecipient(err) && (namesRelaying(err) || !s.host.believed(e.Queued)) {
			return retryLater(Unavailable)
		}
		return dropped(reasonOf(err))
	}

	// No parameter but the size: notifications of delivery are never asked for.
	if err := s.client.Mail(e.From, &smtp.MailOptions{Size: int64(len(data))}); err != nil {
		switch c := classify(err); {
		case c == permanent && isTooLarge(err):
			return s.reset(all(dropped(TooLarge)))
		case c == permanent, c == unwelcome:
			return all(retryLater(Unavailable)), s.rejected(errRejected, err)
		case c == temporary:
			return all(retryLater(Unavailable)), s.rejected(errBusy, err)
		}
		return all(retryLater(Unavailable)), lost(errLost, err)
	}

	accepted := 0
	var doubtful []int
	for i, rcpt := range e.To {
		err := s.client.Rcpt(rcpt, nil)
		switch classify(err) {
		case success:
			accepted++
		case temporary:
			outcomes[i] = retryLater(Deferred)
		case permanent:
			if outcomes[i] = refusal(err); outcomes[i].Status == Dropped {
				outcomes[i].Reason = Refused // a full mailbox is not a large mail
				e.settled(i)
			} else if !namesRelaying(err) {
				doubtful = append(doubtful, i)
			}
		case unwelcome:
			return all(retryLater(Unavailable)), fmt.Errorf("%w: %s", errRejected, codeOf(err))
		case broken:
			return all(retryLater(Unavailable)), lost(errLost, err)
		}
	}
	if accepted == 0 {
		return s.reset(outcomes)
	}
	// A server that takes this very mail for somebody means those whom it refused.
	for _, i := range doubtful {
		outcomes[i] = dropped(Refused)
		e.settled(i)
	}

	w, err := s.client.Data()
	switch classify(err) {
	case success:
	case temporary:
		return s.reset(all(retryLater(Deferred)))
	case permanent:
		return s.reset(all(refusal(err)))
	case unwelcome:
		return all(retryLater(Unavailable)), fmt.Errorf("%w: %s", errRejected, codeOf(err))
	case broken:
		return all(retryLater(Unavailable)), lost(errLost, err)
	}
	if _, err := w.Write(data); err != nil {
		return all(retryLater(Unavailable)), lost(errLost, err)
	}
	err = w.Close()
	switch classify(err) {
	case success:
		s.host.tookMail()
		return all(delivered()), nil
	case temporary:
		return all(retryLater(Deferred)), nil
	case permanent:
		return all(refusal(err)), nil
	case unwelcome:
		return all(retryLater(Unavailable)), fmt.Errorf("%w: %s", errRejected, codeOf(err))
	}
	if isClosing(err) {
		return all(retryLater(Unavailable)), lost(errLost, err)
	}
	return all(retryLater(Unsure)), lost(errLostAnswer, err)
}

// reset ends a transaction that went no further. If that fails, the outcomes stand all the same and the next mail finds the
// connection lost. There is none to reset after a mail that was sent; and a reset makes the library say EHLO once more.
func (s *session) reset(outcomes []Outcome) ([]Outcome, error) {
	_ = s.client.Reset()
	return outcomes, nil
}

// rejected is for answers to MAIL. A server that was told a recipient before may name it in any answer, so only the answers on a
// connection's first mail are repeated in words.
func (s *session) rejected(sentinel, answer error) error {
	if s.mails > 1 {
		return fmt.Errorf("%w: %s", sentinel, codeOf(answer))
	}
	return fmt.Errorf("%w: %w", sentinel, spoken(answer))
}

// close ends the session in good manners if it is still good for that.
func (s *session) close(good bool) {
	if good {
		s.client.CommandTimeout = quitTimeout
		_ = s.client.Quit()
	}
	s.unwatch()
	_ = s.client.Close()
}
