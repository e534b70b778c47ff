// Package dkim signs mails, so that receivers can tell that they come from the domain in their From line and were not changed on the
// way. The source is RFC 6376, with RFC 8463 for Ed25519.
//
// A signature here is a function of the mail, the key and a time that the caller has rounded: the same mail signed a second time gives
// the same bytes, and no signature tells the minute in which it was made. The headers that would be dangerous to add or to repeat are
// signed once more than the mail has them, so that a signature does not outlive such a change.
//
// The package is pure. Reading a key file and asking the name server is the caller's.
package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Validity is how long a signature is good for. It covers the days of retrying at the exit and at its mail server; who collects mails
// cannot send them again for ever.
const Validity = 21 * 24 * time.Hour

// A Key signs mails for a domain. New and Parse make one.
type Key struct {
	domain, selector string
	signer           crypto.Signer
	algorithm        string // as tags a= and k= have its first part
	public           []byte // as tag p= has it
}

// New checks what a key is to be published as. The key is an RSA key of 2048 to 4096 bits or an Ed25519 key.
func New(domain, selector string, signer crypto.Signer) (*Key, error) {
	for _, name := range []string{domain, selector} {
		if !validName(name) {
			return nil, fmt.Errorf("%q is no domain name that a DKIM key could have", name)
		}
	}
	k := &Key{domain: strings.ToLower(domain), selector: strings.ToLower(selector), signer: signer}
	if err := k.setAlgorithm(); err != nil {
		return nil, err
	}
	if _, err := k.Sign([]byte("From: a@b.example\r\n\r\n"), nil, time.Unix(0, 0)); err != nil {
		return nil, err
	}
	return k, nil
}

// validName accepts labels of letters, digits, hyphens and underscores with dots between them.
func validName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}

// Domain is whom the key signs for.
func (k *Key) Domain() string { return k.domain }

// Everywhere reports whether all receivers that check signatures know the key's kind, as they do RSA.
func (k *Key) Everywhere() bool { return k.algorithm == algRSA }

// twice are the headers that are signed once more than the mail has them.
var twice = []string{
	"From", "Reply-To", "Sender", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "MIME-Version", "Content-Type",
	"Content-Transfer-Encoding",
}

// once are the headers that are signed as often as the mail has them.
var once = []string{"X-Anonymous", "X-Abuse", "Comments", "List-Unsubscribe"}

// Sign returns the header field, with CRLF at its end, that belongs in front of a mail with this header, which ends with an empty line,
// and this body. Both have CRLF line ends.
func (k *Key) Sign(header, body []byte, at time.Time) ([]byte, error) {
	fields := splitFields(header)
	names, signed := choose(fields)
	bodyHash := sha256.Sum256(relaxBody(body))
	field := fmt.Sprintf("DKIM-Signature: v=1; a=%s-sha256; c=relaxed/relaxed;\r\n\td=%s; s=%s;\r\n\tt=%d; x=%d;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=",
		k.algorithm, k.domain, k.selector, at.Unix(), at.Add(Validity).Unix(), fold(names, ":"), base64.StdEncoding.EncodeToString(bodyHash[:]))
	digest := sha256.New()
	for _, f := range signed {
		digest.Write(append(relaxField(f), "\r\n"...))
	}
	digest.Write(relaxField([]byte(field)))
	sum := digest.Sum(nil)
	hash := crypto.SHA256
	if k.algorithm == algEd25519 {
		hash = 0 // the digest itself is what is signed (RFC 8463, 3)
	}
	signature, err := k.signer.Sign(nil, sum, hash)
	if err != nil {
		return nil, fmt.Errorf("sign mail: %w", err)
	}
	return []byte(field + fold(chunks(base64.StdEncoding.EncodeToString(signature), 72), "") + "\r\n"), nil
}

const (
	algRSA     = "rsa"
	algEd25519 = "ed25519"
)

