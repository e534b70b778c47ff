// Package optout keeps the list of those who want no anonymous mail from an exit, and handles the mails by which they say so.
//
// Of an address the list holds an HMAC-SHA256 under a key of this exit, of its form by mail.Canonical. So the list alone tells nobody who
// is on it; whoever has the key too can try addresses one by one.
//
// To opt out, somebody writes to the operator's address and gets a challenge, which only the owner of the mailbox can answer
// ([Desk.Receive]). The token in it is a function of the address and the day under the same key, so that requests cost no state. What
// keeps the answers from being a nuisance themselves: they never go to programs or to addresses on the list, to each address only
// a few times a day, and to all together only so often; their text holds nothing that the request said.
package optout

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"mixminion/delivery/mail"
	"mixminion/internal/store/durable"
	"mixminion/internal/store/lockfile"
)

// Names in the directory of a list.
const (
	listFile  = "list"
	keyFile   = "key"
	todayFile = "today"
	lockFile  = "lock"
)

const (
	listHead = "mixminion opt-out list 1 "
	keyLen   = 32
	markLen  = 16
	// maxList bounds the list file: about a million addresses.
	maxList = 64 << 20
	day     = 24 * time.Hour
)

// ErrDamaged says that a file of the list does not hold what it should.
var ErrDamaged = errors.New("the opt-out list is damaged")

// entry stands for an address.
type entry [sha256.Size]byte

// List is the list in a directory. Other processes may change it at any time; what they did counts at once.
type List struct {
	dir string
	now func() time.Time
	log *slog.Logger

	mu      sync.Mutex
	mark    string // of the file as it was read: each version has another one
	key     []byte // nil: none was made yet
	entries map[entry]bool
	broken  bool // the last look failed, which was logged
}

// Open reads the list in dir. Nothing is made: a list that is not there is empty until somebody is added. The error wraps ErrDamaged or is
// one of the operating system. log may be nil.
func Open(dir string, now func() time.Time, log *slog.Logger) (*List, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &List{dir: dir, now: now, log: log}
	if err := l.refresh(); err != nil {
		return nil, err
	}
	return l, nil
}

// Has reports whether a mailbox is on the list, as it is on the disk now. If the list cannot be read any more, the last one that could be
// stays in force, and the log says so.
func (l *List) Has(addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(); err != nil {
		if !l.broken {
			l.log.Error("the opt-out list cannot be read; going on with what was read last", "error", err)
		}
		l.broken = true
	} else {
		l.broken = false
	}
	return l.has(addr)
}

func (l *List) has(addr string) bool { return len(l.key) > 0 && l.entries[l.entry(addr)] }

// Len is how many mailboxes are on the list.
func (l *List) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// Add puts a mailbox on the list, durably, and reports whether it was not there yet.
func (l *List) Add(ctx context.Context, addr string) (added bool, err error) {
	err = l.change(ctx, func() bool {
		e := l.entry(addr)
		added = !l.entries[e]
		l.entries[e] = true
		return added
	})
	return added && err == nil, err
}

// Remove takes a mailbox off the list, durably, and reports whether it was there.
func (l *List) Remove(ctx context.Context, addr string) (removed bool, err error) {
	err = l.change(ctx, func() bool {
		e := l.entry(addr)
		removed = l.entries[e]
		delete(l.entries, e)
		return removed
	})
	return removed && err == nil, err
}

// change has a function change the entries, and writes them if it reports that it did.
func (l *List) change(ctx context.Context, how func() bool) (err error) {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(); err != nil {
		return err
	}
	if err := l.makeKey(); err != nil {
		return err
	}
	if !how() {
		return nil
	}
	defer func() {
		if err != nil {
			l.mark = "" // so that the next look reads what the disk holds
		}
	}()
	mark := rand.Text()[:markLen]
	text := append([]byte(listHead+mark), '\n')
	for e := range l.entries {
		text = append(hex.AppendEncode(text, e[:]), '\n')
	}
	// In the order of the hashes, so that the file does not tell the order of coming.
	body := bytes.SplitAfter(text[len(listHead)+markLen+1:], []byte("\n"))
	slices.SortFunc(body, bytes.Compare)
	text = append(text[:len(listHead)+markLen+1:len(listHead)+markLen+1], bytes.Join(body, nil)...)
	if len(text) > maxList {
		return errors.New("the opt-out list is full")
	}
	if err := l.write(listFile, text); err != nil {
		return fmt.Errorf("write the opt-out list: %w", err)
	}
	l.mark = mark
	return nil
}

