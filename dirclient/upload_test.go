package dirclient

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestParseReply(t *testing.T) {
	for text, want := range map[string]Receipt{
		"Status: 1\nMessage: Accepted.\n":                {Message: "Accepted."},
		"Status: 1\r\nMessage: Accepted.\r\n":            {Message: "Accepted."},
		"Status: 1\rMessage: Accepted.\r":                {Message: "Accepted."},
		"Status:\t1 \nMessage:  A person must look.":     {Pending: true, Message: "A person must look."},
		"Status: 1\nMessage: accepted\n":                 {Pending: true, Message: "accepted"},
		"Status: 1\nMessage: \n":                         {Pending: true},
		"Status: 1\nMessage: Status: 0 Message: again\n": {Pending: true, Message: "Status: 0 Message: again"},
	} {
		if got, err := ParseReply([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	var rejected *RejectedError
	if _, err := ParseReply([]byte("Status: 0\nMessage: Too old.\n")); !errors.As(err, &rejected) || rejected.Message != "Too old." {
		t.Error(err)
	}
	for _, text := range []string{
		"", "\n", "Status: 1", "Status: 1\n", "Message: Accepted.\nStatus: 1\n", "Status: 2\nMessage: x\n", "Status: 01\nMessage: x\n",
		"status: 1\nMessage: x\n", "Status: 1\nMessage: x\nMore: y\n", "Status: 1\nMessage: \x1b[2J\n", "Status: 1\nMessage: caf\xc3\xa9\n",
		"<html>Status: 1\nMessage: x\n", "Status: 1\nMessage: x\n\n", "Status: 1\n\nMessage: x\n",
		"Status: 1\nMessage: " + strings.Repeat("x", maxReplyMessage+1), "Status: 1\nMessage: " + strings.Repeat("x", maxReply),
	} {
		if got, err := ParseReply([]byte(text)); !errors.Is(err, ErrReply) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte("Status: 1\nMessage: Accepted.\n"))
	f.Add([]byte("Status: 0\r\nMessage: no\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseReply(text)
		if err == nil && (len(r.Message) > maxReplyMessage || strings.ContainsAny(r.Message, "\r\n\x1b") || r.Pending == (r.Message == accepted)) {
			t.Fatalf("%+v", r)
		}
	})
}

func TestUpload(t *testing.T) {
	site := serve(t)
	descriptor := servers(t)[0].Text()
	var form string
	answer := func(kind, body string) {
		site.OnUpload(func(w http.ResponseWriter, r *http.Request) {
			form = r.PostFormValue("desc")
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(body))
		})
	}
	f := NewFetcher(FetchOptions{})
	answer("text/plain; charset=us-ascii", "Status: 1\nMessage: Accepted.\n")
	if got, err := f.Upload(t.Context(), site.URL, descriptor); err != nil || got != (Receipt{Message: "Accepted."}) {
		t.Errorf("%+v, %v", got, err)
	}
	if form != string(descriptor) {
		t.Errorf("uploaded %q", form)
	}
	answer("text/plain", "Status: 0\nMessage: Expired.\n")
	var rejected *RejectedError
	if _, err := f.Upload(t.Context(), site.URL, descriptor); !errors.As(err, &rejected) {
		t.Error(err)
	}
	answer("text/html", "Status: 1\nMessage: Accepted.\n")
	if _, err := f.Upload(t.Context(), site.URL, descriptor); !errors.Is(err, ErrReply) {
		t.Error(err)
	}
	answer("text/plain", strings.Repeat("x", 2*maxReply))
	if _, err := f.Upload(t.Context(), site.URL, descriptor); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	site.OnUpload(nil)
	var status *StatusError
	if _, err := f.Upload(t.Context(), site.URL, descriptor); !errors.As(err, &status) {
		t.Error(err)
	}
	if _, err := f.Upload(t.Context(), "mailto:dir@example.com", descriptor); !errors.Is(err, ErrURL) {
		t.Error(err)
	}
}
