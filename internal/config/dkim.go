package config

import (
	"fmt"
	"strings"
)

// DKIMKey is a key that signs mail: the name by which receivers find its public half, and the file of the private one.
type DKIMKey struct {
	Selector string
	File     Path
}

func (k DKIMKey) String() string { return k.Selector + " " + string(k.File) }

// DKIMKeys is a repeatable key, one [DKIMKey] to a line.
type DKIMKeys []DKIMKey

// maxDKIMKeys is enough for an RSA and an Ed25519 key, and the change from old to new ones. Receivers look at the first
// few signatures only.
const maxDKIMKeys = 4

func (v *DKIMKeys) Set(text string) error {
	selector, file, found := strings.Cut(text, " ")
	file = strings.TrimSpace(file)
	if !found || file == "" || !isHost(selector) {
		return fmt.Errorf("%s is not a selector and a file with a blank between them, like mix1 dkim.key", quote(text))
	}
	if len(*v) == maxDKIMKeys {
		return fmt.Errorf("more than %d keys; receivers would not look at all signatures", maxDKIMKeys)
	}
	for _, k := range *v {
		if strings.EqualFold(k.Selector, selector) {
			return fmt.Errorf("the selector %s is given twice", quote(selector))
		}
	}
	*v = append(*v, DKIMKey{selector, Path(file)})
	return nil
}

func (v *DKIMKeys) Values() []string {
	var out []string
	for _, k := range *v {
		out = append(out, k.String())
	}
	return out
}
func (v *DKIMKeys) String() string { return strings.Join(v.Values(), "; ") }
func (v *DKIMKeys) Kind() string   { return "selector and file" }
