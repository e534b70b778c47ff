package armor

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// What can be wrong with armor. Errors of All and Decode wrap one of these in an *Error.
var (
	ErrNoBlock    = errors.New("no armored block found")
	ErrTruncated  = errors.New("corrupted data: the text seems to have been cut short by a mail gateway (a line begins with \"[...]\")")
	ErrNoEnd      = errors.New("the END line is missing")
	ErrHeader     = errors.New("malformed armor header")
	ErrBase64     = errors.New("the body is not valid base64")
	ErrChecksum   = errors.New("the checksum line does not match the body")
	ErrWrongBlock = errors.New("the END line names another type than the BEGIN line")
)

// An Error tells in which block of a text, and at which of its lines, reading failed. It never quotes the text.
type Error struct {
	Type string // the type of the damaged block, empty when there is no block
	Line int    // counted from 1; 0 when the error is about the whole text
	Err  error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("line %d, %s: %v", e.Line, strings.ToLower(e.Type), e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

const (
	beginMark = "-----BEGIN "
	endMark   = "-----END "
	endOfMark = "-----"

	maxTypeLen   = 64
	maxHeaders   = 16
	maxHeaderLen = 1024
)

// Decode returns all blocks of the given types (of any type when none is given) in text, which may hold other lines before, between
// and after them. It stops at the first damaged block and returns what it has so far with an *Error; without any block the error wraps
// ErrNoBlock. Line ends may be NL or CRLF.
func Decode(text []byte, types ...string) ([]Block, error) {
	var blocks []Block
	for b, err := range All(text, types...) {
		if err != nil {
			return blocks, err
		}
		blocks = append(blocks, b)
	}
	if len(blocks) == 0 {
		return nil, &Error{Err: ErrNoBlock}
	}
	return blocks, nil
}

// All iterates over the blocks of text as Decode does, but goes on after a damaged block: it yields its *Error and looks for the next
// BEGIN line. A text without blocks yields nothing. All it allocates is bounded by the length of text.
func All(text []byte, types ...string) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		s := scanner{rest: text}
		for s.next() {
			typ, ok := mark(s.line, beginMark)
			if !ok || len(types) > 0 && !slices.Contains(types, typ) {
				continue
			}
			block, err := s.block(typ)
			if err != nil {
				err = &Error{Type: typ, Line: s.number, Err: err}
			}
			if !yield(block, err) {
				return
			}
		}
	}
}

// mark reports whether line is "-----BEGIN X-----" or "-----END X-----" and gives X. Blanks after it do no harm.
func mark(line []byte, prefix string) (typ string, ok bool) {
	line = bytes.TrimRight(line, " \t\r")
	line, ok = bytes.CutPrefix(line, []byte(prefix))
	if !ok {
		return "", false
	}
	line, ok = bytes.CutSuffix(line, []byte(endOfMark))
	if !ok || len(line) == 0 || len(line) > maxTypeLen || !printable(line) {
		return "", false
	}
	return string(line), true
}

func printable(s []byte) bool {
	return !slices.ContainsFunc(s, func(c byte) bool { return c < 0x20 || c > 0x7e })
}

// scanner walks over the lines of a text.
type scanner struct {
	rest   []byte
	line   []byte // without its NL
	number int
	again  bool // deliver line once more
}

func (s *scanner) next() bool {
	if s.again {
		s.again = false
		return true
	}
	if len(s.rest) == 0 {
		return false
	}
	s.line, s.rest, _ = bytes.Cut(s.rest, []byte("\n"))
	s.number++
	return true
}

