package inbox

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"mixminion/directory"
)

// What an upload may take.
const (
	maxBody    = 3*directory.MaxDescriptorLen + 1024 // every byte of a form may be written as three
	uploadTime = 30 * time.Second
	maxMessage = 300
)

// Replies to uploads. The first is fixed by dir-spec 5.2.
const (
	accepted    = "Accepted."
	held        = "The descriptor is held. It will be listed when the operator of this directory server has approved the server."
	tooOften    = "Too many uploads. Try again in an hour."
	troubleHere = "This directory server has a problem of its own. Try again in an hour."
)

// Upload returns the handler of "upload" below the URL base: the descriptor comes as the parameter desc of a form (dir-spec 5.2). The
// HTTP status tells whether the request made sense; what became of a descriptor stands in the text.
func (b *Inbox) Upload() http.Handler { return http.HandlerFunc(b.upload) }

func (b *Inbox) upload(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		reply(w, http.StatusMethodNotAllowed, false, "Send a descriptor with POST, as the parameter desc of a form.")
		return
	}
	source := prefixOf(b.sender(r))
	if ok, tell := b.limit.allow(source, b.clock.Now()); !ok {
		if tell {
			b.log.Warn("uploads of descriptors come faster than they are examined; some are refused")
		}
		reply(w, http.StatusTooManyRequests, false, tooOften)
		return
	}
	// The deadline is the socket's, in the time of the machine. Where there is no socket, none is needed.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadTime))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		reply(w, http.StatusUnsupportedMediaType, false, "The content type must be application/x-www-form-urlencoded.")
		return
	}
	if err := r.ParseForm(); err != nil {
		status, message := http.StatusBadRequest, "The form is malformed or incomplete."
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			status, message = http.StatusRequestEntityTooLarge, "The message is too long."
		}
		reply(w, status, false, message)
		return
	}
	desc := r.PostForm["desc"]
	if len(desc) != 1 {
		reply(w, http.StatusBadRequest, false, "The form must have one parameter desc.")
		return
	}
	// Who hangs up now has sent everything.
	receipt, err := b.Add(context.WithoutCancel(r.Context()), []byte(desc[0]), source.String())
	status, ok, message := b.answer(receipt, err)
	reply(w, status, ok, message)
}

// answer puts the outcome of Add into the words of dir-spec 5.2.
func (b *Inbox) answer(receipt Receipt, err error) (status int, ok bool, message string) {
	var refused *Refusal
	switch {
	case errors.Is(err, ErrCrowded):
		// With another status, so that mixes try again: it is not the descriptor that is at fault.
		return http.StatusServiceUnavailable, false, "Not accepted: " + ErrCrowded.Error()
	case errors.As(err, &refused):
		return http.StatusOK, false, "Not accepted: " + refused.Error()
	case err != nil:
		b.mu.Lock()
		tell := b.troubled.allow(b.clock.Now())
		b.mu.Unlock()
		if tell {
			b.log.Error("a descriptor that was uploaded could not be stored", "error", err)
		}
		return http.StatusServiceUnavailable, false, troubleHere
	case receipt.Decision != Approved:
		return http.StatusOK, true, held
	}
	return http.StatusOK, true, accepted
}

// sender is the address that an upload comes from, or none.
func (b *Inbox) sender(r *http.Request) netip.Addr {
	if b.cfg.BehindProxy {
		// The proxy appends; what stands in front of the last comma anybody may have written.
		lines := r.Header.Values("X-Forwarded-For")
		if len(lines) == 0 {
			return netip.Addr{}
		}
		last := lines[len(lines)-1]
		addr, err := netip.ParseAddr(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]))
		if err != nil {
			return netip.Addr{}
		}
		return addr
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr()
}

func reply(w http.ResponseWriter, status int, ok bool, message string) {
	bit := 0
	if ok {
		bit = 1
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// If the sender is gone there is nobody to tell.
	_, _ = fmt.Fprintf(w, "Status: %d\nMessage: %s\n", bit, oneLine(message))
}

// oneLine makes a text a Value of the exchange format: printable ASCII, of bearable length (dir-spec 2.1).
func oneLine(s string) string {
	out := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return ' '
		}
		return c
	}, s)
	if len(out) > maxMessage {
		out = out[:maxMessage-3] + "..."
	}
	return strings.TrimSpace(out)
}
