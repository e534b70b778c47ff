package cli

import (
	"errors"
	"fmt"
	"testing"

	"mixminion/mmtp"
	"mixminion/packet"
)

func TestPingHost(t *testing.T) {
	for name, want := range map[string]packet.Hop{
		"mix.example.net":       {Host: "mix.example.net", Port: 48099},
		"mix.example.net:1":     {Host: "mix.example.net", Port: 1},
		"127.0.0.1":             {Host: "127.0.0.1", Port: 48099},
		"localhost:65535":       {Host: "localhost", Port: 65535},
		"[2001:db8::1]":         {Host: "2001:db8::1", Port: 48099},
		"[2001:db8::1]:47000":   {Host: "2001:db8::1", Port: 47000},
		"":                      {},
		"localhost":             {},
		"localhost:0":           {},
		"localhost:65536":       {},
		"localhost:smtp":        {},
		":48099":                {},
		"2001:db8::1":           {},
		"[2001:db8::1":          {},
		"[mix.example.net]":     {},
		"missing/file.txt":      {},
		"two words.example.net": {},
	} {
		got, err := pingHost(name)
		if got != want || (err == nil) != (want != packet.Hop{}) {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}

func TestPingResult(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, ">>> Server seems to be running\nalpha is up\n"},
		{fmt.Errorf("probe: %w", mmtp.ErrKeyID), ">>> Server seems to be running, but its key is wrong!\nalpha is down\n"},
		{errors.New("connection refused"), ">>> Couldn't connect to server: connection refused\nalpha is down\n"},
	} {
		if got := pingResult("alpha", test.err); got != test.want {
			t.Errorf("%v: %q", test.err, got)
		}
	}
}
