package client

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"strings"
)

// ErrMail says that a mail is damaged, so that not all of it could be looked at.
var ErrMail = errors.New("the mail is damaged")

const (
	maxParts = 1000 // of a mail, of all depths together
	maxDepth = 10   // of parts within parts
	// maxCopies bounds what is read of nested parts: so often a mail may contain the whole of itself, as forwarded mails nearly do.
	maxCopies = 4
	// maxField bounds a header field that matters here.
	maxField = 4096
)

// mailTexts gives the texts in a mail: its body or the parts of it, with their transfer encoding undone. A damaged part is given as far
// as it goes, with an error that wraps ErrMail. What does not look like a mail is one text as it is.
func mailTexts(mail []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		w := &mailWalk{yield: yield, budget: maxCopies * len(mail)}
		w.mail(mail, 0)
	}
}

type mailWalk struct {
	yield  func([]byte, error) bool
	parts  int
	budget int // how many bytes may still be read
}

// mail walks over a mail or a part that holds one. It returns false when the caller has seen enough.
func (w *mailWalk) mail(text []byte, depth int) bool {
	h, body, ok := readMailHeader(text)
	if !ok {
		return w.yield(text, nil)
	}
	if _, boundary := mediaType(h.contentType); boundary != "" && !bytes.Contains(body, []byte("--"+boundary)) {
		return w.yield(body, nil) // not what it says
	}
	return w.part(h.contentType, h.encoding, bytes.NewReader(body), depth)
}

// part walks over a part.
func (w *mailWalk) part(contentType, encoding string, body io.Reader, depth int) bool {
	if w.parts++; w.parts > maxParts || depth > maxDepth {
		return w.yield(nil, fmt.Errorf("%w: it has too many parts", ErrMail))
	}
	kind, boundary := mediaType(contentType)
	if boundary != "" {
		return w.multipart(multipart.NewReader(body, boundary), depth)
	}
	if !mayHoldText(kind) {
		return true
	}
	text, err := io.ReadAll(io.LimitReader(transferDecoder(encoding, body), int64(w.budget)+1))
	if w.budget -= len(text); w.budget < 0 {
		return w.yield(nil, fmt.Errorf("%w: its parts are nested too deeply", ErrMail))
	}
	if err != nil {
		return w.yield(text, fmt.Errorf("%w: its transfer encoding is not valid", ErrMail))
	}
	if kind == "message/rfc822" {
		return w.mail(text, depth+1)
	}
	return w.yield(text, nil)
}

// mediaType gives the type of a part, text/plain if it is none, and the boundary of its own parts if it has any.
func mediaType(contentType string) (kind, boundary string) {
	kind, params, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter), !strings.Contains(kind, "/"):
		return textPlain, "" // what RFC 2045, 5.2, suggests
	case !strings.HasPrefix(kind, "multipart/"):
		return kind, ""
	case params["boundary"] == "":
		return textPlain, ""
	}
	return kind, params["boundary"]
}

const textPlain = "text/plain"

func (w *mailWalk) multipart(r *multipart.Reader, depth int) bool {
	for {
		p, err := r.NextRawPart()
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return w.yield(nil, fmt.Errorf("%w: one of its parts has no end", ErrMail))
		case !w.part(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p, depth+1):
			return false
		}
		if w.parts > maxParts {
			return true
		}
	}
}

// mayHoldText reports whether to look into a part of that type. Armor in HTML is a copy that a mail program has made, and damaged by tags.
func mayHoldText(kind string) bool {
	switch major, _, _ := strings.Cut(kind, "/"); major {
	case "text":
		return kind != "text/html"
	case "application", "message":
		return true
	}
	return false
}

// transferDecoder undoes an encoding of RFC 2045, 6. Unknown ones are taken for none.
func transferDecoder(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, blankless{body})
	}
	return body
}

// blankless drops blanks, which some programs put at the ends of lines of base64.
type blankless struct{ r io.Reader }

func (b blankless) Read(p []byte) (int, error) {
	for {
		n, err := b.r.Read(p)
		kept := p[:0]
		for _, c := range p[:n] {
			if c != ' ' && c != '\t' {
				kept = append(kept, c)
			}
		}
		if len(kept) > 0 || err != nil || len(p) == 0 {
			return len(kept), err
		}
	}
}

// mailHeader is what matters here of a mail's header.
type mailHeader struct{ contentType, encoding string }

// readMailHeader splits a mail. It is false for what does not begin with the header of one.
func readMailHeader(mail []byte) (h mailHeader, body []byte, ok bool) {
	var into *string
	for n := 0; ; n++ {
		line, rest, more := bytes.Cut(mail, []byte("\n"))
		if !more {
			return h, nil, false
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		mail = rest
		switch name, value, isField := cutHeader(line); {
		case len(line) == 0:
			return h, mail, n > 0
		case (line[0] == ' ' || line[0] == '\t') && n > 0:
			if into != nil && len(*into)+len(line) < maxField {
				*into += " " + string(bytes.TrimSpace(line))
			}
		case isField:
			switch into = nil; strings.ToLower(string(name)) {
			case "content-type":
				into = &h.contentType
			case "content-transfer-encoding":
				into = &h.encoding
			}
			if into != nil && len(value) < maxField {
				*into = string(bytes.TrimSpace(value))
			}
		case quotedFrom.Match(line) || bytes.HasPrefix(line, []byte("From ")): // left behind by a program that moved the mail
			into = nil
		default:
			return h, nil, false
		}
	}
}

// maxFieldName is longer than any name of a header field in use.
const maxFieldName = 128

// cutHeader splits the first line of a header field.
func cutHeader(line []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 || len(name) > maxFieldName {
		return nil, nil, false
	}
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return nil, nil, false
		}
	}
	return name, value, true
}
