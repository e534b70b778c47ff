package inbox

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
)

// tempFile is what a file is written as before it gets its name. Only the holder of the lock writes, so one name is enough.
const tempFile = ".new"

// writeFile replaces a file by data: after a crash it holds the old content or the new one, after nil the new one.
func writeFile(fs store.FS, name string, data []byte) error {
	dir := filepath.Dir(name)
	temp := filepath.Join(dir, tempFile)
	f, err := fs.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(temp, name)
	}
	if err == nil {
		err = fs.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// readFile reads a file of at most limit bytes.
func readFile(fs store.FS, name string, limit int64) ([]byte, error) {
	f, err := fs.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil && size > limit {
		err = fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	var data []byte
	if err == nil && size > 0 {
		data = make([]byte, size)
		_, err = f.ReadAt(data, 0)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return data, nil
}

// A descriptorFile is a descriptor and its file.
type descriptorFile struct {
	*directory.Descriptor
	name string
	id   crypt.KeyID
}

func (f *descriptorFile) size() int64 { return int64(len(f.Text())) }

// fileName names the file of a descriptor by what never changes.
func fileName(d *directory.Descriptor) string {
	digest := d.Digest()
	return d.Fingerprint() + "-" + hex.EncodeToString(digest[:])
}

// syncDescriptors reads the descriptors that are new and forgets those that are gone.
func (b *Inbox) syncDescriptors() error {
	names, err := b.fs.ReadDir(b.path(descriptorsDir))
	if err != nil {
		return err
	}
	slices.Sort(names)
	there := make(map[string]bool, len(names))
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		there[name] = true
		if b.files[name] != nil || b.damaged[name] {
			continue
		}
		text, err := readFile(b.fs, b.path(descriptorsDir, name), directory.MaxDescriptorLen)
		if errors.Is(err, os.ErrNotExist) { // another process was faster
			delete(there, name)
			continue
		}
		var d *directory.Descriptor
		if err == nil {
			d, err = directory.ParseDescriptor(text)
		}
		if err == nil && fileName(d) != name {
			err = errors.New("it holds the descriptor of another name")
		}
		if err != nil {
			// The server will bring it again, and it is replaced.
			b.damaged[name] = true
			b.log.Error("a file of the inbox is damaged and is not used", "file", name, "error", err)
			continue
		}
		b.keep(d)
	}
	for name, f := range b.files {
		if !there[name] {
			b.forget(f)
		}
	}
	for name := range b.damaged {
		if !there[name] {
			delete(b.damaged, name)
		}
	}
	return nil
}

// keep remembers a descriptor that is on the disk.
func (b *Inbox) keep(d *directory.Descriptor) {
	f := &descriptorFile{Descriptor: d, name: fileName(d), id: d.KeyID()}
	b.files[f.name] = f
	b.servers[f.id] = append(b.servers[f.id], f)
	delete(b.damaged, f.name)
}

// forget is the reverse of keep.
func (b *Inbox) forget(f *descriptorFile) {
	delete(b.files, f.name)
	rest := slices.DeleteFunc(b.servers[f.id], func(o *descriptorFile) bool { return o == f })
	if len(rest) > 0 {
		b.servers[f.id] = rest
		return
	}
	delete(b.servers, f.id)
	delete(b.sources, f.id)
}

// remove deletes descriptors.
func (b *Inbox) remove(files []*descriptorFile) error {
	for _, f := range files {
		if err := b.fs.Remove(b.path(descriptorsDir, f.name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove descriptor: %w", err)
		}
		b.forget(f)
	}
	if len(files) == 0 {
		return nil
	}
	return b.fs.SyncDir(b.path(descriptorsDir))
}

func descriptors(files []*descriptorFile) []*directory.Descriptor {
	out := make([]*directory.Descriptor, 0, len(files))
	for _, f := range files {
		out = append(out, f.Descriptor)
	}
	return out
}
