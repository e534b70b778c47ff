package client

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mixminion/internal/store/durable"
	"mixminion/message"
)

// Errors of a FragmentPool.
var (
	// ErrFinished says that a fragment's message was removed or given up before. It was not kept.
	ErrFinished = errors.New("the fragment's message was put together or given up before")
	// ErrNoFragments says that there are no fragments of a message.
	ErrNoFragments = errors.New("no fragments of such a message are here")
	// ErrAmbiguous says that an abbreviated ID stands for several messages.
	ErrAmbiguous = errors.New("several messages begin with that ID; write more of it")
	// ErrFragmentFile says that a file of the pool is damaged. What can be used of it is used.
	ErrFragmentFile = errors.New("damaged file of fragments")
)

const (
	fragmentsDir = "fragments"
	// maxCompressed bounds the messages whose fragments are kept, in bytes after compression.
	maxCompressed = 64 << 20
	// shortIDLen is how many hexadecimal digits of an ID are shown, and minIDLen how many are taken for one.
	shortIDLen = 12
	minIDLen   = 4
)

// Partial tells how far the fragments of a message are.
type Partial struct {
	ID  message.ID
	For message.Opener // who the message is for
	// Size is the length of the message after compression, in bytes.
	Size uint32
	// Have and Need count fragments. Surplus ones are not kept, so that Have never exceeds Need.
	Have, Need int
}

// Ready reports whether there are enough fragments.
func (p Partial) Ready() bool { return p.Need > 0 && p.Have == p.Need }

// ShortID is the beginning of the ID in hexadecimal, as people use it.
func (p Partial) ShortID() string { return hex.EncodeToString(p.ID[:])[:shortIDLen] }

// A FragmentPool keeps the fragments of long messages until there are enough to put a message together. Each message has a file
// in the directory fragments of the home directory:
//
//	fragments/<ID>      the fragments that are needed of one message, with checksums; named by the ID that the sender drew at random
//	fragments/finished  the IDs of messages that were removed or given up, so that late fragments of them are dropped
//
// Neither their contents nor their dates tell a time finer than a day. A crash at any instant leaves all that was kept before. What
// other programs keep in the directory is left alone.
//
// A FragmentPool is not for concurrent use. Who calls Add or Remove holds the lock of the home directory from before the pool is opened
// until it is closed.
type FragmentPool struct {
	client   *Client
	dir      string
	now      func() time.Time
	open     map[message.ID]*pooled // as far as they were looked at
	finished finished
	unsynced map[message.ID]bool
	changed  bool // something in the directory
	problems []error
}

// Fragments opens the fragment pool of the home directory. The caller closes it.
func (c *Client) Fragments() (*FragmentPool, error) {
	p := &FragmentPool{
		client: c, dir: c.path(fragmentsDir), now: c.clock.Now,
		open: map[message.ID]*pooled{}, unsynced: map[message.ID]bool{},
	}
	damaged, err := p.finished.read(p.dir)
	if err != nil {
		return nil, fmt.Errorf("open fragment pool: %w", err)
	}
	if damaged != nil {
		p.problems = append(p.problems, damaged)
	}
	return p, nil
}

// Problems tells which files were found damaged so far; the errors wrap ErrFragmentFile. What they hold that is whole was used.
func (p *FragmentPool) Problems() []error { return p.problems }

func (p *FragmentPool) file(id message.ID) string {
	return filepath.Join(p.dir, hex.EncodeToString(id[:]))
}

// get looks at a message's file, nil if there is none that can be used.
func (p *FragmentPool) get(id message.ID) (*pooled, error) {
	if m, ok := p.open[id]; ok {
		return m, nil
	}
	if p.finished.has(id) { // its file is what a crash left behind
		return nil, nil
	}
	m, err := readPooled(p.file(id), id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, ErrFragmentFile):
		p.problems = append(p.problems, err)
	case err != nil:
		return nil, fmt.Errorf("read fragments: %w", err)
	}
	p.open[id] = m
	return m, nil
}

// ids lists the files of messages.
func (p *FragmentPool) ids() ([]message.ID, error) {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list fragments: %w", err)
	}
	var list []message.ID
	for _, e := range entries {
		id, err := hex.DecodeString(e.Name())
		if err == nil && len(id) == message.IDLen && e.Type().IsRegular() && e.Name() == strings.ToLower(e.Name()) {
			list = append(list, message.ID(id))
		}
	}
	return list, nil
}

// List tells about all messages in the pool, in the order of their IDs.
func (p *FragmentPool) List() ([]Partial, error) {
	ids, err := p.ids()
	if err != nil {
		return nil, err
	}
	var list []Partial
	for _, id := range ids {
		m, err := p.get(id)
		if err != nil {
			return nil, err
		}
		if m != nil {
			list = append(list, m.partial())
		}
	}
	slices.SortFunc(list, func(a, b Partial) int { return cmp.Compare(string(a.ID[:]), string(b.ID[:])) })
	return list, nil
}

