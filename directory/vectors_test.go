package directory

import (
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mixminion/internal/crypt"
)

//go:embed testdata/directory.json
var directoryJSON []byte

// vectors is what directory.json says about the descriptors beside it.
type vectors struct {
	Now     int64 `json:"now"`
	Servers []struct {
		Caps          []string `json:"caps"`
		Digest        string   `json:"digest"`
		File          string   `json:"file"`
		Hostname      string   `json:"hostname"`
		Fingerprint   string   `json:"identity_fingerprint"`
		KeyID         string   `json:"keyid"`
		Nickname      string   `json:"nickname"`
		PacketKeySHA1 string   `json:"packet_key_sha1"`
		Port          uint16   `json:"port"`
	} `json:"servers"`
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	var v vectors
	if err := json.Unmarshal(directoryJSON, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Servers) == 0 {
		t.Fatal("directory.json lists no servers")
	}
	return v
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parsed(t testing.TB, name string) *Descriptor {
	t.Helper()
	d, err := ParseDescriptor(readFile(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

func TestVectorDescriptors(t *testing.T) {
	v := loadVectors(t)
	now := time.Unix(v.Now, 0)
	for _, want := range v.Servers {
		t.Run(want.Nickname, func(t *testing.T) {
			text := readFile(t, want.File)
			d := parsed(t, want.File)
			packetKey := crypt.Hash(crypt.EncodePublicKey(d.PacketKey))
			digest, node := d.Digest(), d.Node()
			got := []any{d.Nickname, d.Capabilities(), hex.EncodeToString(digest[:]), d.KeyID().String(), d.Fingerprint(),
				hex.EncodeToString(packetKey[:]), node.Host, node.Port, node.KeyID.String()}
			expected := []any{want.Nickname, want.Caps, want.Digest, want.KeyID, want.Fingerprint,
				want.PacketKeySHA1, want.Hostname, want.Port, want.KeyID}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Error(diff)
			}
			if len(d.Notes) > 0 {
				t.Errorf("notes: %v", d.Notes)
			}
			if err := d.CheckPublished(now); err != nil {
				t.Error(err)
			}
			if !d.LiveAt(now) || d.Expired(now) || !d.AcceptsConnections() {
				t.Error("not usable at the vectors' own time")
			}
			sections, err := Parse(text, DescriptorLimits)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Format(sections)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(text), string(again)); diff != "" {
				t.Error("sections written again differ:", diff)
			}
			if diff := cmp.Diff(string(text), string(d.Text())); diff != "" {
				t.Error("Text differs:", diff)
			}
		})
	}
}

// What we build from the fields of a reference descriptor is its text, byte for byte, up to the debugging section that we do not write.
func TestFieldsGiveReferenceText(t *testing.T) {
	for _, s := range loadVectors(t).Servers {
		d := parsed(t, s.File)
		sections, err := Parse(d.Text(), DescriptorLimits)
		if err != nil {
			t.Fatal(err)
		}
		built := d.sections(d.Identity)
		for _, key := range []string{"Digest", "Signature"} {
			e, _ := sections[0].get(key)
			built[0].set(key, e.Value)
		}
		got, err := Format(built)
		if err != nil {
			t.Fatal(err)
		}
		want, _, ok := strings.Cut(string(d.Text()), "["+sectionTesting+"]")
		if !ok {
			t.Fatalf("%s has no section %s", s.File, sectionTesting)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s: %s", s.File, diff)
		}
	}
}

func TestLineEndsAndBlanksDoNotMatter(t *testing.T) {
	for _, s := range loadVectors(t).Servers {
		text := string(readFile(t, s.File))
		for name, changed := range map[string]string{
			"CRLF":          strings.ReplaceAll(text, "\n", "\r\n"),
			"CR":            strings.ReplaceAll(text, "\n", "\r"),
			"trailing":      strings.ReplaceAll(text, "\n", " \t\n"),
			"no final NL":   strings.TrimSuffix(text, "\n"),
			"mixed endings": strings.Replace(text, "\n", "\r\n", 5),
		} {
			d, err := ParseDescriptor([]byte(changed))
			if err != nil {
				t.Errorf("%s, %s: %v", s.File, name, err)
				continue
			}
			if string(d.Text()) != text {
				t.Errorf("%s, %s: text was not restored", s.File, name)
			}
		}
	}
}
