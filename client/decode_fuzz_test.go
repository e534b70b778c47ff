package client_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mixminion/client"
	"mixminion/message"
)

// FuzzDecode feeds anything to the splitters of mbox files, mails and armor. What comes out must be there, and bounded.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(plain("Hello\n")))
	for _, mail := range mailsOf(plain("Hello\nFrom here\n")) {
		f.Add([]byte(mail))
		f.Add([]byte(mbox([]string{mail, mail}, true)))
	}
	f.Add([]byte("From x 0:00\n\nFrom y 0:00\n\n\nFrom z 0:00"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\n--a--\n"))
	f.Add([]byte("-----BEGIN TYPE III ANONYMOUS MESSAGE-----\n-----BEGIN TYPE III ANONYMOUS MESSAGE-----\n-----END TYPE III ANONYMOUS MESSAGE-----"))
	home := f.TempDir()
	c, err := client.Open(home, client.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		results, last := 0, 0
		for r, err := range c.Decode(t.Context(), bytes.NewReader(text), client.DecodeOptions{MaxMail: 1 << 20}) {
			results++
			if err == nil && (r.Body == nil) == (r.Fragment == nil) {
				t.Errorf("%v has %d bytes and fragment %v", r.Position, len(r.Body), r.Fragment)
			}
			if r.Message != 0 && r.Message != last+1 {
				t.Errorf("message %d follows message %d", r.Message, last)
			}
			last = max(last, r.Message)
			if len(r.Body) > 20*len(text)+20<<10 {
				t.Errorf("%d bytes out of %d", len(r.Body), len(text))
			}
		}
		if results == 0 || results > len(text)+2 {
			t.Errorf("%d results of %d bytes", results, len(text))
		}
	})
}

// FuzzFragmentFile reads any file as that of a message in the fragment pool.
func FuzzFragmentFile(f *testing.F) {
	_, fragments := fragmentsOf(f, 40000)
	id := fragments[0].ID
	c, _, home := newHome(f)
	dir := filepath.Join(home, "fragments")
	unlock, err := c.Lock(f.Context(), nil)
	if err != nil {
		f.Fatal(err)
	}
	pool, err := c.Fragments()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := pool.Add(fragments[0], message.Opener{Via: message.ViaIdentity, Name: "x"}); err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(pool.Close(), unlock()); err != nil {
		f.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		f.Fatalf("%v: %v", files, err)
	}
	name := filepath.Join(dir, files[0].Name())
	text, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add(text[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		pool, err := c.Fragments()
		if err != nil {
			t.Fatal(err)
		}
		list, err := pool.List()
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 && (list[0].Have > list[0].Need || list[0].ID != id) {
			t.Errorf("%+v", list)
		}
		for _, err := range pool.Problems() {
			if !errors.Is(err, client.ErrFragmentFile) {
				t.Error(err)
			}
		}
		if _, err := pool.Reassemble(id, false); err == nil && (len(list) == 0 || !list[0].Ready()) {
			t.Error("a message came out of nothing")
		}
	})
}

// What is put into an mbox file comes out, whatever it is.
func TestDecodeProperty(t *testing.T) {
	c, _, _ := newHome(t)
	line := rapid.OneOf(
		rapid.SampledFrom([]string{"", "From ", ">From x", "From x Sun Nov 22 18:00:00 2026", "-", "- x", "-----BEGIN X-----", "-----END TYPE III ANONYMOUS MESSAGE-----", "X: y", " ", "=", "=3D", "--o", "."}),
		rapid.StringMatching(`[ -~]{0,100}`),
		rapid.String().Filter(func(s string) bool { return !strings.ContainsAny(s, "\r\n\x00") }),
	)
	rapid.Check(t, func(t *rapid.T) {
		bodies := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(line, 0, 8).Draw(t, "lines"), "\n") + "\n"
		}), 1, 4).Draw(t, "bodies")
		var mails []string
		for i, body := range bodies {
			forms := mailsOf(plain(body))
			names := []string{"7bit", "8bit", "quoted", "base64", "mixed", "forwarded", "attachment", "left-over", "quoted, CRLF", "base64, CRLF"}
			mails = append(mails, forms[rapid.SampledFrom(names).Draw(t, "form")])
			_ = i
		}
		rd := rapid.Bool().Draw(t, "mboxrd")
		n := 0
		for r, err := range c.Decode(t.Context(), strings.NewReader(mbox(mails, rd)), client.DecodeOptions{}) {
			if err != nil {
				t.Fatalf("%v: %v", r.Position, err)
			}
			want := bodies[n]
			if !rd { // mboxo cannot tell
				want, r.Body = strings.ReplaceAll(want, ">From", "From"), bytes.ReplaceAll(r.Body, []byte(">From"), []byte("From"))
			}
			if string(r.Body) != want || r.Mail != n+1 {
				t.Fatalf("%v: %q, want %q", r.Position, r.Body, want)
			}
			n++
		}
		if n != len(bodies) {
			t.Fatalf("%d messages, want %d", n, len(bodies))
		}
	})
}
