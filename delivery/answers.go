package delivery

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"

	"github.com/emersion/go-smtp"
)

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

// aboutRecipient reports whether a permanent refusal can only mean the recipient's address or mailbox, or the size of the mail (RFC 3463,
// 3.2 and 3.3). Without such a code it may as well mean that the server takes no mail from us: Exim's "550 relay not permitted" has none,
// and Postfix gives 5.7.1 to "relay access denied" and to a recipient's wish alike.
func aboutRecipient(err error) bool {
	var answer *smtp.SMTPError
	if !errors.As(err, &answer) {
		return false
	}
	switch c := answer.EnhancedCode; {
	case isTooLarge(err):
		return true
	case c[0] != 5:
		return false
	case c[1] == 1:
		return c[2] != 7 && c[2] != 8 // the sender's address
	case c[1] == 2:
		return true
	}
	return false
}

// namesRelaying reports whether a refusal says of itself that it is about relaying, which is always about us.
func namesRelaying(err error) bool {
	var answer *smtp.SMTPError
	return errors.As(err, &answer) && !aboutRecipient(err) && strings.Contains(strings.ToLower(answer.Message), "relay")
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
