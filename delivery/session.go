package delivery

import (
	"errors"
	"fmt"
	"net/textproto"
	"sync/atomic"
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
	// proven tells that the server has taken a mail from us before. Until then a refusal by policy is more likely to mean that it
	// does not relay for us than that it does not want this recipient.
	proven *atomic.Bool
}

// send sends data to every one of rcpts and tells the outcome for each. An error means that the session is of no use any more; it
// is one of the four above, and what the server answered is part of it only as long as no recipient was named.
func (s *session) send(from string, rcpts []string, data []byte) ([]Outcome, error) {
	s.mails++
	outcomes := make([]Outcome, len(rcpts))
	all := func(o Outcome) []Outcome {
		for i := range outcomes {
			if outcomes[i] == (Outcome{}) {
				outcomes[i] = o
			}
		}
		return outcomes
	}

	if err := s.client.Mail(from, &smtp.MailOptions{Size: int64(len(data))}); err != nil {
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
	for i, rcpt := range rcpts {
		err := s.client.Rcpt(rcpt, nil)
		switch classify(err) {
		case success:
			accepted++
		case temporary:
			outcomes[i] = retryLater(Deferred)
		case permanent:
			outcomes[i] = dropped(Refused)
			if isPolicy(err) && !s.proven.Load() {
				outcomes[i] = retryLater(Unavailable)
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

	w, err := s.client.Data()
	switch classify(err) {
	case success:
	case temporary:
		return s.reset(all(retryLater(Deferred)))
	case permanent:
		return s.reset(all(dropped(reasonOf(err))))
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
		s.proven.Store(true)
		return all(delivered()), nil
	case temporary:
		return all(retryLater(Deferred)), nil
	case permanent:
		return all(dropped(reasonOf(err))), nil
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

// class sorts what a command can end with.
type class uint8

const (
	success   class = iota
	temporary       // 4xx
	permanent       // 5xx
	unwelcome       // 5xx that is about us, not about the mail
	broken          // no answer, none that SMTP knows, or 421: the server is closing
)

func classify(err error) class {
	if err == nil {
		return success
	}
	var answer *smtp.SMTPError
	if !errors.As(err, &answer) {
		return broken
	}
	switch answer.Code {
	case 421:
		return broken
	case 530, 534, 535, 538: // RFC 4954, 6: authentication or encryption is missing
		return unwelcome
	}
	switch answer.Code / 100 {
	case 4:
		return temporary
	case 5:
		return permanent
	}
	return broken
}

// isClosing reports whether err is the answer that the server closes the connection: what it answers has not been done.
func isClosing(err error) bool {
	var answer *smtp.SMTPError
	return errors.As(err, &answer) && answer.Code == 421
}

func isTooLarge(err error) bool {
	var answer *smtp.SMTPError
	return errors.As(err, &answer) && (answer.Code == 552 || answer.EnhancedCode == smtp.EnhancedCode{5, 3, 4})
}

// isPolicy reports whether an answer refuses for security or policy reasons (RFC 3463, 3.8): "relay access denied" is one of them.
func isPolicy(err error) bool {
	var answer *smtp.SMTPError
	return errors.As(err, &answer) && answer.EnhancedCode[0] == 5 && answer.EnhancedCode[1] == 7
}

func reasonOf(err error) Reason {
	if isTooLarge(err) {
		return TooLarge
	}
	return Refused
}

// codeOf is an answer without its words.
func codeOf(err error) string {
	var answer *smtp.SMTPError
	if !errors.As(err, &answer) {
		return "no answer"
	}
	if e := answer.EnhancedCode; e != smtp.EnhancedCodeNotSet && e != smtp.NoEnhancedCode {
		return fmt.Sprintf("answer %d %d.%d.%d", answer.Code, e[0], e[1], e[2])
	}
	return fmt.Sprintf("answer %d", answer.Code)
}

// lost makes an error of sentinel without the words of an answer. What the network says is kept: it names the server only.
func lost(sentinel, err error) error {
	var answer *smtp.SMTPError
	var protocol textproto.ProtocolError
	if errors.As(err, &answer) || errors.As(err, &protocol) {
		return fmt.Errorf("%w: %s", sentinel, codeOf(err))
	}
	return fmt.Errorf("%w: %w", sentinel, err)
}

// spoken makes the words of a server fit to be shown: quoted, and not too many. It is for answers that were given before the
// server was told a recipient.
func spoken(err error) error {
	const most = 200
	text := ""
	var answer *smtp.SMTPError
	var plain *textproto.Error
	var protocol textproto.ProtocolError
	switch {
	case errors.As(err, &protocol):
		return fmt.Errorf("%.*q", most, string(protocol))
	case errors.As(err, &answer):
		text = answer.Message
	case errors.As(err, &plain):
		answer = &smtp.SMTPError{Code: plain.Code}
		text = plain.Msg
	default:
		return err
	}
	if len(text) > most {
		text = text[:most] + "..."
	}
	return fmt.Errorf("%s %q", codeOf(answer), text)
}
