package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

var (
	// ErrKey means that the key is not the one with which the store, or the replay log, was encrypted. Nothing was changed.
	ErrKey = errors.New("store: wrong key")
	// ErrSealed means that a store, or a replay log, is encrypted, and no key was given. Nothing was changed.
	ErrSealed = errors.New("store: encrypted, and no key was given")
)

// An encrypted file begins with a header of 64 bytes and a copy of it:
//
//	 0  8  "MXSEALD\x01"; the key page has "MXKEYPG\x01"
//	 8 32  salt, random
//	40 16  check: tells a wrong key from damage
//	56  4  zero
//	60  4  CRC-32C of bytes 0 to 60
//	64 64  the same again
//
// What follows is the file as it would be in clear, in AES-256-CTR under a key made of the salt. No place of a file is ever written
// twice with different bytes: see [Store.appendFrame] on what a full disk makes of a segment.
const (
	sealHalfLen = 64
	sealHeadLen = 2 * sealHalfLen
	sealMagic   = "MXSEALD\x01"
	pageMagic   = "MXKEYPG\x01"
)

// sealedFS encrypts the files of a store on their way to the disk, and reads files in clear as they are: those of the time before the
// store was encrypted.
type sealedFS struct {
	FS
	keys sealKeys
}

// sealKeys are made of the key of the store.
type sealKeys struct {
	file, check [sha256.Size]byte
	packets     cipher.Block // wraps the keys of packets
}

// Sealed returns an FS with which a store, and its replay logs, are encrypted on the disk under a key of 32 random
// bytes. A nil fs means OS.
func Sealed(fs FS, key [32]byte) (FS, error) {
	if fs == nil {
		fs = OS
	}
	s := &sealedFS{FS: fs}
	s.keys.file = derive(key[:], "files")
	s.keys.check = derive(key[:], "check")
	packets := derive(key[:], "packet keys")
	defer clear(packets[:])
	var err error
	if s.keys.packets, err = aes.NewCipher(packets[:]); err != nil {
		return nil, fmt.Errorf("store: key of the key page: %w", err)
	}
	return s, nil
}

// Encrypted says whether the store, or the replay log, in dir is encrypted. One that is not there is not.
func Encrypted(dir string) (is bool, err error) {
	defer func() { err = ignoreMissing(err) }()
	if _, err := os.Lstat(filepath.Join(dir, keyPageName)); !errors.Is(err, os.ErrNotExist) {
		return err == nil, err
	}
	f, err := os.Open(filepath.Join(dir, manifestName))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	head := make([]byte, sealHeadLen)
	if _, err = io.ReadFull(f, head); errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil // too short for an encrypted one
	}
	return err == nil && hasMagic(head, sealMagic), err
}

func derive(key []byte, label string) (out [sha256.Size]byte) {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("mixminion store: " + label))
	m.Sum(out[:0])
	return out
}

// newHead is the header of a file, with a new salt.
func (k *sealKeys) newHead(magic string) []byte {
	b := make([]byte, sealHalfLen, sealHeadLen)
	copy(b, magic)
	fillRandom(b[8:40])
	check := k.checkOf(b)
	copy(b[40:56], check[:])
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	return append(b, b...)
}

func (k *sealKeys) checkOf(head []byte) (check [16]byte) {
	m := hmac.New(sha256.New, k.check[:])
	m.Write(head[:40])
	copy(check[:], m.Sum(nil))
	return check
}

// hasMagic says whether a file begins as an encrypted one does, damaged or not.
func hasMagic(head []byte, magic string) bool {
	return len(head) >= sealHeadLen && (string(head[:8]) == magic || string(head[sealHalfLen:][:8]) == magic)
}

// checkHead returns the half of a header that is intact; none if neither is, or the file is not encrypted. ErrKey: it is encrypted with
// another key.
func (k *sealKeys) checkHead(head []byte, magic string) ([]byte, error) {
	for half := head; len(half) >= sealHalfLen; half = half[sealHalfLen:] {
		if string(half[:8]) != magic || checksum(half[:60]) != binary.LittleEndian.Uint32(half[60:]) {
			continue
		}
		check := k.checkOf(half)
		if !hmac.Equal(check[:], half[40:56]) {
			return nil, ErrKey
		}
		return half[:sealHalfLen], nil
	}
	return nil, nil
}

