package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mixminion/mix"
)

func TestSayMix(t *testing.T) {
	const full, damaged, drains = "It rejects packets", "cannot be read, and are lost", "It takes no more packets"
	for _, c := range []struct {
		status mix.Status
		want   []string
	}{
		{mix.Status{}, nil},
		{mix.Status{Full: true}, []string{full}},
		{mix.Status{Damaged: true}, []string{damaged}},
		{mix.Status{Draining: true, Full: true, Damaged: true}, []string{drains, full, damaged}},
	} {
		var said strings.Builder
		sayMix(func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...) }, &c.status)
		for _, text := range []string{full, damaged, drains} {
			if strings.Contains(said.String(), text) != slices.Contains(c.want, text) {
				t.Errorf("%+v: %s", c.status, said.String())
			}
		}
	}
}