// Find gives the ID of the message whose ID begins with the hexadecimal digits given, four at least. The error is ErrNoFragments or
// ErrAmbiguous. A message whose file is damaged beyond use is found as well, so that it can be removed.
func (p *FragmentPool) Find(digits string) (message.ID, error) {
	digits = strings.ToLower(strings.TrimSpace(digits))
	if len(digits) < minIDLen {
		return message.ID{}, ErrNoFragments
	}
	ids, err := p.ids()
	if err != nil {
		return message.ID{}, err
	}
	ids = slices.DeleteFunc(ids, func(id message.ID) bool {
		return p.finished.has(id) || !strings.HasPrefix(hex.EncodeToString(id[:]), digits)
	})
	switch len(ids) {
	case 0:
		return message.ID{}, ErrNoFragments
	case 1:
		return ids[0], nil
	}
	return message.ID{}, ErrAmbiguous
}

// Add takes a fragment that by could open, and tells how far its message is then. A fragment that is not needed is not
// kept. The error wraps ErrFinished for a fragment that comes too late, ErrTooLarge if its message is longer than 64 MB
// after compression, message.ErrPayload if it is none, and message.ErrInconsistent if it contradicts an earlier one,
// upon which the whole message is given up.
func (p *FragmentPool) Add(f *message.Fragment, by message.Opener) (Partial, error) {
	unknown := Partial{ID: f.ID, For: by, Size: f.Size}
	if err := p.client.checkLocked(); err != nil {
		return unknown, err
	}
	if p.finished.has(f.ID) {
		return unknown, ErrFinished
	}
	if f.Size > maxCompressed {
		return unknown, fmt.Errorf("its message is %w: more than %s after compression", ErrTooLarge, megabytes(maxCompressed))
	}
	m, err := p.get(f.ID)
	if err != nil {
		return unknown, err
	}
	if m == nil {
		if m, err = newPooled(p.file(f.ID), f, by); err != nil {
			return unknown, err
		}
		if err := os.MkdirAll(p.dir, 0o700); err != nil {
			return unknown, fmt.Errorf("keep fragment: %w", explain(err))
		}
	}
	switch keep, err := m.Add(f, by); {
	case err != nil:
		return m.partial(), errors.Join(err, p.end(rejected, f.ID))
	case !keep:
		return m.partial(), nil
	}
	p.changed, p.unsynced[f.ID] = true, true
	if err := m.write(f); err != nil {
		delete(p.open, f.ID) // what it holds now is to be seen in the file
		return unknown, fmt.Errorf("keep fragment: %w", explain(err))
	}
	p.open[f.ID] = m
	return m.partial(), nil
}

// Reassemble puts a message together, and leaves it in the pool. The error is ErrNoFragments, or wraps message.ErrIncomplete,
// message.ErrCorrupt, or message.ErrOvercompressed unless force.
func (p *FragmentPool) Reassemble(id message.ID, force bool) (Received, error) {
	m, err := p.get(id)
	if err != nil {
		return Received{}, err
	}
	if m == nil {
		return Received{}, ErrNoFragments
	}
	compressed, err := m.reassemble()
	if err != nil {
		return Received{}, err
	}
	text, err := message.Decompress(compressed, expansionLimit(message.ReassembledLimit(len(compressed)), force))
	if err != nil {
		return Received{}, err
	}
	// A message whose sender had its fragments delivered one by one may lack even the empty line that E2E-spec 3.1.2 wants. It comes out
	// whole nevertheless, unless it begins with an empty line of its own.
	r := Received{By: m.Opener()}
	r.Headers, r.Body = splitHeaders(text)
	return r, nil
}

// Remove takes messages out of the pool. Fragments of them that come later are dropped.
func (p *FragmentPool) Remove(ids ...message.ID) error { return p.end(removed, ids...) }

// end remembers messages as finished, and then deletes their files.
func (p *FragmentPool) end(how string, ids ...message.ID) error {
	if err := p.client.checkLocked(); err != nil {
		return err
	}
	if err := p.finished.add(p.dir, how, ids...); err != nil {
		return fmt.Errorf("remove fragments: %w", explain(err))
	}
	p.changed = true
	var errs []error
	for _, id := range ids {
		delete(p.open, id)
		delete(p.unsynced, id)
		if err := os.Remove(p.file(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove fragments: %w", explain(err)))
		}
	}
	return errors.Join(errs...)
}

// Close makes sure that what was kept survives a power loss. After an error it may not.
func (p *FragmentPool) Close() error {
	if !p.changed {
		return nil
	}
	var errs []error
	for id := range p.unsynced {
		errs = append(errs, syncFile(p.file(id)))
	}
	errs = append(errs, durable.SyncDir(p.dir), durable.SyncDir(filepath.Dir(p.dir)), p.coarsen())
	p.changed = false
	clear(p.unsynced)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close fragment pool: %w", explain(err))
	}
	return nil
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// coarsen sets the dates of all files, and of the directory, to midnight: when a message came in is nobody's business. It
// also does so for what an interrupted run left.
func (p *FragmentPool) coarsen() error {
	ids, err := p.ids()
	if err != nil {
		return err
	}
	names := []string{filepath.Join(p.dir, finishedFile), p.dir}
	for _, id := range ids {
		names = append(names, p.file(id))
	}
	today := p.now().UTC().Truncate(24 * time.Hour)
	var errs []error
	for _, name := range names {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		day := info.ModTime().UTC().Truncate(24 * time.Hour)
		if day.After(today) {
			day = today
		}
		errs = append(errs, os.Chtimes(name, day, day))
	}
	return errors.Join(errs...)
}
