package inbox

import (
	"errors"
	"fmt"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

// Why a descriptor is refused. Besides these, a Refusal can match directory.ErrVersion, ErrDigest, ErrFuture and ErrConflict,
// crypt.ErrSignature, or be a *directory.SyntaxError.
var (
	ErrExpired    = errors.New("the descriptor has expired")
	ErrLifetime   = errors.New("the descriptor has a lifetime that makes no sense")
	ErrCorrupt    = errors.New("a section of the descriptor is corrupt, and some software refuses a whole directory for that")
	ErrPacketKey  = errors.New("the packet key is the identity key")
	ErrSuperseded = errors.New("newer descriptors of this server take the place of this one")
	ErrRejected   = errors.New("rejected by the operator of this directory server")
	ErrBanned     = errors.New("banned by the operator of this directory server")
	ErrTooMany    = errors.New("there are many descriptors of this server that were published later")
	ErrCrowded    = errors.New("too many new servers wait for approval; try again tomorrow")
	ErrTooShort   = errors.New("there is no descriptor in the message")
)

// A Refusal says why a descriptor is not accepted; the error is for its server to read. Every other error of Add is trouble of the
// authority itself.
type Refusal struct{ Err error }

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Err }

// What lifetimes make sense. Servers announce keys two weeks ahead, and keys live for weeks; a key that stays longer needs a replay
// log that never ends.
const (
	maxLifetime = 366 * 24 * time.Hour
	maxAhead    = 120 * 24 * time.Hour
)

// checkAlone is what can be said of a descriptor without knowing any other.
func checkAlone(d *directory.Descriptor, now time.Time) error {
	if err := d.CheckPublished(now); err != nil {
		return err
	}
	switch {
	case d.Expired(now):
		return fmt.Errorf("%w on %s", ErrExpired, d.ValidUntil.Format(dayLayout))
	case d.ValidUntil.Sub(d.ValidAfter) > maxLifetime:
		return fmt.Errorf("%w: more than %d days", ErrLifetime, maxLifetime/(24*time.Hour))
	case d.ValidAfter.Sub(now) > maxAhead:
		return fmt.Errorf("%w: it begins more than %d days ahead", ErrLifetime, maxAhead/(24*time.Hour))
	case d.PacketKey.Equal(d.Identity):
		return ErrPacketKey
	}
	for _, n := range d.Notes {
		if n.Corrupt {
			return fmt.Errorf("%w: %s", ErrCorrupt, n)
		}
	}
	return nil
}

// checkConflict looks for servers that make the nickname of d, or its identity key, mean two things (dir-spec 3.1). A nickname belongs to
// the approved server that has or had it, else to the pending one that came first. An approved server is not held up by pending ones: those
// are returned, to be removed.
func (b *Inbox) checkConflict(d *directory.Descriptor) (squatters []crypt.KeyID, err error) {
	id := d.KeyID()
	own := b.record(id)
	if own.Decision == Approved && own.Nickname != "" && !d.HasNickname(own.Nickname) {
		return nil, conflict("the server with the key %s is called %s", id, own.Nickname)
	}
	for _, f := range b.servers[id] {
		if !f.HasNickname(d.Nickname) {
			return nil, conflict("the server with the key %s is called %s", id, f.Nickname)
		}
	}
	for _, r := range b.decisions {
		if r.Decision == Approved && r.ID != id && d.HasNickname(r.Nickname) {
			return nil, conflict("the key %s uses the name %s", r.ID, r.Nickname)
		}
	}
	for other, files := range b.servers {
		if other == id || !files[0].HasNickname(d.Nickname) || b.record(other).Decision != Pending {
			continue
		}
		if own.Decision != Approved {
			return nil, conflict("the key %s uses the name %s", other, files[0].Nickname)
		}
		squatters = append(squatters, other)
	}
	return squatters, nil
}

func conflict(format string, id crypt.KeyID, nickname string) error {
	return fmt.Errorf("%w: "+format, directory.ErrConflict, id.Fingerprint(), nickname)
}

// listable reports whether a vote may hold d for a directory that is published at now (dir-spec 7.3), whatever its operator thinks.
func listable(d *directory.Descriptor, others []*directory.Descriptor, now time.Time) bool {
	return !d.Expired(now) && !directory.Superseded(d, others, now) && d.ValidAfter.Sub(now) <= maxListedAhead
}

// maxListedAhead is how far in the future the lifetime of a listed descriptor may begin (dir-spec 7.3).
const maxListedAhead = 30 * 24 * time.Hour
