package mailin

import (
	"strings"
	"testing"
)

// BenchmarkParse takes apart a mail whose text of 1 MB is in quoted-printable and another charset.
func BenchmarkParse(b *testing.B) {
	raw := lines(to, "Subject: =?iso-8859-15?q?=A4?=", "Content-Type: text/plain; charset=iso-8859-15", "Content-Transfer-Encoding: quoted-printable", "",
		strings.Repeat("It costs 5 =A4, and that is not too much for what it is, is it?\r\n", 16_000))
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
