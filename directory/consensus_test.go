package directory

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

var vectorDirectories = []string{"vote-0", "vote-1", "vote-2", "consensus-0", "consensus-1", "consensus-2", "directory-3-signed"}

func TestVectorDirectories(t *testing.T) {
	for _, name := range vectorDirectories {
		text := readFile(t, name)
		d, err := ParseDirectory(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(string(text), string(d.Text())); diff != "" {
			t.Errorf("%s: Text differs: %s", name, diff)
		}
		body, err := FormatDirectory(d.Info, d.Servers)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(string(d.Body()), string(body)); diff != "" {
			t.Errorf("%s: body written again differs: %s", name, diff)
		}
		for _, s := range d.Signers {
			if s.Err != nil {
				t.Errorf("%s: signer %s: %v", name, s.Fingerprint(), s.Err)
			}
		}
		if len(d.Notes) > 0 {
			t.Errorf("%s: notes %v", name, d.Notes)
		}
	}
}
