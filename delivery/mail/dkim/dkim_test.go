package dkim_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"pgregory.net/rapid"

	"mixminion/delivery/mail/dkim"
)

// at is an hour of today, since verifiers know the time.
var at = time.Now().Truncate(time.Hour)

// keys returns an RSA key and an Ed25519 key for example.org.
func keys(t testing.TB) []*dkim.Key {
	t.Helper()
	rsaPEM, err := os.ReadFile(filepath.Join("..", "testdata", "dkim-rsa.pem"))
	if err != nil {
		t.Fatal(err)
	}
	edPEM, err := dkim.Generate(rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	var out []*dkim.Key
	for selector, data := range map[string][]byte{"rsa1": rsaPEM, "ed1": edPEM} {
		signer, err := dkim.ParseKey(data)
		if err != nil {
			t.Fatal(err)
		}
		k, err := dkim.New("Example.org", selector, signer)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, k)
	}
	return out
}

// zone answers as a name server that has the records of keys.
func zone(keys []*dkim.Key) func(string) ([]string, error) {
	return func(name string) ([]string, error) {
		for _, k := range keys {
			if strings.TrimSuffix(name, ".") == k.RecordName() {
				return []string{k.Record()}, nil
			}
		}
		return nil, errors.New("no such name")
	}
}

const header = "To: a@example.com,\r\n b@example.com\r\nFrom: nobody@example.org\r\nSubject:  two  blanks \r\nX-Anonymous: yes\r\n" +
	"Date: Sun, 22 Nov 2026 18:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n\r\n"

func sign(t testing.TB, k *dkim.Key, header, body string) string {
	t.Helper()
	field, err := k.Sign([]byte(header), []byte(body), at)
	if err != nil {
		t.Fatal(err)
	}
	return string(field) + header + body
}

// verify reports how many of the signatures of a mail are good.
func verify(t testing.TB, mail string, keys []*dkim.Key) int {
	t.Helper()
	list, err := msgauth.VerifyWithOptions(strings.NewReader(mail), &msgauth.VerifyOptions{LookupTXT: zone(keys)})
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for _, v := range list {
		if v.Err == nil && v.Domain == "example.org" {
			good++
		}
	}
	return good
}

func TestSignatureIsGood(t *testing.T) {
	for _, k := range keys(t) {
		for name, body := range map[string]string{
			"text": "Hello\r\n", "empty": "", "empty lines": "\r\n\r\n", "lines at the end": "a\r\n\r\n\r\n", "blanks": " a \t b  \r\n\t\r\nc",
			"long": strings.Repeat("0123456789 ", 9000) + "\r\n",
		} {
			mail := sign(t, k, header, body)
			if verify(t, mail, []*dkim.Key{k}) != 1 {
				t.Errorf("%s: the signature does not verify\n%.1000s", name, mail)
			}
			if again := sign(t, k, header, body); again != mail {
				t.Errorf("%s: a second signature differs", name)
			}
			for line := range strings.SplitSeq(mail[:strings.Index(mail, "To:")], "\r\n") {
				if len(line) > 78 {
					t.Errorf("%s: line of %d bytes", name, len(line))
				}
			}
		}
		if field := sign(t, k, header, ""); !strings.Contains(field, fmt.Sprintf("\tt=%d; x=%d;", at.Unix(), at.Add(dkim.Validity).Unix())) {
			t.Errorf("times in\n%s", field)
		}
	}
}

// Nobody can change, add or repeat what counts without breaking the signature.
func TestChangesBreakTheSignature(t *testing.T) {
	k := keys(t)[0]
	good := sign(t, k, header, "Hello\r\n")
	for name, bad := range map[string]string{
		"body":           strings.Replace(good, "Hello", "Hallo", 1),
		"more body":      good + "and more\r\n",
		"subject":        strings.Replace(good, "Subject:  two", "Subject: three", 1),
		"second From":    strings.Replace(good, "To: a@", "From: boss@example.org\r\nTo: a@", 1),
		"second Subject": strings.Replace(good, "To: a@", "Subject: other\r\nTo: a@", 1),
		"Reply-To":       strings.Replace(good, "To: a@", "Reply-To: eve@example.com\r\nTo: a@", 1),
		"Content-Type":   strings.Replace(good, "To: a@", "Content-Type: text/html\r\nTo: a@", 1),
		"recipient":      strings.Replace(good, "b@example.com", "c@example.com", 1),
	} {
		if bad == good || verify(t, bad, []*dkim.Key{k}) != 0 {
			t.Errorf("%s: the signature survives", name)
		}
	}
	trace := "Received: from mix by smart.example.net; Sun, 22 Nov 2026 18:31:00 +0000\r\n"
	if verify(t, trace+good, []*dkim.Key{k}) != 1 {
		t.Error("the signature does not survive a Received line")
	}
}

func TestAnyMailVerifies(t *testing.T) {
	all := keys(t)
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(all).Draw(t, "key")
		value := rapid.StringMatching(`[ -~]{0,60}(\r\n[ \t][!-~][ -~\t]{0,20})?`)
		var h strings.Builder
		h.WriteString("From: nobody@example.org\r\n")
		for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"Subject", "To", "Comments", "x-abuse", "References", "X-Other"}), 0, 8).Draw(t, "names") {
			h.WriteString(name + ": " + value.Draw(t, "value") + "\r\n")
		}
		h.WriteString("\r\n")
		body := strings.Join(rapid.SliceOf(rapid.StringMatching(`[ -~\t]{0,30}`)).Draw(t, "lines"), "\r\n")
		field, err := k.Sign([]byte(h.String()), []byte(body), at)
		if err != nil {
			t.Fatal(err)
		}
		list, err := msgauth.VerifyWithOptions(strings.NewReader(string(field)+h.String()+body), &msgauth.VerifyOptions{LookupTXT: zone(all)})
		if err != nil || len(list) != 1 || list[0].Err != nil {
			t.Fatalf("%v, %+v for %q, %q", err, list, h.String(), body)
		}
	})
}

