package directory

import (
	"slices"
	"testing"
)

func TestAddressPatterns(t *testing.T) {
	for s, want := range map[string]bool{
		"*": true, "* 80": true, "* 1-65535": true, "192.0.2.1": true, "10.0.0.0/255.0.0.0": true, "10.0.0.0/255.0.0.0  48099": true, "0.0.0.0/0.0.0.0 0-0": true,
		"": false, "10.0.0.0/8": false, "*/255.0.0.0": false, "10.0.0": false, "10.0.0.256": false, "::1": false, "* 65536": false, "* 5-4": false,
		"* -4": false, "* 4-": false, "* 1-2-3": false, "* 1 - 2": false, "everybody": false, "10.0.0.0/": false,
	} {
		if err := checkAddressPattern(s); (err == nil) != want {
			t.Errorf("%q: %v", s, err)
		}
	}
	d, err := ParseDescriptor(edit{`^Hostname:`, "Allow: everybody\nHostname:"}.apply(t, sampleText(t)))
	if err != nil {
		t.Fatal(err)
	}
	if d.Incoming != nil || !slices.ContainsFunc(d.Notes, func(n Note) bool { return n.Corrupt }) {
		t.Errorf("notes %v", d.Notes)
	}
}
