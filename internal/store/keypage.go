package store

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// The key page holds the keys of all packets, and nothing else does: file "keys" in the directory of an encrypted store.
//
//	  0 128  header, see [Sealed]
//	128      slots of 32 bytes: a key, wrapped, each half as a block of AES-256 under a key of the page
//
// Every slot holds a random key at all times, also one that no packet uses. So a key is durable before its packet is
// written, and Commit need not write the page; a packet is erased by a new random key in the place of its own, when the
// record that erases it is durable. The other bytes of the page are written as they were, if at all: a write that a
// power loss tears hurts no other packet, and a slot that is torn itself is random, too.
const (
	keyPageName = "keys"
	slotLen     = 32
	// pageLen is the unit in which the page grows, in bytes.
	pageLen = 4096
	// maxSlots bounds what a damaged file may make a start read: more packets than a store of terabytes has.
	maxSlots = 1 << 27
	// lostKey in the index says that the key of a packet is not to be had any more.
	lostKey = math.MaxUint32
)

// keyPage is the key page of an open store. Slots are numbered from 1: 0 is the slot of a packet in clear.
type keyPage struct {
	fs   FS
	path string
	f    File
	wrap cipher.Block
	// damaged says that the header was not readable.
	damaged bool

	mu    sync.Mutex
	slots uint32   // in the file
	free  []uint32 // random and durable
}

// openKeyPage opens the key page of a store, or says os.ErrNotExist. ErrKey: the store was encrypted with another key.
func openKeyPage(fs *sealedFS, dir string, flag int) (*keyPage, error) {
	k := &keyPage{fs: fs.FS, path: filepath.Join(dir, keyPageName), wrap: fs.keys.packets}
	f, err := fs.OpenFile(k.path, flag)
	if err != nil {
		return nil, err
	}
	k.f = f
	if err := k.load(&fs.keys, flag); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", k.path, err), f.Close())
	}
	return k, nil
}

func (k *keyPage) load(keys *sealKeys, flag int) error {
	size, err := k.f.Size()
	if err != nil {
		return err
	}
	if size > sealHeadLen+maxSlots*slotLen {
		return fmt.Errorf("%w: key page of %d bytes", ErrCorrupt, size)
	}
	var head []byte
	if size >= sealHeadLen {
		head = make([]byte, sealHeadLen)
		if err := readFull(k.f, head, 0); err != nil {
			return err
		}
		k.slots = uint32((size - sealHeadLen) / slotLen)
	}
	half, err := keys.checkHead(head, pageMagic)
	k.damaged = half == nil
	if err == nil && k.damaged && flag == os.O_RDWR {
		_, err = k.f.WriteAt(keys.newHead(pageMagic), 0)
	}
	return err
}

// createKeyPage makes an empty key page.
func createKeyPage(fs *sealedFS, dir string) (*keyPage, error) {
	path := filepath.Join(dir, keyPageName)
	// writeNew of the FS below: the page is not encrypted a second time.
	if err := writeNew(fs.FS, path, fs.keys.newHead(pageMagic)); err != nil {
		return nil, err
	}
	if err := fs.SyncDir(dir); err != nil {
		return nil, err
	}
	return openKeyPage(fs, dir, os.O_RDWR)
}

func slotOffset(slot uint32) int64 { return sealHeadLen + int64(slot-1)*slotLen }

