package backup

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
)

// Errors of reading archives.
var (
	// ErrFormat means that a file is no archive of a mix, or one that does what none may.
	ErrFormat = errors.New("this is no backup of a mix that this program can read")
	// ErrIncomplete means that the end of an archive is missing, or its bytes are damaged.
	ErrIncomplete = errors.New("the backup is damaged or not complete")
	// ErrWrongKey means that an archive is encrypted to something else.
	ErrWrongKey = errors.New("the passphrase or the identity does not open the backup")
)

// A Kind of archive.
type Kind string

// The kinds.
const (
	Identity Kind = "identity"
	Move     Kind = "move"
)

// A Manifest says what an archive is.
type Manifest struct {
	Version     int
	Kind        Kind
	ID          string // 32 hexadecimal digits, random
	Made        string // the day
	Software    string
	Nickname    string
	Fingerprint string `json:",omitempty"` // of the mix's identity, if it is a mix
	Files       []File `json:",omitempty"` // that the configuration names, files/0 and so on
}

// A File is a file or directory that the configuration names.
type File struct {
	Key  string // where it does, for people
	Path string // relative to the base directory, or absolute if it lies elsewhere
}

// Limits of what Read takes.
const (
	version      = 1
	maxManifest  = 1 << 20
	maxConfig    = 1 << 20
	maxSmall     = 16 << 20 // files of Identity archives, each
	maxAllSmall  = 64 << 20
	maxLarge     = 16 << 30 // files of the store and of replay logs, each
	maxEntries   = 100_000
	maxNames     = 1000
	manifestName = "manifest.json"
	configName   = "config"
	endName      = "end"
	scryptWork   = 17 // log2 of the cost of a passphrase: about half a second, and 128 MB
	scryptMost   = 20
)

// An Item is an entry to be written: the content of a file, or Data.
type Item struct {
	Name string
	File string
	Data []byte
}

// entryName is what entries may be called.
var entryName = regexp.MustCompile(`^(config|end|manifest\.json|stats|(mix|authority)/identity\.key|authority/decisions|` +
	`vault/` + element + `|(optout|queue)/` + element + `|files/\d{1,3}(/` + element + `){0,3}|keys/key_\d{1,9}/(replay/)?` + element + `|` +
	`blocks/blocks-\d{1,9}/` + element + `)$`)

// element begins with no dot, so that no name leads out of a directory or hides.
const element = `[A-Za-z0-9_+@=,-][A-Za-z0-9._+@=,-]{0,126}`

// small reports whether an entry belongs into archives of both kinds.
func small(name string) bool {
	return !strings.HasPrefix(name, "queue/") && !strings.HasPrefix(name, "keys/") && !strings.HasPrefix(name, "blocks/") && !strings.HasPrefix(name, "vault/") && name != "stats"
}

// Passphrase encrypts to a passphrase.
func Passphrase(text []byte) (age.Recipient, error) {
	r, err := age.NewScryptRecipient(string(text))
	if err != nil {
		return nil, err
	}
	r.SetWorkFactor(scryptWork)
	return r, nil
}

// PassphraseIdentity opens what was encrypted to a passphrase.
func PassphraseIdentity(text []byte) (age.Identity, error) {
	i, err := age.NewScryptIdentity(string(text))
	if err != nil {
		return nil, err
	}
	i.SetMaxWorkFactor(scryptMost)
	return i, nil
}

// NeedsPassphrase reports whether an archive that begins with these bytes was encrypted to a passphrase.
func NeedsPassphrase(head []byte) bool {
	_, rest, ok := bytes.Cut(head, []byte("\n"))
	return ok && bytes.HasPrefix(rest, []byte("-> scrypt "))
}

// Write writes an archive. The items must not be the manifest or the end; the configuration is the first of them.
func Write(w io.Writer, m Manifest, items []Item, to ...age.Recipient) error {
	sealed, err := age.Encrypt(w, to...)
	if err != nil {
		return err
	}
	if err := write(sealed, m, items); err != nil {
		return err
	}
	return sealed.Close()
}

