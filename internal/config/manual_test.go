package config

import (
	"strings"
	"testing"
)

// The operator is told of each setting what it protects, and of no setting that there is not.
func TestProtects(t *testing.T) {
	said := map[string]bool{}
	for _, s := range new(Server).Sections() {
		if s.Unused != "" {
			continue
		}
		for _, k := range s.Keys {
			said[s.Name+"/"+k.Name] = true
			if strings.HasPrefix(s.Name, "Delivery/") {
				said["Delivery/"+k.Name] = true
			}
			if k.Unused == "" && protected(s.Name, k.Name) == "" {
				t.Errorf("what [%s] %s protects is not said", s.Name, k.Name)
			}
		}
	}
	for section, keys := range protects {
		for key := range keys {
			if !said[section+"/"+key] {
				t.Errorf("there is no [%s] %s", section, key)
			}
		}
	}
}

func TestManual(t *testing.T) {
	page := string(Manual())
	for _, want := range []string{
		"\n## Server\n", "\n| `MaxDisk` | `10G` | reload | The disk space", "\n| `Nickname` |  | restart | ", "\n| `[Incoming/MMTP]` `Allow` | ",
		"\n| all of `[Pinging]` | ",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(page, "| `Allow` |") {
		t.Error("a key that does nothing stands among those that do")
	}
}
