package livefile

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	var got []string
	text := "one\r\n\n# two\n  three \n\t#\nfour"
	if err := Lines([]byte(text), func(line string) error { got = append(got, line); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"one", "three", "four"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Every mistake is told with the number of its line and without the line, up to twenty of them.
func TestMistakes(t *testing.T) {
	errWrong := errors.New("wrong")
	text := "bob@example.com\n#\n" + strings.Repeat("x", MaxLine) + "\ngood\n" + strings.Repeat("bob@example.com\n", 30)
	err := Lines([]byte(text), func(line string) error {
		if line == "good" {
			return nil
		}
		return errWrong
	})
	var first *LineError
	if !errors.Is(err, errWrong) || !errors.As(err, &first) || first.Line != 1 {
		t.Errorf("got %v", err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxErrors || lines[0] != "line 1: wrong" || lines[1] != "line 3: it has more than 4096 bytes" || lines[2] != "line 5: wrong" {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	if err := Lines(make([]byte, MaxFile+1), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}
