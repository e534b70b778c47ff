package mbox

import (
	"log/slog"

	"mixminion/delivery/livefile"
)

// File are the users in a file that is read again when the file changes.
type File struct{ users *livefile.File[*Users] }

// Open reads a file. Its error names the file and the lines that are wrong. log may be nil.
func Open(path string, log *slog.Logger) (*File, error) {
	users, err := livefile.Open(path, Parse, log)
	if err != nil {
		return nil, err
	}
	return &File{users}, nil
}

// Address returns where the mail of a user goes by the file as it is now. As long as it is damaged or away, what was read last holds; the
// log says so once.
func (f *File) Address(name []byte) (string, bool) { return f.users.Value().Address(name) }
