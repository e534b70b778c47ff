package cli

import "io/fs"

// foreignOwner finds no other users: what one may do is a matter of access lists here.
func foreignOwner(fs.FileInfo) (owner uint32, foreign bool) { return 0, false }
