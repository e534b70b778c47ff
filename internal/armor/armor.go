// Package armor reads and writes the ASCII armor in which anonymous messages, reply blocks and keyrings travel by mail and lie in
// files. The source is E2E-spec 3.1.1 and A.2, which refer to section 6.2 of RFC 2440.
//
// Two points differ from OpenPGP: a base64 body is written without a checksum line (one that other software added is checked), and a
// block whose header "Message-type" is "plaintext" has a body of dash-escaped text in place of base64.
package armor

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// The types of block that the protocol uses.
const (
	TypeMessage    = "TYPE III ANONYMOUS MESSAGE"
	TypeReplyBlock = "TYPE III REPLY BLOCK"
	TypeKeyring    = "TYPE III KEYRING"
)

// The header that tells a text body from a base64 body (E2E-spec 3.1.1).
const (
	headerMessageType = "Message-type"
	plaintext         = "plaintext"
)

// columns is the width of a base64 body as it is written. Readers take any width.
const columns = 64

// A Header is one line "Key: Value" between the BEGIN line and the empty line.
type Header struct{ Key, Value string }

// A Block is one armored object.
type Block struct {
	Type    string   // the words between "BEGIN " and the dashes
	Headers []Header // in the order of the text
	Body    []byte   // decoded
	Dashed  bool     // the body is dash-escaped text, not base64
}

// Header returns the value of the header with that name, compared without regard to case.
func (b *Block) Header(key string) (value string, ok bool) {
	for _, h := range b.Headers {
		if strings.EqualFold(h.Key, key) {
			return h.Value, true
		}
	}
	return "", false
}

// Encode writes a block. The text ends with a newline, lines end with a bare NL. Type and Headers must be printable text without line
// breaks. Dashed decides about the body's form; readers expect it exactly when there is a header "Message-type: plaintext". A text
// body that does not end with a newline gets one.
func Encode(b Block) []byte {
	var out bytes.Buffer
	out.Grow(len(b.Body)*4/3 + len(b.Body)/columns*2 + 256)
	out.WriteString(beginMark + b.Type + endOfMark + "\n")
	for _, h := range b.Headers {
		out.WriteString(h.Key + ": " + h.Value + "\n")
	}
	out.WriteByte('\n')
	if b.Dashed {
		writeDashed(&out, b.Body)
	} else {
		writeBase64(&out, b.Body)
	}
	out.WriteString(endMark + b.Type + endOfMark + "\n")
	return out.Bytes()
}

func writeDashed(out *bytes.Buffer, body []byte) {
	for line := range bytes.Lines(body) {
		if line[0] == '-' {
			out.WriteString("- ")
		}
		out.Write(line)
	}
	if !bytes.HasSuffix(body, []byte("\n")) {
		out.WriteByte('\n')
	}
}

func writeBase64(out *bytes.Buffer, body []byte) {
	const perLine = columns / 4 * 3
	var line [columns]byte
	for len(body) > 0 {
		n := min(perLine, len(body))
		w := base64.StdEncoding.EncodedLen(n)
		base64.StdEncoding.Encode(line[:w], body[:n])
		out.Write(line[:w])
		out.WriteByte('\n')
		body = body[n:]
	}
}