// The signatures are good for software that shares no line with this one.
func TestPythonVerifies(t *testing.T) {
	// Not any python3 of the PATH: Debian's packages are for Debian's.
	const python = "/usr/bin/python3"
	if err := exec.CommandContext(t.Context(), python, "-c", "import dkim, nacl").Run(); err != nil {
		const what = "Python's DKIM (Debian package python3-dkim) is missing"
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	const program = `
import dkim, json, sys
for case in json.load(sys.stdin):
    print(dkim.verify(case["mail"].encode(), dnsfunc=lambda name, timeout=5: case["records"].get(name.decode().rstrip("."), "").encode()))
`
	type question struct {
		Mail    string            `json:"mail"`
		Records map[string]string `json:"records"`
	}
	all := keys(t)
	records := map[string]string{}
	for _, k := range all {
		records[k.RecordName()] = k.Record()
	}
	var questions []question
	var want []string
	for _, k := range all {
		for _, body := range []string{"Hello\r\n", "", " a \t b  \r\n\r\n", strings.Repeat("0123456789 ", 90) + "\r\n"} {
			mail := sign(t, k, header, body)
			questions = append(questions, question{mail, records}, question{strings.Replace(mail, "nobody@", "boss@", 1), records})
			want = append(want, "True", "False")
		}
	}
	in, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", program)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func TestNames(t *testing.T) {
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		domain, selector string
		good             bool
	}{
		{"example.org", "a", true}, {"mix.example.org", "2026._x", true},
		{"", "a", false}, {"example.org", "", false}, {"example.org.", "a", false}, {"exa mple.org", "a", false},
		{"example.org", "a;b", false}, {"example.org\r\nX: y", "a", false}, {strings.Repeat("a", 64) + ".org", "a", false},
		{"example.org", strings.Repeat("a.", 130) + "a", false},
	} {
		if _, err := dkim.New(tt.domain, tt.selector, signer); (err == nil) != tt.good {
			t.Errorf("%q, %q: %v", tt.domain, tt.selector, err)
		}
	}
}

type foreignKey struct{ crypto.Signer }

func (foreignKey) Public() crypto.PublicKey { return "no key" }

func TestKeysThatAreRefused(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, signer := range map[string]crypto.Signer{"small": small, "foreign": foreignKey{}} {
		if _, err := dkim.New("example.org", "a", signer); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "text": "no key", "certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"damaged":   "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"old":       "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"encrypted": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
	} {
		if _, err := dkim.ParseKey([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: %v quotes the file", name, err)
		}
	}
}

func TestCheckRecord(t *testing.T) {
	k := keys(t)[0]
	p := k.Record()[strings.Index(k.Record(), "p="):]
	other := keys(t)[0]
	for name, tt := range map[string]struct {
		records []string
		says    string // "": it is good
	}{
		"good":          {[]string{k.Record()}, ""},
		"with flags":    {[]string{k.Record() + "; t=s; s=email:x; h=sha1:sha256; n=note;"}, ""},
		"blanks":        {[]string{strings.Replace(k.Record(), "p=", " p = ", 1)}, ""},
		"among others":  {[]string{"v=spf1 -all", "google-site-verification=x", k.Record()}, ""},
		"none":          {nil, "no DKIM record"},
		"something":     {[]string{"hello", "v=spf1 -all"}, "no DKIM record"},
		"next version":  {[]string{"v=DKIM2; " + p}, "no DKIM record"},
		"withdrawn":     {[]string{"v=DKIM1; p="}, "withdrawn"},
		"another kind":  {[]string{"v=DKIM1; k=dsa; " + p}, "kind"},
		"testing":       {[]string{k.Record() + "; t=y:s"}, "t=y"},
		"no sha256":     {[]string{k.Record() + "; h=sha1"}, "sha256"},
		"not for mail":  {[]string{k.Record() + "; s=other"}, "mail"},
		"truncated key": {[]string{k.Record()[:len(k.Record())-8]}, "another key"},
	} {
		err := k.CheckRecord(tt.records)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
	if other.Record() != k.Record() && k.CheckRecord([]string{other.Record()}) == nil {
		t.Error("another key's record is good")
	}
	for _, s := range strings.Split(k.ZoneLine(), `"`) {
		if len(s) > 255 {
			t.Errorf("a string of %d bytes in the zone file", len(s))
		}
	}
}

func FuzzCheckRecord(f *testing.F) {
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	k, err := dkim.New("example.org", "a", signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Record())
	f.Add("v=DKIM1; p=")
	f.Add(";;=;p==")
	f.Fuzz(func(t *testing.T, text string) {
		bare := strings.NewReplacer("\r", "", "\n", "").Replace(strings.Join(strings.Fields(text), ""))
		if err := k.CheckRecord([]string{text}); err == nil && !strings.Contains(bare, k.Record()[strings.Index(k.Record(), "p=")+2:]) {
			t.Errorf("%q has the key", text)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	data, err := dkim.Generate(rand.Reader, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if signer, err := dkim.ParseKey(data); err == nil {
			_, _ = dkim.New("example.org", "a", signer)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	body := []byte(strings.Repeat("Sixty-three letters and a newline make a line of usual length.\r\n", 64))
	for _, k := range keys(b) {
		b.Run(strings.SplitN(k.RecordName(), ".", 2)[0], func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := k.Sign([]byte(header), body, at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
