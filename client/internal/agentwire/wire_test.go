package agentwire

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadLine(t *testing.T) {
	const limit = 10000
	long := strings.Repeat("x", limit)
	for name, c := range map[string]struct {
		in   string
		want string
		err  error
	}{
		"line":        {"one\ntwo\n", "one", nil},
		"empty":       {"\n", "", nil},
		"longest":     {long + "\n", long, nil},
		"too long":    {long + "x\n", "", ErrTooLong},
		"far too":     {long + long + long, "", ErrTooLong},
		"end":         {"", "", io.EOF},
		"cut":         {"one", "", io.ErrUnexpectedEOF},
		"carriage":    {"one\r\n", "one\r", nil},
		"no end long": {long, "", io.ErrUnexpectedEOF},
	} {
		got, err := ReadLine(bufio.NewReader(strings.NewReader(c.in)), limit)
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// Errors name fields, but no values.
func TestParamsErrors(t *testing.T) {
	type params struct {
		To   []string `json:"to"`
		Body []byte   `json:"body"`
	}
	for name, c := range map[string]struct{ in, want string }{
		"unknown":   {`{"too":"secret"}`, `unknown field "too"`},
		"long":      {`{"` + strings.Repeat("x", 100) + `":1}`, "it cannot be read"},
		"kind":      {`{"to":"secret"}`, "to has the wrong type"},
		"base64":    {`{"body":"!secret"}`, "it cannot be read"},
		"malformed": {`{"to":[secret]}`, "malformed JSON at byte 8"},
		"end":       {`{"to":`, "the JSON ends too early"},
		"more":      {`{} secret`, "it cannot be read"},
	} {
		e := ParseParams([]byte(c.in), new(params))
		if e == nil || e.Code != CodeParams || !strings.HasSuffix(e.Message, c.want) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