func (k *sealKeys) fileCipher(head []byte) (cipher.Block, error) {
	m := hmac.New(sha256.New, k.file[:])
	m.Write(head[:40])
	return aes.NewCipher(m.Sum(nil))
}

// OpenFile implements FS. A file that is made, or emptied, becomes an encrypted one.
func (s *sealedFS) OpenFile(name string, flag int) (File, error) {
	if base := filepath.Base(name); base == ballastName || base == keyPageName {
		return s.FS.OpenFile(name, flag)
	}
	if flag&os.O_TRUNC != 0 {
		// What a crash left under this name goes as every other file does.
		if err := ignoreMissing(s.Remove(name)); err != nil {
			return nil, err
		}
	}
	f, err := s.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	sealed, err := s.open(f, flag&os.O_TRUNC != 0)
	switch {
	case err != nil && flag&os.O_TRUNC != 0:
		return nil, errors.Join(err, f.Close(), s.Remove(name))
	case err != nil:
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return sealed, nil
}

func (s *sealedFS) open(f File, fresh bool) (File, error) {
	var head []byte
	if fresh {
		head = s.keys.newHead(sealMagic)
		if _, err := f.WriteAt(head, 0); err != nil {
			return nil, err
		}
	} else {
		size, err := f.Size()
		if err != nil {
			return nil, err
		}
		if size < sealHeadLen {
			return f, nil
		}
		head = make([]byte, sealHeadLen)
		if err := readFull(f, head, 0); err != nil {
			return nil, err
		}
		if head, err = s.keys.checkHead(head, sealMagic); err != nil {
			return nil, err
		}
		if head == nil {
			return f, nil // in clear, or damaged: then who reads it finds no sense in it
		}
	}
	block, err := s.keys.fileCipher(head)
	if err != nil {
		return nil, err
	}
	return &sealedFile{File: f, block: block}, nil
}

// sealedFile is an encrypted file; offsets and sizes are those of the content.
type sealedFile struct {
	File
	block cipher.Block
}

// isSealed says whether a file of a sealedFS is encrypted.
func isSealed(f File) bool {
	_, ok := f.(*sealedFile)
	return ok
}

func (f *sealedFile) crypt(dst, src []byte, off int64) {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(off)/aes.BlockSize)
	ctr := cipher.NewCTR(f.block, iv[:])
	if skip := off % aes.BlockSize; skip > 0 {
		var none [aes.BlockSize]byte
		ctr.XORKeyStream(none[:skip], none[:skip])
	}
	ctr.XORKeyStream(dst, src)
}

// ReadAt implements io.ReaderAt.
func (f *sealedFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off+sealHeadLen)
	f.crypt(b[:n], b[:n], off)
	return n, err
}

// sealChunk is how much is encrypted at a time, so that it stays in the cache of the processor.
const sealChunk = 256 << 10

var sealBuffers = sync.Pool{New: func() any { return new([]byte) }}

// WriteAt implements io.WriterAt.
func (f *sealedFile) WriteAt(b []byte, off int64) (int, error) {
	room := sealBuffers.Get().(*[]byte)
	defer sealBuffers.Put(room)
	if n := min(len(b), sealChunk); cap(*room) < n {
		*room = make([]byte, n)
	}
	buf := (*room)[:cap(*room)]
	done := 0
	for done < len(b) {
		part := b[done:min(done+sealChunk, len(b))]
		f.crypt(buf[:len(part)], part, off+int64(done))
		n, err := f.File.WriteAt(buf[:len(part)], off+int64(done)+sealHeadLen)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Truncate implements File.
func (f *sealedFile) Truncate(size int64) error { return f.File.Truncate(size + sealHeadLen) }

// Size implements File.
func (f *sealedFile) Size() (int64, error) {
	size, err := f.File.Size()
	return max(0, size-sealHeadLen), err
}

// reseal writes a file in clear anew, encrypted. A crash leaves the one or the other.
func reseal(fs FS, name string) (err error) {
	from, err := fs.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if isSealed(from) {
		return nil
	}
	size, err := from.Size()
	if err != nil {
		return err
	}
	tmp := name + tmpExt
	to, err := fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	buf := make([]byte, min(size, sealChunk))
	for off := int64(0); off < size && err == nil; off += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), size-off)]
		if err = readFull(from, part, off); err == nil {
			_, err = to.WriteAt(part, off)
		}
	}
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err == nil {
		err = fs.Stamp(tmp)
	}
	if err == nil {
		err = fs.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(fs.Remove(tmp)))
	}
	return nil
}
