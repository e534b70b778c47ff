package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                          nil,
		" \t ":                      nil,
		"version":                   {"version"},
		" send  -t\tbob@x.example ": {"send", "-t", "bob@x.example"},
		`a 'b c' "d e"f`:            {"a", "b c", "d ef"},
		`'' "" x`:                   {"", "", "x"},
		`'\' "\"\\\n" \' a\ b`:      {`\`, `"\\n`, `'`, "a b"},
		`--subject="it's"`:          {"--subject=it's"},
		"# remark":                  nil,
		"a # b":                     {"a"},
		"a#b":                       {"a#b"},
		"a\r":                       {"a"},
		"gr\u00fc\u00dfe":           {"gr\u00fc\u00dfe"},
	} {
		got, err := splitWords(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{`'a`, `a "b`, `a\`, `"\"`} {
		if got, err := splitWords(line); err == nil {
			t.Errorf("%s: %q, no error", line, got)
		}
	}
}

func TestReadBareLine(t *testing.T) {
	r := iotest.OneByteReader(strings.NewReader("one\n\nlast"))
	for _, want := range []string{"one", "", "last"} {
		if got, err := readBareLine(r); got != want || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := readBareLine(r); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := readBareLine(strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("a long line: no error")
	}
	if _, err := readBareLine(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("broken: %v", err)
	}
}

// An interrupt at the prompt does not wait for the line.
func TestShellInterrupted(t *testing.T) {
	r, w := io.Pipe()
	sh := &shell{streams: &streams{in: r, out: io.Discard, err: io.Discard}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if line, err := sh.readLine(ctx); !errors.Is(err, context.Canceled) || line != "" {
		t.Errorf("%q, %v", line, err)
	}
	if err := w.Close(); err != nil { // ends the reader that was left behind
		t.Fatal(err)
	}
}

// On a terminal there is a prompt, and a mistake is no reason to fail in the end.
func TestShellPrompt(t *testing.T) {
	var out, errOut bytes.Buffer
	sh := &shell{prompt: true, streams: &streams{in: strings.NewReader("version\nnonsense\nquit\nversion\n"), out: &out, err: &errOut}}
	if err := sh.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := shellPrompt + "Mixminion version " + Version + "\n" + shellPrompt + shellPrompt; out.String() != want {
		t.Errorf("output %q", out.String())
	}
	if !strings.Contains(errOut.String(), "nonsense") {
		t.Errorf("errors %q", errOut.String())
	}
}
