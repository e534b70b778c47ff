package client_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"mixminion/client"
	"mixminion/internal/armor"
	"mixminion/message"
)

// vectors were made by the first implementation.
const vectors = "../message/testdata/"

func readVector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// vectorKeys are those of the vectors' keyring.
func vectorKeys(t testing.TB) func() (message.Keys, error) {
	t.Helper()
	var file struct {
		Keys []struct{ Identity, Secret string }
	}
	readJSON(t, vectors+"keyring.json", &file)
	var keys message.Keys
	for _, k := range file.Keys {
		secret, err := hex.DecodeString(k.Secret)
		if err != nil {
			t.Fatal(err)
		}
		keys.Identities = append(keys.Identities, message.Identity{Name: k.Identity, Secret: secret})
	}
	return func() (message.Keys, error) { return keys, nil }
}

// A result is what Decode yields.
type result struct {
	client.Received
	err error
}

func decode(t testing.TB, c *client.Client, in io.Reader, o client.DecodeOptions) []result {
	t.Helper()
	var list []result
	for r, err := range c.Decode(t.Context(), in, o) {
		list = append(list, result{r, err})
	}
	return list
}

func decodeText(t testing.TB, text string, o client.DecodeOptions) []result {
	t.Helper()
	c, _, _ := newHome(t)
	return decode(t, c, strings.NewReader(text), o)
}

// one checks that there is one result, and a good one.
func one(t *testing.T, list []result) client.Received {
	t.Helper()
	if len(list) != 1 || list[0].err != nil {
		t.Fatalf("results %v", list)
	}
	return list[0].Received
}

// plain is an armored text message.
func plain(body string) string {
	d := message.Delivered{Form: message.FormPlaintext, Body: []byte(body)}
	return string(d.Armor())
}

func TestDecodeVectors(t *testing.T) {
	var cases []struct {
		File, Message, Name string
		Count               int
		MessageFile         string `json:"message_file"`
	}
	readJSON(t, vectors+"armor.json", &cases)
	for _, tc := range cases {
		t.Run(tc.Name, func(t *testing.T) {
			text := string(readVector(t, tc.File))
			c, _, _ := newHome(t)
			list := decode(t, c, strings.NewReader(text), client.DecodeOptions{Force: true})
			if tc.MessageFile != "" {
				checkFragments(t, c, list, tc.Count, readVector(t, tc.MessageFile))
				return
			}
			want, err := base64.StdEncoding.DecodeString(tc.Message)
			if err != nil {
				t.Fatal(err)
			}
			r := one(t, list)
			if r.Headers != nil || !bytes.Equal(append([]byte("\n"), r.Body...), want) {
				t.Errorf("headers %q, body of %d bytes", r.Headers, len(r.Body))
			}
			if r.Message != 1 || r.By != (message.Opener{}) || r.Form == "" {
				t.Errorf("message %d, opened by %v, form %q", r.Message, r.By, r.Form)
			}
		})
	}
}

func checkFragments(t *testing.T, c *client.Client, list []result, count int, want []byte) {
	t.Helper()
	if len(list) != count {
		t.Fatalf("%d fragments, want %d", len(list), count)
	}
	for _, r := range list {
		if r.err != nil || r.Fragment == nil || r.Late || r.Body != nil {
			t.Fatalf("%+v", r)
		}
	}
	last := list[count-1].Fragment
	if !last.Ready() {
		t.Fatalf("%d of %d fragments", last.Have, last.Need)
	}
	pool := openPool(t, c)
	r, err := pool.Reassemble(last.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.Body, want) || r.Headers != nil {
		t.Errorf("a message of %d bytes, headers %q", len(r.Body), r.Headers)
	}
}

