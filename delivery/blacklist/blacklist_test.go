package blacklist_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mixminion/delivery/blacklist"
	"mixminion/delivery/livefile"
)

const rules = `# People who asked
Deny address Bob@Example.com
deny ADDRESS alice+tag@example.com
DENY user postmaster

	Deny onehost One.example.org
Deny allhosts all.example.org
Deny pattern /^sales[0-9]+@/
Deny pattern /@(mail|news)\d*\.example\.net$/
Deny pattern /a/b/
Deny address #1@example.com
`

func TestBlocked(t *testing.T) {
	list, err := blacklist.Parse([]byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"bob@example.com":           true,
		"BOB@EXAMPLE.COM":           true,
		"bob+x@example.com":         true,
		"bob@sub.example.com":       false,
		"bobby@example.com":         false,
		"alice+tag@example.com":     true,
		"alice@example.com":         false,
		"alice+other@example.com":   false,
		"Postmaster@anywhere.org":   true,
		"postmaster+x@anywhere.org": true,
		"x@one.example.org":         true,
		"x@sub.one.example.org":     false,
		"x@all.example.org":         true,
		"x@a.b.ALL.example.org":     true,
		"x@overall.example.org":     false,
		"x@example.org":             false,
		"Sales12@x.org":             true,
		"sales@x.org":               false,
		"presales1@x.org":           false,
		"x@NEWS3.example.net":       true,
		"x@news3.example.net.org":   false,
		"a/b@x.org":                 true,
		"#1@example.com":            true,
	} {
		if got := list.Blocked(addr); got != want {
			t.Errorf("%s: blocked %t, want %t", addr, got, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for line, says := range map[string]string{
		"Allow address a@b.org":                            "begins with Deny",
		"Deny":                                             "write",
		"Deny address":                                     "write",
		"Deny  address a@b.org":                            "write",
		"Deny\taddress a@b.org":                            "begins with Deny",
		"Deny mailbox a@b.org":                             "write",
		"Deny address ":                                    "write",
		"Deny address a":                                   "not a mail address",
		"Deny address a@b@c":                               "not a mail address",
		"Deny address <a@b.org>":                           "not a mail address",
		"Deny address a@b.org # him":                       "not a mail address",
		"Deny user a@b":                                    "before the @",
		"Deny user a b":                                    "before the @",
		"Deny onehost a_b@c":                               "not the name of a host",
		"Deny onehost .org":                                "not the name of a host",
		"Deny allhosts 127.0.0.1":                          "not the name of a host",
		"Deny pattern a":                                   "two slashes",
		"Deny pattern //":                                  "two slashes",
		"Deny pattern /":                                   "two slashes",
		"Deny pattern /(/":                                 "mistake",
		"Deny pattern /a)|(b/":                             "mistake",
		"Deny pattern /(?=a)/":                             "looking ahead",
		"Deny pattern /(?!a)b/":                            "looking ahead",
		"Deny pattern /(?<=a)b/":                           "looking back",
		"Deny pattern /(?<!a)b/":                           "looking back",
		`Deny pattern /(a)\1/`:                             "found cannot be asked for",
		"Deny pattern /(?P<x>a)(?P=x)/":                    "found cannot be asked for",
		"Deny pattern /a(?#why)/":                          "comments",
		"Deny pattern /(a)?(?(1)b|c)/":                     "conditions",
		`Deny pattern /a\Z/`:                               `write \z`,
		"Deny pattern /a{,3}/":                             "write {0,N}",
		"Deny pattern /a{1,2000}/":                         "mistake",
		"Deny pattern /" + strings.Repeat("a", 1001) + "/": "allowed",
		"Deny user " + strings.Repeat("a", 5000):           "bytes",
	} {
		_, err := blacklist.Parse([]byte("# one\nDeny user ok\n" + line + "\nDeny user ok\n"))
		var at *livefile.LineError
		if !errors.As(err, &at) || at.Line != 3 || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want %q", line, err, says)
		}
	}
}

// The mistakes go to the log, and nobody who wants no mail shall stand there.
func TestMistakesNameNobody(t *testing.T) {
	for _, line := range []string{
		"bob.secret", "Deny address bob.secret", "Deny user bob.secret@", "Deny onehost bob.secret@", "Deny allhosts bob.secret@",
		"Deny bob.secret x", "Deny pattern /bob.secret(/", "Deny pattern /[bob.secret/", `Deny pattern /bob.secret\8/`, "Deny pattern bob.secret",
	} {
		if _, err := blacklist.Parse([]byte(line)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v", line, err)
		}
	}
}

// What is no plain file does not hold up the start.
func TestNoPlainFile(t *testing.T) {
	if _, err := blacklist.Open(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "no plain file") {
		t.Errorf("error %v", err)
	}
}

func TestMistakesAreBounded(t *testing.T) {
	_, err := blacklist.Parse([]byte(strings.Repeat("x\n", 1000)))
	if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != 20 {
		t.Errorf("%d mistakes are told", n)
	}
	if _, err := blacklist.Parse(make([]byte, livefile.MaxFile+1)); !errors.Is(err, livefile.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

// Repetitions with an escaped brace are no repetitions.
func TestLiteralBraces(t *testing.T) {
	list, err := blacklist.Parse([]byte(`Deny pattern /a\{,3}/`))
	if err != nil {
		t.Fatal(err)
	}
	if !list.Blocked("a{,3}@x.org") || list.Blocked("aaa@x.org") {
		t.Error("the brace is not literal")
	}
}

// A file that changes is read again. A version that is wrong, or none at all, leaves the last good one in force.
func TestFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blacklist")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := blacklist.Open(path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	write("Deny nonsense\n")
	if _, err := blacklist.Open(path, nil); err == nil || !strings.Contains(err.Error(), path+": line 1: ") {
		t.Errorf("error %v", err)
	}
	write("Deny user a\n")
	var log bytes.Buffer
	f, err := blacklist.Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	check := func(step, blocked, free string) {
		t.Helper()
		if !f.Blocked(blocked+"@x.org") || f.Blocked(free+"@x.org") {
			t.Errorf("%s: %s is not blocked or %s is", step, blocked, free)
		}
	}
	check("at the start", "a", "b")
	write("Deny user b\n")
	check("after a change", "b", "a")
	write("Deny user c\nDeny nonsense\n")
	check("while it is wrong", "b", "c")
	check("while it is still wrong", "b", "c")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("while it is away", "b", "c")
	check("while it is still away", "b", "c")
	write("Deny user c\n")
	check("when it is good again", "c", "b")
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors logged:\n%s", n, log.String())
	}
	if strings.Contains(log.String(), "@x.org") {
		t.Errorf("the log names a recipient:\n%s", log.String())
	}
}

// No rule blocks more or less by the case of letters.
func TestCaseDoesNotMatter(t *testing.T) {
	list, err := blacklist.Parse([]byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		addr := rapid.StringMatching(`(bob|alice|x|sales1)(\+[a-z]{1,3})?@(one\.|all\.|news\.)?example\.(com|org|net)`).Draw(t, "address")
		if list.Blocked(addr) != list.Blocked(strings.ToUpper(addr)) {
			t.Fatalf("%s differs in upper case", addr)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(rules))
	f.Add([]byte("Deny pattern /((a*)*)*$/\nDeny user \xff\n\r\n"))
	f.Add([]byte("Deny pattern /(?i)\\pN[[:alpha:]]{2,3}/"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if list, err := blacklist.Parse(text); err == nil {
			list.Blocked("someone+tag@mail.example.com")
		}
	})
}

func BenchmarkBlocked(b *testing.B) {
	var text strings.Builder
	for i := range 100000 {
		fmt.Fprintf(&text, "Deny address user%d@example.com\n", i)
	}
	for i := range 100 {
		fmt.Fprintf(&text, "Deny pattern /^sales%d[0-9]*@/\n", i)
	}
	list, err := blacklist.Parse([]byte(text.String()))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		list.Blocked("somebody@mail.example.com")
	}
}
