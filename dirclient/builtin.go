package dirclient

import (
	_ "embed" // the list
	"fmt"
	"strings"

	"mixminion/directory"
)

//go:embed authorities.txt
var builtin string

// Builtin returns the authorities that this build trusts unless the user names others: those of the file
// authorities.txt. Who builds a program for a network of their own edits that file.
func Builtin() ([]directory.Authority, error) { return parseAuthorities(builtin) }

func parseAuthorities(text string) ([]directory.Authority, error) {
	var list []directory.Authority
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) != 2 || !directory.ValidFingerprint(words[0]) || !directory.ValidBaseURL(words[1]) {
			return nil, fmt.Errorf("list of authorities, line %d: not a fingerprint and a URL", n)
		}
		list = append(list, directory.Authority{Fingerprint: words[0], URLs: words[1:]})
	}
	return list, nil
}
