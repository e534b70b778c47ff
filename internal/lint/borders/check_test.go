package main

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name, file, source string
		want               string // "" when nothing is wrong
	}{
		{"down", "mix/a.go", `import "mixminion/packet"`, ""},
		{"far down", "cmd/mixminion/a.go", `import "mixminion/internal/crypt"`, ""},
		{"up", "packet/a.go", `import "mixminion/mix"`, "packet/a.go:2: packet may not import mixminion/mix: it is in a higher layer"},
		{"sideways", "client/a.go", `import "mixminion/mix"`, "it is in the same layer"},
		{"meant sideways", "message/keyring/a.go", `import "mixminion/packet"`, ""},
		{"not meant sideways", "packet/a.go", `import "mixminion/message/keyring"`, "it is in the same layer"},
		{"own room", "message/a.go", `import "mixminion/message/keyring"`, ""},
		{"likely name", "packetize/a.go", ``, "packetize/a.go:1: package packetize is in no room"},
		{"unknown room", "mix/a.go", `import "mixminion/extra"`, "it is in no room"},
		{"root", "a.go", ``, "is in no room"},

		{"config from mix", "mix/a.go", `import "mixminion/internal/config"`, ""},
		{"config from mmtp", "mmtp/a.go", `import "mixminion/internal/config"`, "only cmd, internal/cli"},
		{"store imports a room above", "internal/store/a.go", `import "mixminion/delivery"`, "it is in a higher layer"},
		{"testnet from the demo", "internal/cli/a.go", `import "mixminion/internal/testnet"`, ""},
		{"testnet from a program", "cmd/mixminiond/a.go", `import "mixminion/internal/testnet"`, "only internal/cli may"},
		{"testnet from a test", "mix/a_test.go", `import "mixminion/internal/testnet"`, ""},
		{"cobra in cli", "internal/cli/a.go", `import "github.com/spf13/cobra/doc"`, ""},
		{"cobra in mix", "mix/a.go", `import "github.com/spf13/cobra"`, "only cmd, internal/cli may"},

		{"pure net", "packet/a.go", `import "net"`, "pure rooms know no network"},
		{"pure net/http", "directory/a.go", `import h "net/http"`, "pure rooms know no network"},
		{"pure netip", "directory/a.go", `import "net/netip"`, ""},
		{"pure os below", "internal/zlib/a.go", `import _ "os/exec"`, "pure rooms know no network"},
		{"pure x/sys", "internal/crypt/a.go", `import "golang.org/x/sys/unix"`, "pure rooms know no network"},
		{"pure log/slog", "path/a.go", `import "log/slog"`, "pure rooms know no network"},
		{"impure os", "mix/a.go", `import "os"`, ""},
		{"pure room imports a clock", "path/a.go", `import "mixminion/internal/clock"`, "it is not pure"},
		{"name that begins alike", "packet/a.go", `import "logic/x"`, ""},
		{"pure part of a room", "delivery/mail/a.go", `import "os"`, "pure rooms know no network"},
		{"pure test", "packet/a_test.go", `import "os"`, ""},
		{"math/rand", "mix/a.go", `import "math/rand/v2"`, "random choices come from crypto/rand"},

		{"math/rand for tests", "internal/store/crashfs/a.go", `import "math/rand/v2"`, ""},
		{"what serves tests", "internal/store/a.go", `import "mixminion/internal/store/crashfs"`, "it serves tests"},
		{"what serves tests, in a test", "internal/store/a_test.go", `import "mixminion/internal/store/crashfs"`, ""},

		{"type of time", "path/a.go", "import \"time\"\nvar x time.Time = time.Unix(0, 0)", ""},
		{"clock", "path/a.go", "import \"time\"\nvar x = time.Now()", "path/a.go:3: path may not use time.Now"},
		{"clock as a value", "path/a.go", "import \"time\"\nvar x = time.Now", "may not use time.Now"},
		{"renamed clock", "path/a.go", "import t \"time\"\nfunc f() { t.Sleep(0) }", "may not use time.Sleep"},
		{"dotted clock", "path/a.go", "import . \"time\"\nvar x = Now()", "may not import time with a dot"},
		{"impure clock", "mix/a.go", "import \"time\"\nvar x = time.Now()", ""},

		{"build tag", "packet/a.go", "//go:build never\n\npackage p\nimport \"os\"", "packet/a.go:4: packet may not import os"},
		{"tool", "internal/lint/x/a.go", `import "os"`, ""},
		{"testdata", "packet/testdata/a.go", `import "os"`, ""},
		{"module of its own", "internal/zlib/oracle/a.go", `import "os"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := c.source
			if !strings.Contains(source, "package ") {
				source = "package p\n" + source
			}
			got, err := check(fstest.MapFS{
				"go.mod":                      {Data: []byte("module mixminion")},
				c.file:                        {Data: []byte(source)},
				"internal/zlib/oracle/go.mod": {Data: []byte("module oracle")},
			})
			if err != nil {
				t.Fatal(err)
			}
			if (len(got) > 0) != (c.want != "") || len(got) > 1 {
				t.Fatalf("problems %q, want %q", got, c.want)
			}
			if c.want != "" && !strings.Contains(got[0], c.want) {
				t.Errorf("problem %q, want %q", got[0], c.want)
			}
		})
	}
	if _, err := check(fstest.MapFS{"mix/a.go": {Data: []byte("packag")}}); err == nil {
		t.Error("a file that does not parse passes")
	}
}

// Every name in the tables must be a room, or the rule would do nothing.
func TestTables(t *testing.T) {
	rooms := slices.Concat(layers...)
	known := func(name string) bool { return slices.Contains(rooms, name) || strings.Contains(name, ".") }
	for from, to := range siblings {
		for _, name := range append(to, from) {
			if !known(name) {
				t.Errorf("siblings: %s is no room", name)
			}
		}
	}
	for to, from := range only {
		for _, name := range append(from, to) {
			if !known(name) {
				t.Errorf("only: %s is no room", name)
			}
		}
	}
	for _, name := range slices.Concat(pure, testOnly) {
		if room, _ := roomOf(name); room == "" {
			t.Errorf("pure, testOnly: %s is in no room", name)
		}
	}
}
