package config

import (
	"strings"
	"testing"
)

func TestAuthorities(t *testing.T) {
	one, two := strings.Repeat("0a", 20), strings.Repeat("B1", 20)
	c, err := ParseClient([]byte("[DirectoryServers]\nAuthority: "+one+" http://one.example/\nAuthority: "+two+" https://two.example/dir/\n"), "f")
	if err != nil {
		t.Fatal(err)
	}
	want := Authorities{{strings.ToUpper(one), "http://one.example/"}, {two, "https://two.example/dir/"}}
	if got := c.Directories.Authority; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]string{
		"Authority: " + one:                                                  "is not a fingerprint and a URL",
		"Authority: " + one + " http://one.example":                          "does not end with a /",
		"Authority: " + one[1:] + " http://one.example/":                     "is not a fingerprint",
		"Authority: g" + one[1:] + " http://one.example/":                    "is not a fingerprint",
		"Authority: " + one + " http://one.example/ x":                       "is not a fingerprint and",
		"Authority: " + one + " http://a/\nAuthority: " + one + " http://b/": "stands in two lines",
		"ServerURL: ftp://a/":                                                "does not begin with http",
		"DirectoryTimeout: 0 seconds":                                        "must be longer than nothing",
	} {
		_, err := ParseClient([]byte("[DirectoryServers]\n"+text+"\n"), "f")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