func TestDecodeReply(t *testing.T) {
	text := readVector(t, "reply-marktwain.asc")
	r := one(t, decodeText(t, string(text), client.DecodeOptions{Keys: vectorKeys(t)}))
	if !bytes.Equal(r.Body, readVector(t, "reply-marktwain.txt")) || r.Headers != nil {
		t.Errorf("%d bytes with headers %q", len(r.Body), r.Headers)
	}
	if r.By != (message.Opener{Via: message.ViaIdentity, Name: "marktwain"}) || r.Form != message.FormEncrypted {
		t.Errorf("opened by %v, form %s", r.By, r.Form)
	}

	// The other reply is for an identity that the keyring does not have.
	list := decodeText(t, string(readVector(t, "reply.asc"))+string(text), client.DecodeOptions{Keys: vectorKeys(t)})
	if len(list) != 2 || !errors.Is(list[0].err, message.ErrNotForUs) || list[1].err != nil || list[1].Message != 2 {
		t.Errorf("results %v", list)
	}
}

// Keys are asked for once, and only for an encrypted message.
func TestDecodeAsksForKeys(t *testing.T) {
	asked := 0
	denied := errors.New("denied")
	o := client.DecodeOptions{Keys: func() (message.Keys, error) { asked++; return message.Keys{}, denied }}
	if one(t, decodeText(t, plain("a"), o)); asked != 0 {
		t.Error("asked for nothing")
	}
	reply := string(readVector(t, "reply.asc"))
	list := decodeText(t, reply+plain("a")+reply, o)
	if len(list) != 3 || list[1].err != nil || asked != 1 {
		t.Fatalf("asked %d times; results %v", asked, list)
	}
	for _, i := range []int{0, 2} {
		if err := list[i].err; !errors.Is(err, client.ErrKeys) || !errors.Is(err, denied) {
			t.Errorf("error %v", err)
		}
	}
	if list := decodeText(t, reply, client.DecodeOptions{}); len(list) != 1 || !errors.Is(list[0].err, client.ErrKeys) {
		t.Errorf("without keys: %v", list)
	}
}

func TestDecodeOvercompressed(t *testing.T) {
	text := string(readVector(t, "armor-overcompressed.asc"))
	list := decodeText(t, text+plain("a"), client.DecodeOptions{})
	if len(list) != 2 || !errors.Is(list[0].err, message.ErrOvercompressed) || list[0].Body != nil || list[1].err != nil {
		t.Errorf("results %v", list)
	}
	// Headers of a compressed message are not lost.
	whole := "SUBJECT:Zeros\n\n" + strings.Repeat("0", 1<<20)
	d := message.Delivered{Form: message.FormOvercompressed, Body: message.Compress([]byte(whole))}
	r := one(t, decodeText(t, string(d.Armor()), client.DecodeOptions{Force: true}))
	if string(r.Headers) != "SUBJECT:Zeros\n\n" || string(r.Headers)+string(r.Body) != whole {
		t.Errorf("headers %q, body of %d bytes", r.Headers, len(r.Body))
	}
	// What an exit calls overcompressed without need is read without force.
	d.Body = message.Compress([]byte("\nshort"))
	if r := one(t, decodeText(t, string(d.Armor()), client.DecodeOptions{})); string(r.Body) != "short" {
		t.Errorf("body %q", r.Body)
	}
}