func (k *Key) setAlgorithm() (err error) {
	switch pub := k.signer.Public().(type) {
	case *rsa.PublicKey:
		if n := pub.N.BitLen(); n < 2048 || n > 4096 {
			return fmt.Errorf("an RSA key of %d bits: receivers want 2048 at least, and more than 4096 does not fit a name server", n)
		}
		k.algorithm = algRSA
		k.public, err = marshalPublic(pub)
		return err
	case ed25519.PublicKey:
		k.algorithm, k.public = algEd25519, pub
		return nil
	}
	return errors.New("a DKIM key must be an RSA or an Ed25519 key")
}

// splitFields returns the header fields without their last CRLF.
func splitFields(header []byte) (fields [][]byte) {
	for len(header) > 0 {
		end := 0
		for {
			n := bytes.Index(header[end:], []byte("\r\n"))
			if n < 0 {
				end = len(header)
				break
			}
			end += n
			if end+2 >= len(header) || header[end+2] != ' ' && header[end+2] != '\t' {
				break
			}
			end += 2
		}
		if end > 0 {
			fields = append(fields, header[:end])
		}
		header = header[min(end+2, len(header)):]
	}
	return fields
}

// choose returns the names for the tag h= and the fields that they stand for. Several fields of one name count from the last.
func choose(fields [][]byte) (names []string, signed [][]byte) {
	add := func(name string, more bool) {
		for i := len(fields) - 1; i >= 0; i-- {
			if found, _, _ := bytes.Cut(fields[i], []byte(":")); strings.EqualFold(string(found), name) {
				names, signed = append(names, name), append(signed, fields[i])
			}
		}
		if more {
			names = append(names, name)
		}
	}
	for _, name := range twice {
		add(name, true)
	}
	for _, name := range once {
		add(name, false)
	}
	return names, signed
}

// relaxField canonicalizes a header field (RFC 6376, 3.4.2), without CRLF at its end.
func relaxField(field []byte) []byte {
	name, value, _ := bytes.Cut(field, []byte(":"))
	value = bytes.ReplaceAll(value, []byte("\r\n"), nil)
	out := append(bytes.ToLower(bytes.TrimRight(name, " \t")), ':')
	return append(out, bytes.Trim(oneBlank(value), " ")...)
}

// relaxBody canonicalizes a body (RFC 6376, 3.4.4).
func relaxBody(body []byte) []byte {
	out := make([]byte, 0, len(body)+2)
	end := 0 // of the last line that is not empty
	for len(body) > 0 {
		line, rest, _ := bytes.Cut(body, []byte("\r\n"))
		body = rest
		line = bytes.TrimRight(oneBlank(line), " ")
		out = append(append(out, line...), "\r\n"...)
		if len(line) > 0 {
			end = len(out)
		}
	}
	return out[:end]
}

// oneBlank makes one blank of every run of blanks and tabs. It may return b itself.
func oneBlank(b []byte) []byte {
	if bytes.IndexByte(b, '\t') < 0 && !bytes.Contains(b, []byte("  ")) {
		return b
	}
	out := make([]byte, 0, len(b))
	for i, c := range b {
		switch {
		case c != ' ' && c != '\t':
			out = append(out, c)
		case i == 0 || b[i-1] != ' ' && b[i-1] != '\t':
			out = append(out, ' ')
		}
	}
	return out
}

// fold joins words, in lines of at most 76 columns if the words allow it.
func fold(words []string, separator string) string {
	var b strings.Builder
	column := 8 // of the tab and the name of the tag
	for i, word := range words {
		if i < len(words)-1 {
			word += separator
		}
		if i > 0 && column+len(word) > 76 {
			b.WriteString("\r\n\t")
			column = 8
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// chunks cuts s into pieces of n bytes and a rest.
func chunks(s string, n int) (out []string) {
	for len(s) > n {
		out, s = append(out, s[:n]), s[n:]
	}
	return append(out, s)
}
