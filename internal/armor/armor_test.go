package armor_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mixminion/internal/armor"
)

func vectors(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range []string{"armor-binary.asc", "armor-plain.asc", "armor-overcompressed.asc", "surbs.asc", "keyring"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
	}
	return files
}

func TestVectorsRoundTrip(t *testing.T) {
	for name, text := range vectors(t) {
		blocks, err := armor.Decode(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var again []byte
		for _, b := range blocks {
			again = append(again, armor.Encode(b)...)
		}
		if !bytes.Equal(again, text) {
			t.Errorf("%s: encodes differently:\n%s", name, again)
		}
	}
}

func TestReplyBlockBodies(t *testing.T) {
	want, err := os.ReadFile("testdata/surbs.bin")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := armor.Decode(vectors(t)["surbs.asc"], armor.TypeReplyBlock)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for _, b := range blocks {
		got = append(got, b.Body...)
		if v, ok := b.Header("version"); !ok || v == "" {
			t.Error("no version header")
		}
	}
	if !bytes.Equal(got, want) {
		t.Error("bodies differ from the binary form")
	}
}

// Mail programs change line ends, add lines around and blanks behind.
func TestReadInsideMail(t *testing.T) {
	for name, text := range vectors(t) {
		want, err := armor.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		crlf := bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
		for what, mail := range map[string][]byte{
			"crlf":        crlf,
			"in a mail":   slices.Concat([]byte("Subject: -----BEGIN\n\nHi,\n-----BEGIN\n- -----BEGIN X-----\n"), text, []byte("--\nfooter\n")),
			"mail, crlf":  slices.Concat([]byte("Subject: x\r\n\r\n"), crlf, []byte("footer\r\n")),
			"no final NL": bytes.TrimRight(text, "\n"),
			"blanks":      bytes.ReplaceAll(text, []byte("-----\n"), []byte("----- \t\n")),
		} {
			got, err := armor.Decode(mail)
			if err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			} else if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s, %s: %s", name, what, d)
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	const begin, end = "-----BEGIN TYPE III REPLY BLOCK-----\n", "-----END TYPE III REPLY BLOCK-----\n"
	const text = "-----BEGIN TYPE III ANONYMOUS MESSAGE-----\nMessage-type: plaintext\n\n"
	for _, tc := range []struct {
		name, text string
		want       error
		line       int
	}{
		{"empty", "", armor.ErrNoBlock, 0},
		{"no block", "hello\nworld", armor.ErrNoBlock, 0},
		{"type without name", "-----BEGIN -----\n\n-----END -----\n", armor.ErrNoBlock, 0},
		{"very long type", "-----BEGIN " + strings.Repeat("X", 100) + "-----\n", armor.ErrNoBlock, 0},
		{"only begin", begin, armor.ErrNoEnd, 1},
		{"headers only", begin + "Version: 0.2\n", armor.ErrNoEnd, 2},
		{"no end", begin + "\nAAAA\n", armor.ErrNoEnd, 3},
		{"begin in block", begin + "\nAAAA\n" + begin, armor.ErrNoEnd, 4},
		{"other end", begin + "\nAAAA\n-----END TYPE III KEYRING-----\n", armor.ErrWrongBlock, 4},
		{"end in headers", begin + end, armor.ErrHeader, 2},
		{"no empty line", begin + "AAAA\n" + end, armor.ErrHeader, 2},
		{"header without name", begin + ": x\n\n" + end, armor.ErrHeader, 2},
		{"header with odd name", begin + "a b: x\n\n" + end, armor.ErrHeader, 2},
		{"header with control", begin + "a: x\x07\n\n" + end, armor.ErrHeader, 2},
		{"header twice", begin + "Version: 1\nversion: 2\n\n" + end, armor.ErrHeader, 3},
		{"long header", begin + "a: " + strings.Repeat("x", 2000) + "\n\n" + end, armor.ErrHeader, 2},
		{"bad digit", begin + "\nAA*A\n" + end, armor.ErrBase64, 4},
		{"bad length", begin + "\nAAAAA\n" + end, armor.ErrBase64, 4},
		{"padding inside", begin + "\nAA==\nAAAA\n" + end, armor.ErrBase64, 5},
		{"stray bits", begin + "\nAB==\n" + end, armor.ErrBase64, 4},
		{"bare CR", begin + "\nAA\rAA\n" + end, armor.ErrBase64, 4},
		{"truncated", begin + "\nAAAA\n[...]\n" + end, armor.ErrTruncated, 4},
		{"wrong checksum", begin + "\nAAAA\n=AAAA\n" + end, armor.ErrChecksum, 5},
		{"malformed checksum", begin + "\nAAAA\n=A*AA\n" + end, armor.ErrChecksum, 5},
		{"lines after checksum", begin + "\nAAAA\n=AAAA\nAAAA\n" + end, armor.ErrBase64, 5},
		{"text without end", text + "hello\n", armor.ErrNoEnd, 4},
		{"text with begin", text + "hello\n" + begin, armor.ErrNoEnd, 5},
		{"text with other end", text + "hello\n" + end, armor.ErrWrongBlock, 5},
	} {
		_, err := armor.Decode([]byte(tc.text))
		var e *armor.Error
		if !errors.Is(err, tc.want) || !errors.As(err, &e) || e.Line != tc.line {
			t.Errorf("%s: %v, want %v at line %d", tc.name, err, tc.want, tc.line)
		}
	}
}

// RFC 2440 gives no checksum vector; this one is of "123456789", the usual check value of CRC-24/OPENPGP.
func TestChecksumLine(t *testing.T) {
	const text = "-----BEGIN TYPE III KEYRING-----\nVersion: 0.1\n\nMTIzNDU2Nzg5\n=Ic8C\n-----END TYPE III KEYRING-----\n"
	blocks, err := armor.Decode([]byte(text))
	if err != nil || string(blocks[0].Body) != "123456789" {
		t.Fatal(blocks, err)
	}
}

func TestAllGoesOnAfterDamage(t *testing.T) {
	good := string(armor.Encode(armor.Block{Type: armor.TypeReplyBlock, Body: []byte("good")}))
	text := good + "-----BEGIN TYPE III REPLY BLOCK-----\n\nAAAA\n" + good + "-----BEGIN OTHER-----\n\n*\n-----END OTHER-----\n" + good
	var bodies []string
	var errs []error
	for b, err := range armor.All([]byte(text), armor.TypeReplyBlock) {
		bodies, errs = append(bodies, string(b.Body)), append(errs, err)
	}
	if !slices.Equal(bodies, []string{"good", "", "good", "good"}) || !errors.Is(errs[1], armor.ErrNoEnd) {
		t.Error(bodies, errs)
	}
	for _, err := range armor.All([]byte(text)) { // leaving early is allowed
		if err == nil {
			break
		}
	}
}

func TestDashEscape(t *testing.T) {
	for body, want := range map[string]string{
		"":            "\n",
		"a":           "a\n",
		"-a\n":        "- -a\n",
		"- a\n--\nb":  "- - a\n- --\nb\n",
		"\n-":         "\n- -\n",
		"a\r\n-b\r\n": "a\r\n- -b\r\n",
	} {
		b := armor.Block{Type: armor.TypeMessage, Headers: []armor.Header{{Key: "Message-type", Value: "plaintext"}}, Body: []byte(body), Dashed: true}
		text := armor.Encode(b)
		_, rest, _ := strings.Cut(string(text), "\n\n")
		if got, _, _ := strings.Cut(rest, "-----END"); got != want {
			t.Errorf("%q becomes %q, want %q", body, got, want)
		}
		back, err := armor.Decode(text)
		if !strings.HasSuffix(body, "\n") {
			body += "\n"
		}
		if err != nil || string(back[0].Body) != body {
			t.Errorf("%q comes back as %+v, %v", body, back, err)
		}
	}
}

func TestAnyBlockRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := armor.Block{
			Type: rapid.SampledFrom([]string{armor.TypeMessage, armor.TypeReplyBlock, "X"}).Draw(t, "type"),
			Body: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "body"),
		}
		if rapid.Bool().Draw(t, "text") {
			b.Dashed, b.Headers = true, []armor.Header{{Key: "Message-type", Value: "plaintext"}}
			b.Body = append(b.Body, '\n')
		}
		got, err := armor.Decode(slices.Concat([]byte("before\n"), armor.Encode(b), []byte("after")))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || !bytes.Equal(got[0].Body, b.Body) || got[0].Dashed != b.Dashed || got[0].Type != b.Type {
			t.Fatalf("%+v", got)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, text := range vectors(f) {
		f.Add(text)
	}
	f.Add([]byte("-----BEGIN X-----\n\nAAAA\n=AAAA\n-----END X-----\n"))
	f.Add([]byte("-----BEGIN X-----\r\nMessage-type: plaintext\r\n\r\n- -a\r\n-----END X-----"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for b, err := range armor.All(text) {
			if err != nil {
				continue
			}
			if len(b.Body) > len(text)+1 {
				t.Fatal("body longer than its text")
			}
			again, err := armor.Decode(armor.Encode(b))
			if err != nil || len(again) != 1 || !bytes.Equal(again[0].Body, b.Body) {
				if b.Dashed && len(b.Body) == 0 {
					continue // an empty text gets a newline
				}
				t.Fatalf("%+v does not come back: %v", b, err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	text := armor.Encode(armor.Block{Type: armor.TypeMessage, Body: make([]byte, 28672)})
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := armor.Decode(text); err != nil {
			b.Fatal(err)
		}
	}
}
