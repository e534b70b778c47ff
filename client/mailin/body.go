package mailin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	gomessage "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // the charsets that are known
)

// read splits a mail into its header and its text.
func read(raw []byte) (gomessage.Header, []byte, error) {
	// The line of an mbox file that some programs leave in front.
	if bytes.HasPrefix(raw, []byte("From ")) {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	e, err := gomessage.ReadWithOptions(bytes.NewReader(raw), &gomessage.ReadOptions{MaxHeaderBytes: maxHeader})
	if e == nil {
		return gomessage.Header{}, nil, headerError(raw)
	}
	if e.Header.Len() == 0 {
		return gomessage.Header{}, nil, fmt.Errorf("%w: it must begin with header lines such as To and Subject, and an empty line", ErrMail)
	}
	p := parts{}
	if err := p.walk(e, err, 0); err != nil {
		return gomessage.Header{}, nil, err
	}
	if !p.found {
		return gomessage.Header{}, nil, fmt.Errorf("%w: the mail has no text/plain part", ErrPart)
	}
	return e.Header, p.text, nil
}

// headerError says what is wrong with a header that could not be read.
func headerError(raw []byte) error {
	end := len(raw)
	for _, empty := range []string{"\n\n", "\n\r\n"} {
		if i := bytes.Index(raw, []byte(empty)); i >= 0 {
			end = min(end, i)
		}
	}
	if end > maxHeader {
		return fmt.Errorf("%w: its header has more than %d KB", ErrTooLong, maxHeader>>10)
	}
	return fmt.Errorf("%w: in its header is a line that is no header line; a mail begins with lines such as To and Subject, and an empty line", ErrMail)
}

// parts looks for the text of a mail.
type parts struct {
	count int
	found bool
	text  []byte
}

// walk looks at a part. problem is what the library has found wrong with it.
func (p *parts) walk(e *gomessage.Entity, problem error, depth int) error {
	if p.count++; p.count > maxParts || depth > maxDepth {
		return fmt.Errorf("%w: the mail has too many parts", ErrPart)
	}
	kind, params, err := e.Header.ContentType()
	if err != nil {
		return fmt.Errorf("%w: a part has the Content-Type %s, which makes no sense", ErrPart, shown(kind))
	}
	disposition, how, err := e.Header.ContentDisposition()
	if err == nil && disposition == "attachment" || how["filename"] != "" || params["name"] != "" {
		name := how["filename"]
		if name == "" {
			name = params["name"]
		}
		return refuse(kind, name)
	}
	switch {
	case kind == "multipart/signed", kind == "multipart/encrypted":
		return refuse(kind, "")
	case strings.HasPrefix(kind, "multipart/"):
		return p.multipart(e, params["boundary"], depth)
	case kind != "text/plain":
		return refuse(kind, "")
	case p.found:
		return fmt.Errorf("%w: the mail has a second text/plain part; make one text of them", ErrPart)
	case gomessage.IsUnknownEncoding(problem):
		return fmt.Errorf("%w: the text has the Content-Transfer-Encoding %s, which is unknown", ErrCharset, shown(e.Header.Get("Content-Transfer-Encoding")))
	case gomessage.IsUnknownCharset(problem):
		return fmt.Errorf("%w: the text is in the charset %s, which is unknown; have your mail program write UTF-8", ErrCharset, shown(params["charset"]))
	case problem != nil:
		return fmt.Errorf("%w: a part of it is damaged", ErrMail)
	}
	p.found = true
	p.text, err = readText(e.Body, params)
	return err
}

func (p *parts) multipart(e *gomessage.Entity, boundary string, depth int) error {
	r := e.MultipartReader()
	if r == nil || boundary == "" {
		return fmt.Errorf("%w: it claims to have parts, but does not say what is between them", ErrMail)
	}
	defer func() { _ = r.Close() }() // nothing is open
	for {
		part, err := r.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case part == nil:
			return fmt.Errorf("%w: a part of it is damaged or was cut off", ErrMail)
		}
		if err := p.walk(part, err, depth+1); err != nil {
			return err
		}
	}
}

// refuse names a part that cannot be sent.
func refuse(kind, name string) error {
	what := "the mail has a part of the type " + shown(kind)
	if name != "" {
		what += ", named " + shown(name)
	}
	switch {
	case kind == "multipart/signed":
		what = "the mail is signed, which names the signer"
	case kind == "multipart/encrypted":
		what = "the mail is encrypted by the mail program"
	case kind == "text/html" && name == "":
		what += "; have your mail program write plain text only"
	default:
		what += "; take it out"
	}
	return fmt.Errorf("%w: %s", ErrPart, what)
}

// readText reads a text/plain part, whose transfer encoding is undone and which is UTF-8 unless its bytes were no characters.
func readText(body io.Reader, params map[string]string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(body, MaxMail+1))
	if err != nil {
		return nil, fmt.Errorf("%w: the transfer encoding of the text is damaged, or the mail was cut off", ErrMail)
	}
	if len(text) > MaxMail {
		return nil, fmt.Errorf("%w: its text has more than %d MB", ErrTooLong, MaxMail>>20)
	}
	charset := params["charset"]
	if charset == "" {
		charset = "us-ascii"
	}
	// U+FFFD is what a byte becomes that its charset does not have.
	if !utf8.Valid(text) || bytes.ContainsRune(text, utf8.RuneError) {
		return nil, fmt.Errorf("%w: the text is not in the charset %s that it claims; have your mail program write UTF-8", ErrCharset, shown(charset))
	}
	text = bytes.TrimPrefix(text, []byte("\uFEFF")) // tells something about the program, and nothing to the reader
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	text = bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))
	if strings.EqualFold(params["format"], "flowed") {
		text = unflow(text)
	}
	return text, nil
}

// unflow takes the marks of RFC 3676 out of a text: they mean nothing without the parameter of Content-Type, which no exit sends. The
// lines stay as they are.
func unflow(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		line, newline := bytes.CutSuffix(line, []byte("\n"))
		if !bytes.Equal(line, []byte("-- ")) {
			line = bytes.TrimRight(line, " ")
		}
		out = append(out, bytes.TrimPrefix(line, []byte(" "))...)
		if newline {
			out = append(out, '\n')
		}
	}
	return out
}

// decoder decodes encoded words of RFC 2047.
var decoder = mime.WordDecoder{CharsetReader: gomessage.CharsetReader}
