package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// OldFragments counts the fragments that Mixminion 0.0.8 has left in the home directory. What belongs together is known to a database of
// its Python only (fragments_db*), so that they cannot be used here: their mails can be decoded again.
func (c *Client) OldFragments() (int, error) {
	entries, err := os.ReadDir(c.path(fragmentsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("list fragments: %w", err)
	}
	n := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), oldPrefix) {
			n++
		}
	}
	return n, nil
}
