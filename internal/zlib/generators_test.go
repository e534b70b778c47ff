package zlib

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The inputs of the corpus, made as in testdata/make_corpus.py. Each function
// here does the same as the one of that name there, down to the order in which
// it takes random numbers; testdata/README.md says what they are good for.

// stream is a source of deterministic random bytes: SHA-256 of "label counter",
// one digest after the other.
type stream struct {
	label   string
	counter int
	rest    []byte
}

func (r *stream) bytes(n int) []byte {
	out := make([]byte, 0, n+sha256.Size)
	for out = append(out, r.rest...); len(out) < n; r.counter++ {
		block := sha256.Sum256(fmt.Appendf(nil, "%s %d", r.label, r.counter))
		out = append(out, block[:]...)
	}
	r.rest = bytes.Clone(out[n:])
	return out[:n]
}

// below returns a number from 0 to n-1 (not quite uniform, which does not matter).
func (r *stream) below(n int) int {
	for len(r.rest) < 4 {
		block := sha256.Sum256(fmt.Appendf(nil, "%s %d", r.label, r.counter))
		r.rest = append(r.rest, block[:]...)
		r.counter++
	}
	v := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return int(v % uint32(n))
}

// geometric returns how often in a row, at most limit, a chance of percent
// comes true.
func (r *stream) geometric(percent, limit int) int {
	n := 0
	for n < limit && r.below(100) < percent {
		n++
	}
	return n
}

func constant(size, value int) []byte {
	return bytes.Repeat([]byte{byte(value)}, size)
}

func alphabet(r *stream, size, symbols, lowest int) []byte {
	out := r.bytes(size)
	for i, b := range out {
		out[i] = byte(min(lowest+int(b)*symbols>>8, 255))
	}
	return out
}

func skewed(r *stream, size, percent, limit int) []byte {
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(r.geometric(percent, limit))
	}
	return out
}

func period(r *stream, size, length, symbols, errors int) []byte {
	block := alphabet(r, length, symbols, 0)
	out := bytes.Repeat(block, size/length+1)[:size]
	for i := 0; i < errors && size > 0; i++ {
		p := r.below(size)
		out[p] = byte(r.below(256))
	}
	return out
}

func echo(r *stream, size, distance, length, step, offset int) []byte {
	out := alphabet(r, size, 200, 0) // less than 256, or the blocks would be stored
	for p := offset; p < size; p += step {
		if p >= distance {
			piece := bytes.Clone(out[p-distance : min(p-distance+length, size)])
			copy(out[p:], piece)
		}
	}
	return out
}

func chain(r *stream, size, tries, length int) []byte {
	phrase := alphabet(r, length, 100, 100)
	var out []byte
	for len(out) < size {
		out = append(append(out, "abc"...), phrase...)
		for range tries - 1 {
			out = append(append(out, "abc"...), alphabet(r, 4, 100, 0)...)
		}
	}
	return out[:size]
}

func held(r *stream, size, tries, length int) []byte {
	phrase := alphabet(r, length, 100, 100)
	more := alphabet(r, 10, 100, 100)
	out := []byte("-") // what comes first is never found
	for len(out) < size {
		out = append(append(append(out, "abc"...), phrase...), more...)
		out = append(append(out, "Zabc"...), phrase...)
		for range tries - 2 {
			out = append(append(out, "abc"...), alphabet(r, 4, 90, 0)...)
		}
		out = append(append(append(out, "Zabc"...), phrase...), more...)
	}
	return out[:size]
}

// copyBack appends length bytes from distance back, which may overlap themselves.
func copyBack(out []byte, distance, length int) []byte {
	for start := len(out) - distance; length > 0; length-- {
		out = append(out, out[start])
		start++
	}
	return out
}

func copies(r *stream, size, symbols, literals, longest, farthest int) []byte {
	out := alphabet(r, 16, symbols, 0)
	for len(out) < size {
		if r.below(100) < literals {
			out = append(out, alphabet(r, 1+r.below(4), symbols, 0)...)
		} else {
			length := 2 + r.below(longest)
			out = copyBack(out, 1+r.below(min(farthest, len(out))), length)
		}
	}
	return out[:size]
}

func lengths(r *stream, size, percent, least int) []byte {
	steps := []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99,
		115, 131, 163, 195, 227, 258}
	book := alphabet(r, 8192, 255, 0)
	out := slices.Clone(book)
	for len(out) < size {
		n := max(least, steps[r.geometric(percent, len(steps)-1)])
		p := r.below(len(book) - n)
		out = append(append(out, book[p:p+n]...), 0xff)
	}
	return out[:size]
}

func distances(r *stream, size, percent, length int) []byte {
	out := r.bytes(256)
	for len(out) < size {
		d := 1 << min(1+r.geometric(percent, 14), bits.Len(uint(len(out)))-1)
		out = copyBack(out, d-r.below(d/2), length)
		out = append(out, r.bytes(1)...)
	}
	return out[:size]
}

// textWords returns the words of one of testdata/texts.
var textWords = func() func(language string) [][]byte {
	var mu sync.Mutex
	known := map[string][][]byte{}
	return func(language string) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		if known[language] == nil {
			b, err := os.ReadFile(filepath.Join("testdata", "texts", language+".txt"))
			if err != nil {
				panic(err)
			}
			known[language] = bytes.FieldsFunc(b, func(r rune) bool { return r == ' ' || r == '\n' })
		}
		return known[language]
	}
}()