// One bad message does not stop the others.
func TestDecodeGoesOn(t *testing.T) {
	good := plain("Good.\n")
	reply := string(readVector(t, "reply.asc"))
	binary := message.Delivered{Form: message.FormBinary, Body: []byte{1, 2, 3}}
	lines := strings.SplitAfter(string(binary.Armor()), "\n")
	for name, tc := range map[string]struct {
		bad  string
		want error
	}{
		"no END line":      {strings.TrimSuffix(good, "-----END TYPE III ANONYMOUS MESSAGE-----\n"), armor.ErrNoEnd},
		"cut off":          {reply[:len(reply)/2] + "\n", armor.ErrNoEnd},
		"cut by a gateway": {reply[:len(reply)/2] + "\n[...]\n-----END TYPE III ANONYMOUS MESSAGE-----\n", armor.ErrTruncated},
		"bad base64":       {lines[0] + lines[1] + lines[2] + "?" + lines[3] + lines[4], armor.ErrBase64},
		"unknown form":     {strings.Replace(good, "plaintext", "plane", 1), armor.ErrBase64},
		"no payload":       {strings.Replace(binary2(), "binary", "encrypted", 1), message.ErrForm},
		"bad zlib":         {strings.Replace(binary2(), "binary", "overcompressed", 1), message.ErrCorrupt},
		"flipped":          {flip(reply), message.ErrNotForUs},
	} {
		t.Run(name, func(t *testing.T) {
			list := decodeText(t, good+"\nHere is another.\n"+tc.bad+"and more\n"+good, client.DecodeOptions{Keys: vectorKeys(t)})
			if len(list) != 3 {
				t.Fatalf("results %v", list)
			}
			for i, r := range list {
				switch {
				case r.Message != i+1:
					t.Errorf("message %d is said to be number %d", i+1, r.Message)
				case i == 1 && !errors.Is(r.err, tc.want):
					t.Errorf("error %v, want %v", r.err, tc.want)
				case i != 1 && (r.err != nil || string(r.Body) != "Good.\n"):
					t.Errorf("%q, %v", r.Body, r.err)
				}
			}
			if where := (*armor.Error)(nil); errors.As(list[1].err, &where) && (where.Line < 8 || where.Line > 1000) {
				t.Errorf("line %d", where.Line)
			}
		})
	}
}

func binary2() string {
	d := message.Delivered{Form: message.FormBinary, Body: []byte("no zlib stream")}
	return string(d.Armor())
}

// flip damages the handle of a reply.
func flip(reply string) string {
	i := strings.Index(reply, "Decoding-handle: ") + len("Decoding-handle: ")
	c := byte('A')
	if reply[i] == c {
		c = 'B'
	}
	return reply[:i] + string(c) + reply[i+1:]
}

func TestDecodeLineNumbers(t *testing.T) {
	for before, want := range map[string]int{"": 5, "\n\n": 7, "Some text\n\n" + plain("a"): 12, strings.Repeat("x", 200000) + "\n": 6} {
		bad := strings.Replace(binary2(), "Message-type", "Comment: x\nMessage-type", 1)
		bad = strings.Replace(bad, "\n\n", "\n\n???\n", 1)
		list := decodeText(t, before+bad, client.DecodeOptions{})
		var where *armor.Error
		if err := list[len(list)-1].err; !errors.As(err, &where) {
			t.Fatalf("error %v", err)
		}
		if where.Line < want || where.Line > want+2 {
			t.Errorf("after %d bytes: line %d, want about %d", len(before), where.Line, want)
		}
	}
}

func TestDecodeNothing(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "text": "Hello.\n", "mail": "Subject: x\n\nHello.\n", "newlines": "\n\r\n\n", "binary": "\x00\xff\x00",
		"other armor": "-----BEGIN PGP MESSAGE-----\n\nxxxx\n-----END PGP MESSAGE-----\n",
	} {
		list := decodeText(t, text, client.DecodeOptions{})
		if len(list) != 1 || !errors.Is(list[0].err, client.ErrNoMessage) || list[0].Message != 0 {
			t.Errorf("%s: %v", name, list)
		}
	}
}

func TestDecodeReadError(t *testing.T) {
	broken := errors.New("broken")
	for _, start := range []string{"", plain("Good.\n"), "Subject: x\n\n" + plain("Good.\n"), "From x Sun Nov 22 18:00:00 2026\nTo: x\n\n" + plain("Good.\n")} {
		c, _, _ := newHome(t)
		list := decode(t, c, io.MultiReader(strings.NewReader(start), iotest.ErrReader(broken)), client.DecodeOptions{})
		if len(list) == 0 || !errors.Is(list[len(list)-1].err, broken) {
			t.Fatalf("%q: %v", start, list)
		}
		if start != "" && (len(list) != 2 || string(list[0].Body) != "Good.\n") {
			t.Errorf("%q: %v", start, list)
		}
	}
}

