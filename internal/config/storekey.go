package config

import (
	"errors"
	"path/filepath"
	"strings"
)

// StoreKey says what unlocks the master key of a server.
type StoreKey struct {
	From StoreKeySource
	// Name is the file or the credential.
	Name string
}

// StoreKeySource is the kind of thing that unlocks.
type StoreKeySource string

// What unlocks a master key.
const (
	StoreKeyNone       StoreKeySource = "none"
	StoreKeyFile       StoreKeySource = "file"
	StoreKeyPassphrase StoreKeySource = "passphrase"
	StoreKeyCredential StoreKeySource = "credential"
)

// Set reads "none", "passphrase", "file NAME" or "credential NAME".
func (v *StoreKey) Set(text string) error {
	kind, name, _ := strings.Cut(strings.TrimSpace(text), " ")
	var from StoreKeySource
	if err := setChoice(&from, kind, StoreKeyNone, StoreKeyFile, StoreKeyPassphrase, StoreKeyCredential); err != nil {
		return err
	}
	name = strings.TrimSpace(name)
	named := from == StoreKeyFile || from == StoreKeyCredential
	switch {
	case named && name == "":
		return errors.New("the name is missing: write " + string(from) + " NAME")
	case !named && name != "":
		return errors.New("nothing may follow " + string(from))
	case from == StoreKeyCredential && (strings.ContainsAny(name, "/ ") || strings.HasPrefix(name, ".")):
		return errors.New(quote(name) + " is no name of a credential")
	}
	*v = StoreKey{from, name}
	return nil
}

func (v *StoreKey) String() string { return strings.TrimSpace(string(v.From) + " " + v.Name) }

// Kind names the type.
func (v *StoreKey) Kind() string { return "key source" }

// inside says whether the key file certainly lies in the base directory.
func (v *StoreKey) inside(base Path) bool {
	if !filepath.IsAbs(v.Name) && !strings.HasPrefix(v.Name, "~") {
		return filepath.IsLocal(v.Name)
	}
	rel, err := filepath.Rel(string(base), v.Name)
	return err == nil && filepath.IsLocal(rel)
}
