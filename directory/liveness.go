package directory

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"mixminion/internal/crypt"
)

// maxFuture is how far ahead of ours the clock of a server that publishes a descriptor may be.
const maxFuture = 10 * time.Minute

// CheckPublished returns ErrFuture if the descriptor was published more than ten minutes after now.
func (d *Descriptor) CheckPublished(now time.Time) error {
	if d.Published.After(now.Add(maxFuture)) {
		return fmt.Errorf("%w: %s", ErrFuture, d.Published.Format(timeLayout))
	}
	return nil
}

// LiveAt reports whether the descriptor is valid at t.
func (d *Descriptor) LiveAt(t time.Time) bool {
	return !t.Before(d.ValidAfter) && t.Before(d.ValidUntil)
}

// ValidOver reports whether the descriptor is valid from one moment to another (path-spec 2.2). Nothing is valid over
// an interval that ends before it begins.
func (d *Descriptor) ValidOver(from, until time.Time) bool {
	return !until.Before(from) && !from.Before(d.ValidAfter) && !until.After(d.ValidUntil)
}

// Expired reports whether the descriptor's lifetime is over at now.
func (d *Descriptor) Expired(now time.Time) bool { return !now.Before(d.ValidUntil) }

// SameServer reports whether both describe one server: they have the same identity key.
func (d *Descriptor) SameServer(other *Descriptor) bool { return d.Identity.Equal(other.Identity) }

// Conflicts reports whether the two cannot both be true: one nickname with two identity keys, or one key with two nicknames
// (dir-spec 3.1, dir-spec 4.1).
func (d *Descriptor) Conflicts(other *Descriptor) bool {
	return d.SameServer(other) != d.HasNickname(other.Nickname)
}

// CheckConflict returns ErrConflict if d contradicts one of the descriptors that are known already.
func CheckConflict(d *Descriptor, known []*Descriptor) error {
	for _, k := range known {
		if d.Conflicts(k) {
			return fmt.Errorf("%w: %s with key %s, known is %s with key %s",
				ErrConflict, d.Nickname, d.Fingerprint(), k.Nickname, k.Fingerprint())
		}
	}
	return nil
}

// Superseded reports whether nobody needs d after now: each moment of its lifetime is past or covered by descriptors of the
// same server that were published later (dir-spec 3.2). d itself may be among the others.
func Superseded(d *Descriptor, others []*Descriptor, now time.Time) bool {
	var newer []*Descriptor
	for _, o := range others {
		if o.SameServer(d) && o.Published.After(d.Published) {
			newer = append(newer, o)
		}
	}
	slices.SortFunc(newer, func(a, b *Descriptor) int { return a.ValidAfter.Compare(b.ValidAfter) })
	covered := d.ValidAfter
	if now.After(covered) {
		covered = now
	}
	for _, o := range newer {
		if o.ValidAfter.After(covered) {
			break
		}
		if o.ValidUntil.After(covered) {
			covered = o.ValidUntil
		}
	}
	return !covered.Before(d.ValidUntil)
}

// Newest returns one descriptor for each server: of those that are valid from one moment to another the one published last (dir-spec
// 3.2). They are sorted by nickname. A descriptor that conflicts with one in front of it in ds, valid or not, is left out: whoever
// used a nickname first keeps it (dir-spec 3.1).
func Newest(ds []*Descriptor, from, until time.Time) []*Descriptor {
	names := make(map[string]crypt.KeyID)
	keys := make(map[crypt.KeyID]string)
	newest := make(map[crypt.KeyID]*Descriptor)
	for _, d := range ds {
		name, key := strings.ToLower(d.Nickname), d.KeyID()
		if owner, ok := names[name]; ok && owner != key {
			continue
		}
		if owner, ok := keys[key]; ok && owner != name {
			continue
		}
		names[name], keys[key] = key, name
		if !d.ValidOver(from, until) {
			continue
		}
		if best, ok := newest[key]; !ok || best.olderThan(d) {
			newest[key] = d
		}
	}
	out := make([]*Descriptor, 0, len(newest))
	for _, d := range newest {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *Descriptor) int {
		return cmp.Compare(strings.ToLower(a.Nickname), strings.ToLower(b.Nickname))
	})
	return out
}

// olderThan orders two descriptors of one server; the digest decides between equal times, so that all clients choose alike.
func (d *Descriptor) olderThan(other *Descriptor) bool {
	if c := d.Published.Compare(other.Published); c != 0 {
		return c < 0
	}
	return bytes.Compare(d.digest[:], other.digest[:]) < 0
}
