package dirclient

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"mixminion/directory"
)

// ErrReply says that a directory server answered an upload with something that is no reply to one.
var ErrReply = errors.New("not a reply to an upload")

// A RejectedError says that a directory server understood a descriptor and does not want it. To try again is of no use.
type RejectedError struct{ Message string }

func (e *RejectedError) Error() string { return "rejected: " + e.Message }

// A Receipt is what a directory server says of a descriptor that it takes.
type Receipt struct {
	// Pending says that a person has to approve the server first; Message says more.
	Pending bool
	Message string
}

// accepted is the message that stands for a descriptor that will be listed (dir-spec 5.2).
const accepted = "Accepted."

// Limits on a reply, in bytes.
const (
	maxReply        = 4 << 10
	maxReplyMessage = 1000
)

// Upload hands a server descriptor to the directory server with the given URL base (dir-spec 5.2). A *RejectedError says that the server
// does not want it; any other error, that it may be tried again.
func (f *Fetcher) Upload(ctx context.Context, base string, descriptor []byte) (Receipt, error) {
	if !directory.ValidBaseURL(base) {
		return Receipt{}, fmt.Errorf("%w: %q", ErrURL, base)
	}
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	form := url.Values{"desc": {string(descriptor)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+uploadName, strings.NewReader(form))
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrURL, unwrapURL(err))
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	s := f.session()
	defer s.close()
	doc, err := s.do(req, maxReply)
	if err != nil {
		return Receipt{}, err
	}
	if kind, _, err := mime.ParseMediaType(doc.Type); err != nil || kind != "text/plain" {
		return Receipt{}, fmt.Errorf("%w: it is not of type text/plain", ErrReply)
	}
	return ParseReply(doc.Body)
}

// ParseReply reads the reply to an upload (dir-spec 5.2). A refusal comes back as a *RejectedError, anything but a reply as ErrReply.
func ParseReply(text []byte) (Receipt, error) {
	if len(text) > maxReply {
		return Receipt{}, fmt.Errorf("%w: %d bytes are too long", ErrReply, len(text))
	}
	body := strings.ReplaceAll(string(text), "\r\n", "\n")
	body = strings.ReplaceAll(body, "\r", "\n")
	body = strings.TrimSuffix(body, "\n")
	first, second, ok := strings.Cut(body, "\n")
	const blanks = " \t"
	status, hasStatus := strings.CutPrefix(first, "Status:")
	message, hasMessage := strings.CutPrefix(second, "Message:")
	status, message = strings.Trim(status, blanks), strings.Trim(message, blanks)
	switch {
	case !ok || !hasStatus || !hasMessage || status != "0" && status != "1":
		return Receipt{}, fmt.Errorf("%w: it must be a line Status, 0 or 1, and a line Message", ErrReply)
	case len(message) > maxReplyMessage:
		return Receipt{}, fmt.Errorf("%w: a message of %d bytes is too long", ErrReply, len(message))
	case strings.ContainsFunc(message, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }):
		return Receipt{}, fmt.Errorf("%w: the message is not printable ASCII in one line", ErrReply)
	case status == "0":
		return Receipt{}, &RejectedError{message}
	}
	return Receipt{Pending: message != accepted, Message: message}, nil
}