// take gives n slots with keys that no packet has used.
func (k *keyPage) take(n int) ([]uint32, error) {
	if n == 0 {
		return nil, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if n > len(k.free) {
		if err := k.grow(n - len(k.free)); err != nil {
			return nil, err
		}
	}
	at := len(k.free) - n
	slots := slices.Clone(k.free[at:])
	k.free = k.free[:at]
	return slots, nil
}

// giveBack takes slots back of which the keys were not used.
func (k *keyPage) giveBack(slots []uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.free = append(k.free, slots...)
}

// grow appends n slots or more. Caller holds mu.
func (k *keyPage) grow(n int) error {
	size := slotOffset(k.slots + 1)
	end := size + int64(max(n, int(k.slots/8)))*slotLen
	end = (end + pageLen - 1) / pageLen * pageLen
	more := uint32((end - size) / slotLen)
	if int64(k.slots)+int64(more) > maxSlots {
		return fmt.Errorf("%w: the key page is full", ErrFull)
	}
	b := make([]byte, end-size)
	fillRandom(b)
	if _, err := k.f.WriteAt(b, size); err != nil {
		return fmt.Errorf("key page: %w", err)
	}
	// Before a packet uses them: what the index promises to find must be there.
	if err := errors.Join(k.f.Sync(), k.fs.Stamp(k.path)); err != nil {
		return fmt.Errorf("%w: sync key page: %w", ErrFailed, err)
	}
	// The lowest first.
	for slot := k.slots + more; slot > k.slots; slot-- {
		k.free = append(k.free, slot)
	}
	k.slots += more
	return nil
}

// renew destroys the keys in slots: it writes others in their place and syncs.
func (k *keyPage) renew(slots []uint32) error {
	slots = slices.Sorted(slices.Values(slots))
	b := make([]byte, len(slots)*slotLen)
	fillRandom(b)
	for i := 0; i < len(slots); {
		n := 1
		for i+n < len(slots) && slots[i+n] == slots[i]+uint32(n) {
			n++
		}
		if _, err := k.f.WriteAt(b[i*slotLen:(i+n)*slotLen], slotOffset(slots[i])); err != nil {
			return fmt.Errorf("key page: %w", err)
		}
		i += n
	}
	if err := errors.Join(k.f.Sync(), k.fs.Stamp(k.path)); err != nil {
		return fmt.Errorf("%w: sync key page: %w", ErrFailed, err)
	}
	k.giveBack(slots)
	return nil
}

// reset gives all slots but those in use new keys, cuts off what is not used at the end, and makes the others free. Recovery calls it: the
// page may hold keys of packets whose erasure was not finished, and of packets that the crash undid, of which bytes may be left.
func (k *keyPage) reset(used func(slot uint32) bool) error {
	last := uint32(0)
	buf := make([]byte, min(int64(k.slots)*slotLen, sealChunk))
	for first := uint32(1); first <= k.slots; {
		n := min(uint32(len(buf)/slotLen), k.slots+1-first)
		part := buf[:n*slotLen]
		if err := readFull(k.f, part, slotOffset(first)); err != nil {
			return err
		}
		for i := range n {
			if used(first + i) {
				last = first + i
			} else {
				fillRandom(part[i*slotLen : (i+1)*slotLen])
				k.free = append(k.free, first+i)
			}
		}
		if _, err := k.f.WriteAt(part, slotOffset(first)); err != nil {
			return err
		}
		first += n
	}
	if err := k.f.Sync(); err != nil {
		return err
	}
	end := (slotOffset(last+1) + pageLen - 1) / pageLen * pageLen
	if end < slotOffset(k.slots+1) {
		if err := errors.Join(k.f.Truncate(end), k.f.Sync()); err != nil {
			return err
		}
		k.slots = uint32((end - sealHeadLen) / slotLen)
		k.free = slices.DeleteFunc(k.free, func(slot uint32) bool { return slot > k.slots })
	}
	slices.Reverse(k.free)
	return k.fs.Stamp(k.path)
}

// crypt encrypts or decrypts a body and its checksum, in place. A key serves for one packet only.
func (k *keyPage) crypt(slot uint32, b []byte) error {
	var key [slotLen]byte
	if err := readFull(k.f, key[:], slotOffset(slot)); err != nil {
		return fmt.Errorf("key page: %w", err)
	}
	defer clear(key[:])
	k.wrap.Decrypt(key[:16], key[:16])
	k.wrap.Decrypt(key[16:], key[16:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return fmt.Errorf("key of a packet: %w", err)
	}
	var iv [aes.BlockSize]byte
	cipher.NewCTR(block, iv[:]).XORKeyStream(b, b)
	return nil
}
