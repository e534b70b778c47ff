package config

import (
	"slices"
	"testing"
)

func TestNamedFiles(t *testing.T) {
	s := DefaultServer()
	s.Main.BaseDir = "/base"
	s.DeliverySMTP.SMTPPasswordFile = "password"
	s.DeliverySMTP.SMTPCAFile = "~/ca.pem"
	s.DeliverySMTP.DKIMKey = DKIMKeys{{"one", "/keys/dkim.pem"}}
	got := s.NamedFiles("/home")
	for _, want := range []NamedFile{
		{"[Delivery/SMTP] SMTPPasswordFile", "/base/password"},
		{"[Delivery/SMTP] SMTPCAFile", "/home/ca.pem"},
		{"[Delivery/SMTP] DKIMKey", "/keys/dkim.pem"},
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%v is not in %v", want, got)
		}
	}
	if len(got) != 3 {
		t.Errorf("%v", got)
	}
}

func TestWithBaseDir(t *testing.T) {
	for name, c := range map[string][2]string{
		"given":     {"[Server]\nNickname: a\nBaseDir: /old\nMode: relay\n", "[Server]\nBaseDir: /new\nNickname: a\nMode: relay\n"},
		"old name":  {"[Host]\n[Server]\nHomedir=/old\n[Outgoing/MMTP]\nBaseDir: x\n", "[Host]\n[Server]\nBaseDir: /new\n[Outgoing/MMTP]\nBaseDir: x\n"},
		"continued": {"[Server]\nBaseDir\n # with a comment\n  /old\nMode: relay", "[Server]\nBaseDir: /new\nMode: relay"},
		"missing":   {"[Server]", "[Server]\nBaseDir: /new\n"},
	} {
		if got := string(WithBaseDir([]byte(c[0]), "/new")); got != c[1] {
			t.Errorf("%s: %q", name, got)
		}
	}
}
