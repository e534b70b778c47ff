package mail

import "testing"

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"bob@example.com":          "bob@example.com",
		"Bob@Example.COM":          "bob@example.com",
		"bob+news@example.com":     "bob@example.com",
		"bob+a+b@example.com":      "bob@example.com",
		"+bob@example.com":         "+bob@example.com",
		"b.o.b@example.com":        "b.o.b@example.com",
		"bob-list@sub.example.com": "bob-list@sub.example.com",
	} {
		if got := Canonical(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
		if got := Canonical(Canonical(in)); got != want {
			t.Errorf("%s: twice gives %s", in, got)
		}
	}
}
