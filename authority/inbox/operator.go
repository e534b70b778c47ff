package inbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

// Errors of what an operator asks for.
var (
	ErrUnknown   = errors.New("no such server")
	ErrAmbiguous = errors.New("several servers have this nickname; give the fingerprint")
	ErrUndecided = errors.New("the server is not approved")
	ErrName      = errors.New("neither a nickname nor a fingerprint of 40 hexadecimal digits")
)

// A Server is all that is known of one server. Its descriptors are sorted by Published, the latest first.
type Server struct {
	Record
	Descriptors []*directory.Descriptor
}

// Servers returns all servers, sorted by nickname and then by key.
func (b *Inbox) Servers() ([]Server, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.sync(); err != nil {
		return nil, err
	}
	ids := map[crypt.KeyID]bool{}
	for id := range b.decisions {
		ids[id] = true
	}
	for id := range b.servers {
		ids[id] = true
	}
	list := make([]Server, 0, len(ids))
	for id := range ids {
		list = append(list, b.server(id))
	}
	slices.SortFunc(list, func(a, b Server) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Nickname), strings.ToLower(b.Nickname)), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return list, nil
}

func (b *Inbox) server(id crypt.KeyID) Server {
	s := Server{Record: b.record(id), Descriptors: descriptors(b.servers[id])}
	slices.SortFunc(s.Descriptors, func(a, b *directory.Descriptor) int { return b.Published.Compare(a.Published) })
	if s.Nickname == "" && len(s.Descriptors) > 0 {
		s.Nickname = s.Descriptors[0].Nickname
	}
	return s
}

// Find returns the server that a nickname or fingerprint means. The error is ErrUnknown, ErrAmbiguous or ErrName.
func (b *Inbox) Find(name string) (Server, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.sync(); err != nil {
		return Server{}, err
	}
	id, err := b.resolve(name)
	if err == nil && !b.known(id) {
		err = fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	if err != nil {
		return Server{}, err
	}
	return b.server(id), nil
}

func (b *Inbox) known(id crypt.KeyID) bool {
	_, decided := b.decisions[id]
	return decided || len(b.servers[id]) > 0
}

// resolve returns the key that a nickname or fingerprint means. A fingerprint need not be known.
func (b *Inbox) resolve(name string) (crypt.KeyID, error) {
	if id, ok := parseFingerprint(name); ok {
		return id, nil
	}
	if !directory.ValidNickname(name) {
		return crypt.KeyID{}, fmt.Errorf("%q is %w", name, ErrName)
	}
	found := map[crypt.KeyID]bool{}
	for id, r := range b.decisions {
		if strings.EqualFold(r.Nickname, name) {
			found[id] = true
		}
	}
	for id, files := range b.servers {
		if files[0].HasNickname(name) {
			found[id] = true
		}
	}
	switch len(found) {
	case 0:
		return crypt.KeyID{}, fmt.Errorf("%w: %s", ErrUnknown, name)
	case 1:
		for id := range found {
			return id, nil
		}
	}
	var keys []string
	for _, id := range slices.SortedFunc(maps.Keys(found), func(a, b crypt.KeyID) int { return bytes.Compare(a[:], b[:]) }) {
		keys = append(keys, id.Fingerprint())
	}
	return crypt.KeyID{}, fmt.Errorf("%w: %s is %s", ErrAmbiguous, name, strings.Join(keys, " or "))
}

// Decide writes down what the operator thinks of a server, which is named by its nickname or, known or not, its fingerprint. It
// returns the server as it is afterwards. Pending makes the inbox forget the server. A banned server loses its descriptors.
//
// The error matches ErrUnknown, ErrAmbiguous, ErrName, ErrReason or directory.ErrConflict.
func (b *Inbox) Decide(ctx context.Context, name string, decision Decision, reason string) (s Server, err error) {
	if err := CheckReason(reason); err != nil {
		return Server{}, err
	}
	err = b.change(ctx, func(now time.Time) error {
		id, err := b.resolve(name)
		if err != nil {
			return err
		}
		if decision == Pending && !b.known(id) {
			return fmt.Errorf("%w: %s", ErrUnknown, name)
		}
		s = b.server(id)
		before := s.Record
		s.Record = Record{ID: id, Nickname: s.Nickname, Decision: decision, Recommend: Automatic, Day: day(now), Reason: reason}
		if before.Decision == Approved && decision == Approved {
			s.Recommend = before.Recommend
		}
		squatters, err := b.rivals(s.Record)
		if err != nil {
			return err
		}
		if decision == Pending {
			// In this order nobody finds a server half forgotten that waits again.
			if err := b.removeServers(id); err != nil {
				return err
			}
		}
		if err := b.decide(s.Record); err != nil {
			return err
		}
		if decision == Banned {
			// If the machine stops here, sweep removes what is left.
			squatters = append(squatters, id)
		}
		if err := b.removeServers(squatters...); err != nil {
			return err
		}
		nickname := s.Nickname
		if s = b.server(id); s.Nickname == "" {
			s.Nickname = nickname
		}
		return nil
	})
	return s, err
}

// removeServers deletes all descriptors of some servers.
func (b *Inbox) removeServers(ids ...crypt.KeyID) error {
	for _, id := range ids {
		if err := b.remove(slices.Clone(b.servers[id])); err != nil {
			return err
		}
	}
	return nil
}

// rivals finds the pending servers that must give up the nickname of one that becomes approved. An approved server gives up nothing.
func (b *Inbox) rivals(r Record) (pending []crypt.KeyID, err error) {
	if r.Decision != Approved || r.Nickname == "" {
		return nil, nil
	}
	for id, other := range b.decisions {
		if id != r.ID && other.Decision == Approved && strings.EqualFold(other.Nickname, r.Nickname) {
			return nil, conflict("the approved key %s uses the name %s", id, other.Nickname)
		}
	}
	for id, files := range b.servers {
		if id != r.ID && files[0].HasNickname(r.Nickname) && b.record(id).Decision == Pending {
			pending = append(pending, id)
		}
	}
	return pending, nil
}

// Recommend says when an approved server is recommended. The error matches ErrUnknown, ErrAmbiguous, ErrName or ErrUndecided.
func (b *Inbox) Recommend(ctx context.Context, name string, when Recommendation) (s Server, err error) {
	err = b.change(ctx, func(time.Time) error {
		id, err := b.resolve(name)
		if err != nil {
			return err
		}
		r := b.record(id)
		if r.Decision != Approved {
			return fmt.Errorf("%w: %s is %s", ErrUndecided, name, r.Decision)
		}
		r.Recommend = when
		if err := b.decide(r); err != nil {
			return err
		}
		s = b.server(id)
		return nil
	})
	return s, err
}

// Damaged returns the names of files of the inbox that hold no descriptor.
func (b *Inbox) Damaged() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.damaged))
}