// write writes what is in the age file.
func write(plain io.Writer, m Manifest, items []Item) error {
	m.Version = version
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	t := tar.NewWriter(plain)
	var sum limits
	for _, item := range slices.Concat([]Item{{Name: manifestName, Data: text}}, items, []Item{{Name: endName}}) {
		if err := writeItem(t, item, &sum); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeItem(t *tar.Writer, item Item, sum *limits) (err error) {
	if !entryName.MatchString(item.Name) {
		return fmt.Errorf("the name of %s does not fit into a backup", item.File)
	}
	var content io.Reader = bytes.NewReader(item.Data)
	size := int64(len(item.Data))
	if item.File != "" {
		f, err := os.Open(item.File)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file", item.File)
		}
		content, size = f, info.Size()
	}
	if why := sum.add(item.Name, size); why != "" {
		return fmt.Errorf("%s %s for a backup", item.File, why)
	}
	// Who wrote it and when is nobody's business.
	h := &tar.Header{Typeflag: tar.TypeReg, Name: item.Name, Mode: 0o600, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(t, content, size)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s changed while it was read", item.File)
	}
	return err
}

func maxSize(name string) int64 {
	switch {
	case name == manifestName:
		return maxManifest
	case name == configName:
		return maxConfig
	case small(name):
		return maxSmall
	}
	return maxLarge
}

// limits are what has been used of the limits of an archive. Reading and writing go by the same ones, so that what was written can be read.
type limits struct {
	entries int
	small   int64 // bytes of small entries
}

// add takes note of an entry, and says what is wrong with it; "" if nothing is.
func (l *limits) add(name string, size int64) (why string) {
	if l.entries++; l.entries > maxEntries {
		return "is one too many"
	}
	if size < 0 || size > maxSize(name) {
		return "is too large"
	}
	if small(name) {
		if l.small += size; l.small > maxAllSmall {
			return "is too large, with all the others,"
		}
	}
	return ""
}

// A Reader reads an archive.
type Reader struct {
	Manifest Manifest
	Config   []byte

	sealed io.Reader
	tar    *tar.Reader
	seen   map[string]bool
	sum    limits
}

// NewReader opens an archive and reads its beginning. Errors match ErrFormat, ErrIncomplete or ErrWrongKey, or come from r.
func NewReader(r io.Reader, with ...age.Identity) (*Reader, error) {
	sealed, err := age.Decrypt(r, with...)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return nil, ErrWrongKey
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return newReader(sealed)
}

// newReader reads the beginning of what is in the age file.
func newReader(plain io.Reader) (*Reader, error) {
	a := &Reader{sealed: plain, tar: tar.NewReader(plain), seen: map[string]bool{}}
	text, err := a.whole(manifestName)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &a.Manifest); err != nil {
		return nil, fmt.Errorf("%w: its manifest is damaged", ErrFormat)
	}
	if m := &a.Manifest; m.Version != version || m.Kind != Identity && m.Kind != Move || len(m.Files) > maxNames || !manifestID.MatchString(m.ID) {
		return nil, fmt.Errorf("%w: it is of a version or kind that is not known", ErrFormat)
	}
	a.Config, err = a.whole(configName)
	return a, err
}

var manifestID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// whole reads an entry that must come next.
func (a *Reader) whole(name string) ([]byte, error) {
	got, r, err := a.next()
	if err != nil {
		return nil, err
	}
	if got != name {
		return nil, fmt.Errorf("%w: %s is not where it should be", ErrFormat, name)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	return text, nil
}

// Next returns the next entry. io.EOF: the archive is over, and whole.
func (a *Reader) Next() (name string, r io.Reader, err error) {
	if name, r, err = a.next(); err != nil {
		return "", nil, err
	}
	if name != endName {
		return name, r, nil
	}
	// Nothing that was read is worth anything before the end has been: age vouches for it chunk by chunk only.
	n, err := io.Copy(io.Discard, io.LimitReader(a.sealed, maxManifest))
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	case n == maxManifest:
		return "", nil, fmt.Errorf("%w: there is something after its end", ErrFormat)
	}
	return "", nil, io.EOF
}

func (a *Reader) next() (name string, r io.Reader, err error) {
	h, err := a.tar.Next()
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "", nil, ErrIncomplete
	case err != nil:
		return "", nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	bad := func(why string) (string, io.Reader, error) {
		return "", nil, fmt.Errorf("%w: an entry %s", ErrFormat, why)
	}
	switch {
	case h.Typeflag != tar.TypeReg:
		return bad("is no file")
	case !entryName.MatchString(h.Name):
		return bad("has a name that none has")
	case a.seen[h.Name]:
		return bad("is there twice")
	case sparse(h):
		return bad("has holes") // a few bytes could become gigabytes
	case a.Manifest.Kind == Identity && !small(h.Name):
		return bad("belongs into no backup of this kind")
	}
	if why := a.sum.add(h.Name, h.Size); why != "" {
		return bad(why)
	}
	a.seen[h.Name] = true
	return h.Name, a.tar, nil
}

func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}
