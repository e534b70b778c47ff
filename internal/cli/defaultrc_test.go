package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mixminion/internal/config"
)

func TestOfferConfig(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("MIXMINIONRC", "")
	file := filepath.Join(home, clientConfig)
	var out bytes.Buffer
	s := &streams{err: &out}
	if _, err := openUser(s, ""); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), file) || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("said %q", out.String())
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: %v", info, err)
	}
	// It reads back to the defaults, without a warning and without a key that is given.
	cfg, found, err := readClientConfig("", home)
	if err != nil || !found || len(cfg.Warnings()) > 0 {
		t.Fatalf("found %v: %v", found, err)
	}
	for _, section := range cfg.Sections() {
		for _, k := range section.Keys {
			if cfg.Given(section.Name, k.Name) {
				t.Errorf("[%s] %s is given", section.Name, k.Name)
			}
		}
	}
	want := config.DefaultClient()
	cfg.File = config.File{}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got %+v, want %+v", cfg, want)
	}
	entries, err := os.ReadDir(home)
	if err != nil || len(entries) != 2 {
		t.Errorf("in the home directory: %v, %v", entries, err)
	}

	// A file of the user's is left alone.
	if err := os.WriteFile(file, []byte("[User]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if _, err := openUser(s, ""); err != nil || out.Len() > 0 {
		t.Errorf("%v, said %q", err, out.String())
	}
	offerConfig(s, home)
	if text, err := os.ReadFile(file); err != nil || string(text) != "[User]\n" || out.Len() > 0 {
		t.Errorf("%q: %v, said %q", text, err, out.String())
	}
}

// No file is written for one who has a configuration elsewhere, or whose name for it leads nowhere.
func TestOfferConfigUnwanted(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, home string) (flag string){
		"other name": func(t *testing.T, home string) string {
			return write(t, filepath.Join(home, "mixminionrc"), "")
		},
		"variable": func(t *testing.T, home string) string {
			t.Setenv("MIXMINIONRC", filepath.Join(home, "rc"))
			write(t, filepath.Join(home, "rc"), "[User]\n")
			return ""
		},
		"flag": func(t *testing.T, home string) string {
			write(t, filepath.Join(home, "rc"), "[User]\n")
			return filepath.Join(home, "rc")
		},
		"link": func(t *testing.T, home string) string {
			if err := os.Symlink(filepath.Join(home, "gone"), filepath.Join(home, clientConfig)); err != nil {
				t.Fatal(err)
			}
			return ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			t.Setenv("USERPROFILE", home)
			t.Setenv("MIXMINIONRC", "")
			var out bytes.Buffer
			if _, err := openUser(&streams{err: &out}, prepare(t, home)); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(filepath.Join(home, clientConfig)); err == nil {
				t.Errorf("wrote %v", info)
			}
			if _, err := os.Stat(filepath.Join(home, "gone")); err == nil {
				t.Error("wrote through a link")
			}
			if out.Len() > 0 {
				t.Errorf("said %q", out.String())
			}
		})
	}
}

func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ""
}
