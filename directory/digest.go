package directory

import (
	"bytes"

	"mixminion/internal/crypt"
)

// clean gives the form of text that digests are computed over: NL as line end, also after the last line, and no blanks
// at either end of a line (dir-spec 2.5; blanks in front go as well, as every existing implementation does it).
func clean(text []byte) []byte {
	out := make([]byte, 0, len(text)+1)
	for line := range bytes.Lines(normalize(text)) {
		out = append(out, bytes.Trim(line, " \t\n")...)
		out = append(out, '\n')
	}
	return out
}

// stubDigest returns the digest of cleaned text in which the values of its unsigned entries are empty (dir-spec 2.5): of the first
// len(unsigned) lines that begin with one of the given keys and a colon only that much is kept.
func stubDigest(cleaned []byte, unsigned ...string) crypt.Digest {
	stub := make([]byte, 0, len(cleaned))
	left := len(unsigned)
	for line := range bytes.Lines(cleaned) {
		if colon := bytes.IndexByte(line, ':'); left > 0 && colon >= 0 && isOneOf(line[:colon], unsigned) {
			line = append(line[:colon+1:colon+1], '\n')
			left--
		}
		stub = append(stub, line...)
	}
	return crypt.Hash(stub)
}

func isOneOf(key []byte, keys []string) bool {
	for _, k := range keys {
		if string(key) == k {
			return true
		}
	}
	return false
}

// descriptorDigest is the digest of a server descriptor.
func descriptorDigest(cleaned []byte) crypt.Digest { return stubDigest(cleaned, "Digest", "Signature") }
