package cli

import (
	"bytes"
	"strings"
	"testing"

	"mixminion/internal/testnet"
)

func TestDemoText(t *testing.T) {
	for _, size := range []sizeFlag{1, 2, 64, 65, 66, 100 << 10} {
		d := &demo{streams: &streams{in: strings.NewReader("not read")}, demoOptions: demoOptions{size: size}}
		body, err := d.text()
		if err != nil || len(body) != int(size) || body[len(body)-1] != '\n' {
			t.Errorf("%d bytes wanted: %d, %v", size, len(body), err)
		}
	}
	for in, want := range map[string]string{"": demoText, "a line\n": "a line\n"} {
		d := &demo{streams: &streams{in: strings.NewReader(in)}}
		if body, err := d.text(); err != nil || string(body) != want {
			t.Errorf("%q: %q, %v", in, body, err)
		}
	}
	d := &demo{streams: &streams{in: zeros{}}}
	if _, err := d.text(); err == nil || !strings.Contains(err.Error(), "standard input is longer than 16 MB") {
		t.Error(err)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestDemoShow(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 59)+"\n", 30)
	for in, want := range map[string]string{
		"":                     "",
		"one":                  "  | one\n",
		"one\ntwo\n":           "  | one\n  | two\n",
		"one\r\n\r\ntwo\r\n":   "  | one\n  | \n  | two\n",
		"percent %s %d\n":      "  | percent %s %d\n",
		long[:shownBody]:       strings.Repeat("  | "+strings.Repeat("x", 59)+"\n", 20),
		long[:shownBody] + "x": strings.Repeat("  | "+strings.Repeat("x", 59)+"\n", 20) + "  | [1 byte more]\n",
		long:                   strings.Repeat("  | "+strings.Repeat("x", 59)+"\n", 20) + "  | [600 bytes more]\n",
	} {
		var out bytes.Buffer
		d := &demo{streams: &streams{out: &out}}
		d.show([]byte(in))
		if out.String() != want {
			t.Errorf("%q is shown as %q", in, out.String())
		}
	}
}

func TestDemoRefuses(t *testing.T) {
	for want, o := range map[string]demoOptions{
		"--servers: a path needs 4 different mixes, and there are names for 24": {servers: len(testnet.Names) + 1},
		"--servers: ": {servers: minDemoMixes - 1},
		"--size: the exits of the demo take at most 16M": {servers: minDemoMixes, size: testnet.MaximumSize + 1},
	} {
		d := &demo{streams: &streams{}, demoOptions: o}
		if err := d.run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
