package directory

import (
	"slices"
	"testing"
)

func TestSplitDescriptors(t *testing.T) {
	for text, want := range map[string][]string{
		"":                        nil,
		" \n\n":                   nil,
		"[Server]\na: b":          {"[Server]\na: b\n"},
		"x\n[Server]\r\n[Server]": {"x\n", "[Server]\n", "[Server]\n"},
		"\n\n[Server]\na: [Server]\n\n \n[Server]\n[Other]\n": {"[Server]\na: [Server]\n", "[Server]\n[Other]\n"},
	} {
		var got []string
		for _, part := range SplitDescriptors([]byte(text)) {
			got = append(got, string(part))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q gives %q", text, got)
		}
	}
}