// block reads what follows a BEGIN line. When it fails, the line that was at fault is looked at again, because it may be the BEGIN line
// of the next block.
func (s *scanner) block(typ string) (Block, error) {
	b := Block{Type: typ}
	// In a text body a CR belongs to the line end only if the lines of this text end so.
	crlf := bytes.HasSuffix(s.line, []byte("\r"))
	if err := s.headers(&b); err != nil {
		return Block{}, err
	}
	value, _ := b.Header(headerMessageType)
	b.Dashed = value == plaintext
	var err error
	if b.Dashed {
		err = s.dashedBody(&b, crlf)
	} else {
		err = s.base64Body(&b)
	}
	if err != nil {
		return Block{}, err
	}
	return b, nil
}

func (s *scanner) headers(b *Block) error {
	for s.next() {
		line := bytes.TrimSpace(s.line)
		if len(line) == 0 {
			return nil
		}
		if err := s.atMark(b.Type); err != nil {
			return err
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !headerKey(key) || len(line) > maxHeaderLen || !printable(line) {
			return ErrHeader
		}
		h := Header{string(key), string(bytes.TrimSpace(value))}
		if _, dup := b.Header(h.Key); dup || len(b.Headers) == maxHeaders {
			return ErrHeader
		}
		b.Headers = append(b.Headers, h)
	}
	return ErrNoEnd
}

// headerKey reports whether key is made of letters, digits and inner dashes.
func headerKey(key []byte) bool {
	for _, c := range key {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return len(key) > 0 && key[0] != '-'
}

// atMark refuses a BEGIN line, and an END line of another type, inside a block. An END line of its own type is left to the caller.
func (s *scanner) atMark(typ string) error {
	if _, ok := mark(s.line, beginMark); ok {
		s.again = true
		return ErrNoEnd
	}
	if end, ok := mark(s.line, endMark); ok && end != typ {
		return ErrWrongBlock
	}
	return nil
}

func (s *scanner) atEnd(typ string) bool {
	end, ok := mark(s.line, endMark)
	return ok && end == typ
}

func (s *scanner) dashedBody(b *Block, crlf bool) error {
	b.Body = []byte{}
	for s.next() {
		if s.atEnd(b.Type) {
			return nil
		}
		if err := s.atMark(b.Type); err != nil {
			return err
		}
		line := s.line
		if crlf {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		b.Body = append(b.Body, bytes.TrimPrefix(line, []byte("- "))...)
		b.Body = append(b.Body, '\n')
	}
	return ErrNoEnd
}

func (s *scanner) base64Body(b *Block) error {
	var digits, sum []byte
	for s.next() {
		if s.atEnd(b.Type) {
			return finishBase64(b, digits, sum)
		}
		if err := s.atMark(b.Type); err != nil {
			return err
		}
		line := bytes.TrimSpace(s.line)
		switch {
		case bytes.HasPrefix(line, []byte("[...]")):
			return ErrTruncated
		case len(line) == 0:
		case sum != nil:
			return ErrBase64
		case len(line) == 5 && line[0] == '=' && line[1] != '=':
			sum = line[1:]
		default:
			digits = append(digits, line...)
		}
	}
	return ErrNoEnd
}

// strict takes one text only for each value.
var strict = base64.StdEncoding.Strict()

func finishBase64(b *Block, digits, sum []byte) error {
	if bytes.IndexByte(digits, '\r') >= 0 { // the decoder would skip it
		return ErrBase64
	}
	n, err := strict.Decode(digits, digits)
	if err != nil {
		return ErrBase64
	}
	b.Body = digits[:n:n]
	if sum == nil {
		return nil
	}
	var want [3]byte
	if _, err := strict.Decode(want[:], sum); err != nil {
		return ErrChecksum
	}
	if uint32(want[0])<<16|uint32(want[1])<<8|uint32(want[2]) != crc24(b.Body) {
		return ErrChecksum
	}
	return nil
}

// crc24 is the checksum of section 6.1 of RFC 2440.
func crc24(data []byte) uint32 {
	crc := uint32(0xb704ce)
	for _, c := range data {
		crc ^= uint32(c) << 16
		for range 8 {
			crc <<= 1
			if crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	return crc & 0xffffff
}