func TestDecodeStops(t *testing.T) {
	c, _, _ := newHome(t)
	text := plain("a") + plain("b") + string(readVector(t, "armor-fragments.asc"))
	n := 0
	for _, err := range c.Decode(t.Context(), strings.NewReader(text), client.DecodeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 4 {
			break
		}
	}
	// What came before the end is safe, and the lock is free.
	if list, err := openPool(t, c).List(); err != nil || len(list) != 1 || list[0].Have != 2 {
		t.Errorf("pool %v: %v", list, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	n = 0
	for _, err := range c.Decode(ctx, strings.NewReader(text), client.DecodeOptions{}) {
		n++
		last = err
		cancel()
	}
	if n != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d results, the last %v", n, last)
	}
}

func TestDecodeLimits(t *testing.T) {
	const limit = 1000
	long, short := plain(strings.Repeat("x\n", limit)), plain("Good.\n")
	for name, text := range map[string]string{
		"blocks":    short + long + short,
		"long line": short + plain(strings.Repeat("x", 300000)) + short,
		"mbox": "From x Sun Nov 22 18:00:00 2026\nTo: x\n\n" + short + "\nFrom x Sun Nov 22 18:00:00 2026\nTo: x\n\n" + long +
			"\nFrom x Sun Nov 22 18:00:00 2026\nTo: x\n\n" + short,
	} {
		list := decodeText(t, text, client.DecodeOptions{MaxMail: limit})
		if len(list) != 3 || list[0].err != nil || !errors.Is(list[1].err, client.ErrTooLarge) || list[2].err != nil {
			t.Errorf("%s: %v", name, list)
		}
	}
	list := decodeText(t, "Subject: x\n\n"+long, client.DecodeOptions{MaxMail: limit})
	if len(list) != 1 || !errors.Is(list[0].err, client.ErrTooLarge) {
		t.Errorf("mail: %v", list)
	}
}

func TestDecodePath(t *testing.T) {
	dir := t.TempDir()
	write := func(text string, parts ...string) {
		t.Helper()
		name := filepath.Join(append([]string{dir}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Subject: x\n\n"+plain("two"), "box", "cur", "2.host:2,S")
	write("Subject: x\n\n"+plain("one"), "box", "cur", "1.host:2,S")
	write("Subject: x\n\n"+plain("new"), "box", "new", "3.host")
	write("Subject: x\n\n"+strings.TrimSuffix(plain("bad"), "-----END TYPE III ANONYMOUS MESSAGE-----\n"), "box", "new", "4.host")
	write("Subject: x\n\nHello.\n", "box", "new", "5.host")
	write("Subject: x\n\n"+plain("tmp"), "box", "tmp", "6.host")
	write("Subject: x\n\n"+plain("hidden"), "box", "new", ".hidden")
	write("Subject: x\n\n"+plain("elsewhere"), "box", ".Sent", "new", "7.host")
	write(plain("file"), "file")
	write("", "other", "file")
	if err := os.MkdirAll(filepath.Join(dir, "box", "cur", "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, _, _ := newHome(t)
	all := func(name string) (texts []string) {
		for r, err := range c.DecodePath(t.Context(), filepath.Join(dir, name), client.DecodeOptions{}) {
			text := fmt.Sprintf("%v: %s", r.Position, strings.TrimSpace(string(r.Body)))
			for _, known := range []error{client.ErrNotMaildir, os.ErrNotExist, armor.ErrNoEnd, client.ErrNoMessage} {
				if errors.Is(err, known) {
					text = fmt.Sprintf("%v: %v", r.Position, known)
					err = nil
				}
			}
			if err != nil {
				t.Error(err)
			}
			texts = append(texts, text)
		}
		return texts
	}
	for name, want := range map[string][]string{
		"box": {
			"message 1 (in new/3.host): new", "message 2 (in new/4.host): the END line is missing",
			"message 3 (in cur/1.host:2,S): one", "message 4 (in cur/2.host:2,S): two",
		},
		"file":                         {"message 1: file"},
		"other":                        {"the input: " + client.ErrNotMaildir.Error()},
		"missing":                      {"the input: file does not exist"},
		filepath.Join("other", "file"): {"the input: " + client.ErrNoMessage.Error()},
	} {
		if got := all(name); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