func text(r *stream, size int, language string) []byte {
	words, space := textWords(language), " "
	if language == "zh" || language == "ja" {
		space = ""
	}
	var out []byte
	for count := 1; len(out) < size; count++ {
		out = append(out, words[r.below(len(words))]...)
		if count%13 == 0 {
			out = append(out, '\n')
		} else {
			out = append(out, space...)
		}
	}
	return out[:size]
}

func sourceCode(r *stream, size int) []byte {
	names := strings.Fields("count index buffer result packet header node left right total size")
	lines := []string{"%s := %s + %d", "if %s < len(%s) && %d > 0 {", "%s.%s[%d] = nil",
		"// %s must not be less than %s, see section %d", "return %s, fmt.Errorf(\"%s: %d\")",
		"} // %s %s %d"}
	var out []byte
	for depth := 0; len(out) < size; {
		a, b, n := names[r.below(11)], names[r.below(11)], r.below(1000)
		kind := r.below(6)
		if kind == 5 && depth > 0 {
			depth--
		}
		out = append(out, strings.Repeat("\t", depth)...)
		out = append(fmt.Appendf(out, lines[kind], a, b, n), '\n')
		if kind == 1 {
			depth++
		}
	}
	return out[:size]
}

func table(r *stream, size int) []byte {
	var out []byte
	for row := 0; len(out) < size; {
		row += 1 + r.below(3)
		a, b, c, d := r.below(10), r.below(100000), r.below(100), r.below(3)
		out = fmt.Appendf(out, "%08d;%d;%d.%02d;%s\n", row, a, b, c, []string{"ok", "late", "lost"}[d])
	}
	return out[:size]
}

func records(r *stream, size int) []byte {
	var out []byte
	for row := 0; len(out) < size; {
		row += r.below(4)
		out = binary.LittleEndian.AppendUint32(out, uint32(row))
		out = append(out, make([]byte, 6)...)
		out = append(out, byte(r.below(8)), 0)
		out = append(out, r.bytes(r.below(5))...)
	}
	return out[:size]
}

var mixedParts = []string{"random", "text:en", "text:ru", "text:ja", "code", "table", "records", "constant:0",
	"base64/random", "hex/random", "copies:4:30:12:5000", "copies:256:50:40:40000",
	"skewed:62:20", "alphabet:2:48", "alphabet:130:120", "period:1000:256:0"}

func mixed(r *stream, size, largest int) ([]byte, error) {
	var out []byte
	for len(out) < size {
		name := mixedParts[r.below(len(mixedParts))]
		seed := r.below(1000)
		part, err := generate(name, seed, 1+r.below(largest))
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out[:size], nil
}

// generate returns the input of a case. An encoding may stand before the name,
// as in hex/text:en.
func generate(name string, seed, size int) ([]byte, error) {
	if encoding, inner, ok := strings.Cut(name, "/"); ok {
		in, err := generate(inner, seed, size)
		if err != nil {
			return nil, err
		}
		switch encoding {
		case "base64":
			return encodeBase64(in)[:size], nil
		case "hex":
			return hex.AppendEncode(nil, in)[:size], nil
		}
		return nil, fmt.Errorf("unknown encoding %q", encoding)
	}

	kind, arguments, _ := strings.Cut(name, ":")
	var a [4]int
	if kind != "text" && arguments != "" {
		for i, s := range strings.Split(arguments, ":") {
			n, err := strconv.Atoi(s)
			if err != nil || i >= len(a) {
				return nil, fmt.Errorf("bad arguments %q", arguments)
			}
			a[i] = n
		}
	}
	r := &stream{label: fmt.Sprintf("%s %d", name, seed)}
	switch kind {
	case "constant":
		return constant(size, a[0]), nil
	case "random":
		return r.bytes(size), nil
	case "alphabet":
		return alphabet(r, size, a[0], a[1]), nil
	case "skewed":
		return skewed(r, size, a[0], a[1]), nil
	case "period":
		return period(r, size, a[0], a[1], a[2]), nil
	case "echo":
		return echo(r, size, a[0], a[1], a[2], a[3]), nil
	case "chain":
		return chain(r, size, a[0], a[1]), nil
	case "held":
		return held(r, size, a[0], a[1]), nil
	case "copies":
		return copies(r, size, a[0], a[1], a[2], a[3]), nil
	case "lengths":
		return lengths(r, size, a[0], a[1]), nil
	case "distances":
		return distances(r, size, a[0], a[1]), nil
	case "text":
		return text(r, size, arguments), nil
	case "code":
		return sourceCode(r, size), nil
	case "table":
		return table(r, size), nil
	case "records":
		return records(r, size), nil
	case "mixed":
		return mixed(r, size, a[0])
	}
	return nil, fmt.Errorf("unknown generator %q", kind)
}

// encodeBase64 ends a line after every 76 characters, and at the end.
func encodeBase64(in []byte) []byte {
	var out []byte
	for line := range slices.Chunk(in, 57) {
		out = append(base64.StdEncoding.AppendEncode(out, line), '\n')
	}
	return out
}
