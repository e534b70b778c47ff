package directory

import (
	"bytes"
	"fmt"
	"strings"
)

// An Entry is one "Key: value" line.
type Entry struct {
	Key   string
	Value string
	Line  int // counted from 1; 0 for an entry that was not read from a text
}

// A Section is a "[Name]" line and the entries below it.
type Section struct {
	Name    string
	Line    int
	Entries []Entry
}

// get returns the first entry with the given key.
func (s *Section) get(key string) (Entry, bool) {
	for _, e := range s.Entries {
		if e.Key == key {
			return e, true
		}
	}
	return Entry{}, false
}

// A SyntaxError says where a text breaks the exchange format or the rules for what stands in it.
type SyntaxError struct {
	Line int // counted from 1; 0 means the text as a whole
	Msg  string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.Msg
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
}

func syntaxError(line int, format string, args ...any) error {
	return &SyntaxError{Line: line, Msg: fmt.Sprintf(format, args...)}
}

// Limits bound what Parse takes.
type Limits struct {
	Bytes    int // of the whole text
	Sections int
	Entries  int // in all sections together
}

// DescriptorLimits are the limits for a single server descriptor.
var DescriptorLimits = Limits{Bytes: MaxDescriptorLen, Sections: 64, Entries: 1024}

// Parse reads a text in the information exchange format (dir-spec 2.1). It takes printable ASCII and tabs, any style of line end, and
// blanks around keys and values; it refuses empty lines, comments, continuation lines and entries outside of a section.
// Repeated sections and keys are left to the caller, who knows which may repeat. Errors are of type *SyntaxError.
func Parse(text []byte, limits Limits) ([]Section, error) {
	if len(text) > limits.Bytes {
		return nil, syntaxError(0, "%d bytes are more than the %d allowed", len(text), limits.Bytes)
	}
	clean := normalize(text)
	if len(clean) == 0 {
		return nil, syntaxError(0, "empty text")
	}
	var sections []Section
	entries := 0
	for n := 1; len(clean) > 0; n++ {
		var line []byte
		line, clean, _ = bytes.Cut(clean, newline)
		if err := checkLine(line, n); err != nil {
			return nil, err
		}
		s := strings.Trim(string(line), blanks)
		if s[0] == '[' {
			name, ok := strings.CutSuffix(s[1:], "]")
			if !ok || !isIdentifier(name) {
				return nil, syntaxError(n, "malformed section header %s", quote(s))
			}
			if len(sections) == limits.Sections {
				return nil, syntaxError(n, "more than %d sections", limits.Sections)
			}
			sections = append(sections, Section{Name: name, Line: n})
			continue
		}
		key, value, ok := strings.Cut(s, ":")
		key = strings.TrimRight(key, blanks)
		if !ok || !isIdentifier(key) {
			return nil, syntaxError(n, "neither a section header nor an entry: %s", quote(s))
		}
		if len(sections) == 0 {
			return nil, syntaxError(n, "entry %s before the first section", quote(key))
		}
		if entries++; entries > limits.Entries {
			return nil, syntaxError(n, "more than %d entries", limits.Entries)
		}
		last := &sections[len(sections)-1]
		last.Entries = append(last.Entries, Entry{Key: key, Value: strings.TrimLeft(value, blanks), Line: n})
	}
	return sections, nil
}

// checkLine refuses what no line may contain, and the lines that only the configuration files of the same grammar know.
func checkLine(line []byte, n int) error {
	for _, c := range line {
		if c != '\t' && (c < ' ' || c > '~') {
			return syntaxError(n, "byte %#02x is not printable ASCII", c)
		}
	}
	switch trimmed := bytes.Trim(line, blanks); {
	case len(trimmed) == 0:
		return syntaxError(n, "empty line")
	case trimmed[0] == '#':
		return syntaxError(n, "comments are not allowed")
	case line[0] == ' ' || line[0] == '\t':
		return syntaxError(n, "continuation lines are not allowed")
	}
	return nil
}

// Format writes sections in the exchange format. It refuses, with a *SyntaxError, what Parse would not give back unchanged.
func Format(sections []Section) ([]byte, error) {
	var out []byte
	for _, s := range sections {
		if !isIdentifier(s.Name) {
			return nil, syntaxError(0, "%s cannot name a section", quote(s.Name))
		}
		out = append(out, '[')
		out = append(out, s.Name...)
		out = append(out, "]\n"...)
		for _, e := range s.Entries {
			if !isIdentifier(e.Key) || e.Key[0] == '#' {
				return nil, syntaxError(0, "%s cannot be a key", quote(e.Key))
			}
			if !isValue(e.Value) {
				return nil, syntaxError(0, "%s: the value must be printable ASCII in one line without blanks around it", e.Key)
			}
			out = append(out, e.Key...)
			out = append(out, ": "...)
			out = append(out, e.Value...)
			out = append(out, '\n')
		}
	}
	return out, nil
}

const blanks = " \t"

var newline = []byte("\n")

// normalize turns CR and CRLF into NL (dir-spec 3).
func normalize(text []byte) []byte {
	if !bytes.ContainsRune(text, '\r') {
		return text
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), newline)
	return bytes.ReplaceAll(text, []byte("\r"), newline)
}

func isIdentifier(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == ':' || c == '[' || c == ']' {
			return false
		}
	}
	return s != ""
}

func isValue(s string) bool {
	for _, c := range []byte(s) {
		if c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return strings.Trim(s, blanks) == s
}

// quote shows foreign text in an error, cut to a bearable length.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
