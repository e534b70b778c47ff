package config

import (
	"strings"

	"mixminion/directory"
)

// Family is a repeatable key that names mixes by nickname or fingerprint.
type Family []string

func (v *Family) Set(text string) error {
	names, err := directory.ParseFamily(text)
	if err != nil {
		return err
	}
	*v = append(*v, names...)
	return nil
}
func (v *Family) String() string { return strings.Join(*v, ", ") }
func (v *Family) Values() []string {
	if len(*v) == 0 {
		return nil
	}
	return []string{v.String()}
}
func (v *Family) Kind() string { return "list of mixes" }
