package inbox

import (
	"slices"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

// Reliability knows from measurements which servers work. Implementations must be safe for concurrent use.
type Reliability interface {
	// Reliable reports whether a server works, and whether enough is known at all to say so.
	Reliable(now time.Time, server crypt.KeyID) (reliable, known bool)
}

// Candidates returns the descriptors to vote for, for a directory that is published at now: of approved servers, neither expired nor
// superseded nor too far in the future, sorted as directories are (dir-spec 4.1).
func (b *Inbox) Candidates(now time.Time) []*directory.Descriptor {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look()
	var list []*directory.Descriptor
	for id, files := range b.servers {
		if b.record(id).Decision == Approved {
			list = append(list, listables(files, now)...)
		}
	}
	slices.SortFunc(list, directory.CompareServers)
	return list
}

// Recommended reports whether the vote recommends a server: it is approved, and the operator says so or, if the operator leaves that
// open, it is not known to be unreliable (dir-spec 7.2).
func (b *Inbox) Recommended(now time.Time, d *directory.Descriptor) bool {
	b.mu.Lock()
	b.look()
	r := b.record(d.KeyID())
	b.mu.Unlock()
	if r.Decision != Approved {
		return false
	}
	switch r.Recommend {
	case Always:
		return true
	case Never:
		return false
	}
	if b.cfg.Reliability == nil {
		return true
	}
	reliable, known := b.cfg.Reliability.Reliable(now, d.KeyID())
	return reliable || !known
}

func listables(files []*descriptorFile, now time.Time) []*directory.Descriptor {
	all := descriptors(files)
	return slices.DeleteFunc(slices.Clone(all), func(d *directory.Descriptor) bool { return !listable(d, all, now) })
}
