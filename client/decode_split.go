package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
)

// A piece is a part of an input that is looked at as a whole.
type piece struct {
	text   []byte // valid until the next piece
	isMail bool   // a mail, else an armored block
	mail   int    // in an mbox file, counted from 1
	line   int    // of an armored block, its first in the input, counted from 1
	err    error  // wraps ErrTooLarge, or is the reader's; the latter ends the input
}

// A splitter cuts an input into pieces, line by line: an mbox file into its mails, a text into its armored blocks.
type splitter struct {
	in   *bufio.Reader
	max  int // bytes in a piece
	line []byte
	// start says that line is the first part of a line; the rest of a long line follows with start false.
	start  bool
	midway bool
	number int
	err    error
}

// lookAhead is how much of an input is seen when its kind is decided, and the longest part of a line that is handled at a time.
const lookAhead = 64 << 10

func newSplitter(in io.Reader, limit int) *splitter {
	return &splitter{in: bufio.NewReaderSize(in, lookAhead), max: limit}
}

// next reads a line, or the next part of a long one.
func (s *splitter) next() bool {
	if s.err != nil {
		return false
	}
	line, err := s.in.ReadSlice('\n')
	s.start = !s.midway
	s.midway = errors.Is(err, bufio.ErrBufferFull)
	if s.start && len(line) > 0 {
		s.number++
	}
	if err != nil && !s.midway {
		s.err = err
	}
	s.line = line
	return len(line) > 0
}

// trouble is why reading ended, nil at the end of the input.
func (s *splitter) trouble() error {
	if s.err == nil || errors.Is(s.err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read messages: %w", s.err)
}

// pieces gives the input in its pieces.
func (s *splitter) pieces() iter.Seq[piece] {
	switch s.skipBlank(); {
	case s.atSeparator():
		return s.mails(true)
	case s.atHeader():
		return s.mails(false)
	}
	return s.blocks()
}

// skipBlank drops empty lines, and the mark that some editors put in front of a text.
func (s *splitter) skipBlank() {
	if bom, err := s.in.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
		_, _ = s.in.Discard(3) // these bytes are there
	}
	for {
		b, err := s.in.Peek(1)
		if err != nil || b[0] != '\n' && b[0] != '\r' {
			return
		}
		if b[0] == '\n' {
			s.number++
		}
		_, _ = s.in.Discard(1)
	}
}

// firstLine is the next line, as far as it can be seen.
func (s *splitter) firstLine() []byte {
	for n := 512; ; n *= 2 {
		text, err := s.in.Peek(min(n, lookAhead))
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			return text[:i+1]
		}
		if err != nil || n >= lookAhead {
			return text
		}
	}
}

// separator is the line before a mail in an mbox file. The time in it tells it from prose that begins with the same word.
var separator = regexp.MustCompile(`^From \S.*[0-9]:[0-9][0-9]`)

// quotedFrom is a line of an mbox file that begins with "From " in the mail itself.
var quotedFrom = regexp.MustCompile(`^>+From `)

func isSeparator(line []byte) bool {
	return bytes.HasPrefix(line, []byte("From ")) && separator.Match(line)
}

func (s *splitter) atSeparator() bool { return isSeparator(s.firstLine()) }

func (s *splitter) atHeader() bool {
	_, _, ok := cutHeader(s.firstLine())
	return ok
}

// mails gives the mails of an mbox file, or the input as one mail.
func (s *splitter) mails(mbox bool) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		p := piece{isMail: true}
		tooLarge, afterEmpty := false, true
		flush := func() bool {
			if tooLarge {
				return yield(piece{isMail: true, mail: p.mail, err: fmt.Errorf("the mail is %w: more than %s", ErrTooLarge, megabytes(s.max))})
			}
			return len(p.text) == 0 || yield(p)
		}
		for s.next() {
			if mbox && s.start && afterEmpty && isSeparator(s.line) {
				if p.mail > 0 && !flush() {
					return
				}
				p.mail++
				p.text, tooLarge = p.text[:0], false
				afterEmpty = false
				continue
			}
			line := s.line
			afterEmpty = s.start && len(bytes.TrimRight(line, "\r\n")) == 0
			if mbox && s.start && quotedFrom.Match(line) {
				line = line[1:]
			}
			if tooLarge = tooLarge || len(p.text)+len(line) > s.max; tooLarge {
				p.text = nil
				continue
			}
			p.text = append(p.text, line...)
		}
		if !flush() {
			return
		}
		if err := s.trouble(); err != nil {
			yield(piece{isMail: true, mail: p.mail, err: err})
		}
	}
}

// The lines around an armored block. What else they hold package armor looks at.
var (
	blockBegin = []byte("-----BEGIN ")
	blockEnd   = []byte("-----END ")
)

// blocks gives the armored blocks of a text, whole or not.
func (s *splitter) blocks() iter.Seq[piece] {
	return func(yield func(piece) bool) {
		var p piece
		inside, tooLarge := false, false
		flush := func() bool {
			was := inside
			inside = false
			if tooLarge {
				tooLarge = false
				return yield(piece{line: p.line, err: fmt.Errorf("the message is %w: more than %s", ErrTooLarge, megabytes(s.max))})
			}
			return !was || yield(p)
		}
		for s.next() {
			if s.start && bytes.HasPrefix(s.line, blockBegin) {
				if !flush() {
					return
				}
				p.text, p.line, inside = p.text[:0], s.number, true
			}
			if !inside {
				continue
			}
			if tooLarge = tooLarge || len(p.text)+len(s.line) > s.max; tooLarge {
				p.text = nil
			} else {
				p.text = append(p.text, s.line...)
			}
			if s.start && bytes.HasPrefix(s.line, blockEnd) && !flush() {
				return
			}
		}
		if !flush() {
			return
		}
		if err := s.trouble(); err != nil {
			yield(piece{err: err})
		}
	}
}

func megabytes(n int) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d MB", n>>20)
}
