package blacklist

import (
	"log/slog"

	"mixminion/delivery/livefile"
)

// File is a list in a file that is read again when the file changes.
type File struct{ list *livefile.File[*List] }

// Open reads a file. Its error names the file and the lines that are wrong. log may be nil.
func Open(path string, log *slog.Logger) (*File, error) {
	list, err := livefile.Open(path, Parse, log)
	if err != nil {
		return nil, err
	}
	return &File{list}, nil
}

// Blocked reports whether the file, as it is now, denies a mailbox. As long as it is damaged or away, what was read last holds; the log
// says so once.
func (f *File) Blocked(addr string) bool { return f.list.Value().Blocked(addr) }
