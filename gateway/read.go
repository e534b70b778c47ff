package gateway

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"strings"
	"unicode"

	"github.com/emersion/go-message/charset"

	"mixminion/delivery/inmail"
	"mixminion/packet"
)

// Limits of what is read of a mail.
const (
	maxParts  = 100
	maxDepth  = 8
	maxBlocks = 64
	// maxCopies is how often as much as the mail itself may be read of parts in parts.
	maxCopies = 3
	// maxBlockLines is more lines than an armored reply block has.
	maxBlockLines = 200
)

// content is what a mail holds for its reader.
type content struct {
	text   []byte // UTF-8, without the reply blocks
	blocks []*packet.SURB
}

// read takes the text and the reply blocks out of a mail. The error wraps inmail.ErrMalformed.
func read(m *inmail.Mail) (*content, error) {
	r := reader{budget: maxCopies*len(m.Body) + 1}
	if err := r.part(part{m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Header.Get("Content-Disposition")},
		bytes.NewReader(m.Body), 0, false); err != nil {
		return nil, err
	}
	if !r.plain && r.html != "" {
		r.text = append(r.text, r.takeBlocks(fromHTML(r.html))...)
	}
	r.text = bytes.TrimSpace(r.text)
	if len(r.text) > 0 {
		r.text = append(r.text, '\n')
	}
	return &r.content, nil
}

// part is the header of a part, as far as it matters.
type part struct{ kind, encoding, disposition string }

type reader struct {
	content
	parts  int
	budget int    // bytes that may still be read
	plain  bool   // there was a plain text
	html   string // the first page: what is read if there was none
}

// part reads a part. Of enclosed ones only the blocks count.
func (r *reader) part(p part, body io.Reader, depth int, enclosed bool) error {
	if r.parts++; r.parts > maxParts || depth > maxDepth {
		return fmt.Errorf("%w: it has too many parts", inmail.ErrMalformed)
	}
	kind, params, err := mime.ParseMediaType(p.kind)
	if err != nil || !strings.Contains(kind, "/") {
		kind = "text/plain" // RFC 2045, 5.2
	}
	if strings.HasPrefix(kind, "multipart/") {
		return r.multipart(params["boundary"], body, depth, enclosed)
	}
	data, err := io.ReadAll(io.LimitReader(decoder(p.encoding, body), int64(r.budget)+1))
	if err != nil {
		return fmt.Errorf("%w: the transfer encoding of a part is damaged", inmail.ErrMalformed)
	}
	if r.budget -= len(data); r.budget < 0 {
		return fmt.Errorf("%w: its parts are too large", inmail.ErrMalformed)
	}
	disposition, how, _ := mime.ParseMediaType(p.disposition)
	attached := enclosed || disposition == "attachment" || how["filename"] != "" || params["name"] != ""
	switch {
	case kind == "message/rfc822":
		return r.enclosed(data, depth)
	case kind == "text/html":
		if !attached && r.html == "" {
			r.html = plain(data, params["charset"])
		}
		return nil
	case bytes.HasPrefix(data, []byte(packet.SURBMagic)):
		if blocks, err := packet.ParseSURBs(data); err == nil {
			r.add(blocks)
		}
		return nil
	case strings.HasPrefix(kind, "text/"), strings.HasPrefix(kind, "application/"):
		rest := r.takeBlocks(plain(data, params["charset"]))
		if kind == "text/plain" && !attached {
			r.plain = r.plain || strings.TrimSpace(rest) != ""
			if len(r.text) > 0 {
				r.text = append(r.text, '\n')
			}
			r.text = append(r.text, rest...)
		}
	}
	return nil
}

func (r *reader) multipart(boundary string, body io.Reader, depth int, enclosed bool) error {
	if boundary == "" {
		return fmt.Errorf("%w: it does not say what is between its parts", inmail.ErrMalformed)
	}
	parts := multipart.NewReader(body, boundary)
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: one of its parts has no end", inmail.ErrMalformed)
		}
		h := part{p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p.Header.Get("Content-Disposition")}
		if err := r.part(h, p, depth+1, enclosed); err != nil {
			return err
		}
	}
}

// enclosed reads a mail that is enclosed in another one: the one to be answered, most likely.
func (r *reader) enclosed(data []byte, depth int) error {
	m, err := inmail.Split(data)
	if err != nil {
		r.takeBlocks(plain(data, ""))
		return nil
	}
	return r.part(part{m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), ""}, bytes.NewReader(m.Body), depth+1, true)
}

// decoder undoes a transfer encoding. Unknown ones are taken for none.
func decoder(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	}
	return body
}

// plain makes UTF-8 with bare newlines of a text, and takes out what is no character of one.
func plain(data []byte, name string) string {
	text := string(data)
	if r, err := charset.Reader(name, bytes.NewReader(data)); name != "" && err == nil {
		if decoded, err := io.ReadAll(io.LimitReader(r, int64(4*len(data))+16)); err == nil {
			text = string(decoded)
		}
	}
	text = strings.ToValidUTF8(text, "?")
	text = strings.ReplaceAll(strings.TrimPrefix(text, "\uFEFF"), "\r\n", "\n")
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\r':
			return '\n'
		case unicode.IsControl(c) && c != '\n' && c != '\t':
			return -1
		}
		return c
	}, text)
}

func (r *reader) add(blocks []*packet.SURB) {
	r.blocks = append(r.blocks, blocks...)
	r.blocks = r.blocks[:min(len(r.blocks), maxBlocks)]
}

const (
	beginBlock = "-----BEGIN TYPE III REPLY BLOCK-----"
	endBlock   = "-----END TYPE III REPLY BLOCK-----"
)

// takeBlocks takes the armored reply blocks out of a text and returns the rest. The blocks may be quoted, as mail programs do with a mail that is
// answered, and have dashes escaped, as they have within a message that an exit has delivered.
func (r *reader) takeBlocks(text string) string {
	lines := strings.SplitAfter(text, "\n")
	var rest strings.Builder
	for i := 0; i < len(lines); i++ {
		if unquoted(lines[i]) != beginBlock {
			rest.WriteString(lines[i])
			continue
		}
		var block strings.Builder
		end := -1
		for j := i; j < min(len(lines), i+maxBlockLines) && end < 0; j++ {
			line := unquoted(lines[j])
			if j > i && line == beginBlock {
				break // also so that many of them cost no more than their lines
			}
			block.WriteString(line + "\n")
			if line == endBlock {
				end = j
			}
		}
		if end < 0 {
			rest.WriteString(lines[i])
			continue
		}
		if blocks, err := packet.ParseArmoredSURBs([]byte(block.String())); err == nil {
			r.add(blocks)
		}
		i = end
	}
	return rest.String()
}

// unquoted takes the marks of quotation, an escape of dashes and blanks at the ends off a line. No line of armor begins with one of these.
func unquoted(line string) string {
	line = strings.TrimSpace(strings.TrimLeft(line, "> \t\u00A0"))
	if rest, ok := strings.CutPrefix(line, "- "); ok && strings.HasPrefix(rest, "-----") {
		return rest
	}
	return line
}
