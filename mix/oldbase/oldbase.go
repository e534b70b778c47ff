package oldbase

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/mix"
)

// Errors of Read.
var (
	// ErrNoBase means that a directory is no base directory of 0.0.8.
	ErrNoBase = errors.New("this is no base directory of Mixminion 0.0.8")
	// ErrRunning means that the old server seems to run.
	ErrRunning = errors.New("the server of Mixminion 0.0.8 seems to run")
)

// Limits of what Read takes.
const (
	maxKey = 64 << 10
	maxLog = 1 << 30
	maxPID = 64
)

// A Layout says where things are in a base directory.
type Layout struct{ Base, KeyDir, WorkDir, QueueDir, PidFile string }

// Is reports whether a directory is the base directory of a server of 0.0.8, or was one.
func Is(base string) bool {
	for _, only := range []string{"version", filepath.Join("work", "hashlogs")} { // nothing of ours has these names
		if _, err := os.Lstat(filepath.Join(base, only)); err == nil {
			return true
		}
	}
	return false
}

// UsualLayout is the one of a configuration that says nothing of it.
func UsualLayout(base string) Layout {
	return Layout{
		Base: base, KeyDir: filepath.Join(base, "keys"), WorkDir: filepath.Join(base, "work"),
		QueueDir: filepath.Join(base, "work", "queues"), PidFile: filepath.Join(base, "pid"),
	}
}

// A Base is what was found.
type Base struct {
	Identity *rsa.PrivateKey
	Keys     []Key // by name
	Packets  int   // that wait in queues
}

// A Key is a packet key. With an Err it must not be used.
type Key struct {
	Name       string
	Private    *rsa.PrivateKey
	Descriptor *directory.Descriptor
	Seen       [][hashLen]byte
	Err        error
}

// Read reads a base directory whose server does not run. It changes nothing.
func Read(l Layout) (*Base, error) {
	if err := l.running(); err != nil {
		return nil, err
	}
	b := new(Base)
	text, err := readLimited(filepath.Join(l.KeyDir, "identity.key"), maxKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it has no %s", l.Base, ErrNoBase, filepath.Join(l.KeyDir, "identity.key"))
	}
	if err != nil {
		return nil, err
	}
	if b.Identity, err = mix.ParseKey(text); err != nil {
		return nil, fmt.Errorf("the identity key: %w", err)
	}
	sets, err := filepath.Glob(filepath.Join(l.KeyDir, "key_*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(sets)
	for _, dir := range sets {
		b.Keys = append(b.Keys, l.readKey(dir, b.Identity))
	}
	b.Packets, err = l.packets()
	return b, err
}

// running returns an error if the process of the old server is there.
func (l *Layout) running() error {
	text, err := readLimited(l.PidFile, maxPID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return nil // left over, and of no use
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil
	}
	if err := p.Signal(syscall.Signal(0)); err == nil || errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("%w, as process %d: stop it. If that is something else, remove %s", ErrRunning, pid, l.PidFile)
	}
	return nil
}

func (l *Layout) readKey(dir string, identity *rsa.PrivateKey) (k Key) {
	k.Name = filepath.Base(dir)
	k.Err = func() error {
		text, err := readLimited(filepath.Join(dir, "mix.key"), maxKey)
		if err != nil {
			return err
		}
		if k.Private, err = mix.ParseKey(text); err != nil {
			return err
		}
		if text, err = readLimited(filepath.Join(dir, "ServerDesc"), directory.MaxDescriptorLen); err != nil {
			return err
		}
		if k.Descriptor, err = directory.ParseDescriptor(text); err != nil {
			return fmt.Errorf("its descriptor: %w", err)
		}
		if !k.Descriptor.PacketKey.Equal(&k.Private.PublicKey) || !k.Descriptor.Identity.Equal(&identity.PublicKey) {
			return errors.New("its descriptor belongs to other keys")
		}
		k.Seen, err = l.readLog(strings.TrimPrefix(k.Name, "key_"), crypt.NewKeyID(&k.Private.PublicKey))
		return err
	}()
	return k
}

func (l *Layout) readLog(number string, owner crypt.KeyID) ([][hashLen]byte, error) {
	name := filepath.Join(l.WorkDir, "hashlogs", "hash_"+number)
	files, err := filepath.Glob(name + "*")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrReplayLog)
	}
	known := []string{name + ".dir", name + ".dat", name + ".bak", name + "_jrnl"}
	for _, f := range files {
		if !slices.Contains(known, f) {
			return nil, fmt.Errorf("%w: %s is of a database format that only Python can read", ErrReplayLog, f)
		}
	}
	var parts [3][]byte
	for i, suffix := range []string{".dir", ".dat", "_jrnl"} {
		if parts[i], err = readLimited(name+suffix, maxLog); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrReplayLog, err)
		}
	}
	return ParseReplayLog(parts[0], parts[1], parts[2], owner)
}

// packets counts the files of queues in which packets or messages wait.
func (l *Layout) packets() (n int, err error) {
	err = filepath.WalkDir(l.QueueDir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !e.IsDir() && strings.HasPrefix(e.Name(), "msg_") {
			n++
		}
		return err
	})
	return n, err
}

func readLimited(name string, limit int64) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is too long", name)
	}
	return data, err
}