// write replaces a file. The directory is locked.
func (l *List) write(name string, data []byte) error {
	name = filepath.Join(l.dir, name)
	if err := durable.WriteFile(name, data, 0o600); err != nil {
		return errors.Join(err, l.blurTimes())
	}
	return l.blurTimes(name)
}

// blurTimes gives files that have changed, and what changes with them, the time of the last midnight: when exactly it was is nobody's
// business. The directory is locked.
func (l *List) blurTimes(files ...string) error {
	today := l.now().UTC().Truncate(day)
	var errs []error
	for _, name := range append(files, filepath.Join(l.dir, lockFile), l.dir) {
		errs = append(errs, os.Chtimes(name, today, today))
	}
	return errors.Join(errs...)
}

// lock makes the caller the only one who changes the directory, which is made if it is missing.
func (l *List) lock(ctx context.Context) (unlock func() error, err error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the opt-out list: %w", err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := lockfile.Try(filepath.Join(l.dir, lockFile))
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, lockfile.ErrHeld) {
			return nil, fmt.Errorf("lock the opt-out list: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("lock the opt-out list: %w", ctx.Err())
		}
	}
}

// makeKey makes the key if there is none. The directory is locked.
func (l *List) makeKey() error {
	if l.key != nil {
		return nil
	}
	key := make([]byte, keyLen)
	rand.Read(key)
	if err := l.write(keyFile, key); err != nil {
		return fmt.Errorf("write the key of the opt-out list: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(l.dir)); err != nil {
		return fmt.Errorf("write the key of the opt-out list: %w", err)
	}
	l.key = key
	return nil
}

// refresh reads the list if it has changed.
func (l *List) refresh() error {
	f, err := os.Open(filepath.Join(l.dir, listFile))
	if errors.Is(err, fs.ErrNotExist) {
		l.mark, l.entries = "", map[entry]bool{}
		if l.key != nil {
			return nil
		}
		l.key, err = l.readKey()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("read the opt-out list: %w", err)
	}
	err = l.read(f)
	return errors.Join(err, f.Close())
}

func (l *List) read(f *os.File) error {
	head := make([]byte, len(listHead)+markLen+1)
	_, err := io.ReadFull(f, head)
	mark, ok := bytes.CutPrefix(head, []byte(listHead))
	if err != nil || !ok || mark[markLen] != '\n' {
		return fmt.Errorf("%w: %s does not begin as it should", ErrDamaged, f.Name())
	}
	if string(mark[:markLen]) == l.mark {
		return nil
	}
	key, err := l.readKey()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: its key %s is missing; bring it back, or remove the list too", ErrDamaged, filepath.Join(l.dir, keyFile))
	}
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err != nil {
		return fmt.Errorf("read the opt-out list: %w", err)
	}
	entries, err := parse(text)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, f.Name(), err)
	}
	l.key, l.mark, l.entries = key, string(mark[:markLen]), entries
	return nil
}

// parse reads the lines after the first.
func parse(text []byte) (map[entry]bool, error) {
	const line = 2*sha256.Size + 1
	if len(text) > maxList || len(text)%line != 0 {
		return nil, errors.New("it is cut off or too long")
	}
	entries := make(map[entry]bool, len(text)/line)
	for n := 2; len(text) > 0; n++ {
		var e entry
		if _, err := hex.Decode(e[:], text[:line-1]); err != nil || text[line-1] != '\n' {
			return nil, fmt.Errorf("line %d is damaged", n)
		}
		entries[e] = true
		text = text[line:]
	}
	return entries, nil
}

func (l *List) readKey() ([]byte, error) {
	name := filepath.Join(l.dir, keyFile)
	key, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the key of the opt-out list: %w", err)
	}
	if len(key) != keyLen {
		return nil, fmt.Errorf("%w: %s has %d bytes instead of %d", ErrDamaged, name, len(key), keyLen)
	}
	return key, nil
}

// entry is what the list holds of a mailbox.
func (l *List) entry(addr string) entry { return entry(hash(l.key, "entry", mail.Canonical(addr))) }

// hash is an HMAC-SHA256. What it is for keeps the uses of a key apart.
func hash(key []byte, use, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("mixminion opt-out " + use + "\x00" + text))
	return h.Sum(nil)
}
