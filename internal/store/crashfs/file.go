package crashfs

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"mixminion/internal/store"
)

type file struct {
	f        *FS
	n        *node
	epoch    int
	readOnly bool
	closed   bool
}

var _ store.File = (*file)(nil)

// alive fails for a handle that a crash or Close ended.
func (h *file) alive() error {
	switch {
	case h.closed:
		return os.ErrClosed
	case h.f.off || h.epoch != h.f.epoch:
		return ErrOff
	}
	return nil
}

func (h *file) change(op dataOp) error {
	if !h.f.change() {
		if !op.truncate && len(op.data) > 1 {
			// The power went in the middle of the write.
			op.data = op.data[:len(op.data)/2]
			h.n.data = op.apply(h.n.data)
			h.n.dataOps = append(h.n.dataOps, op)
		}
		return ErrOff
	}
	h.n.data = op.apply(h.n.data)
	h.n.dataOps = append(h.n.dataOps, op)
	return nil
}

func (h *file) ReadAt(b []byte, off int64) (int, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if err := h.alive(); err != nil {
		return 0, err
	}
	if off >= int64(len(h.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes as much as the disk has room for.
func (h *file) WriteAt(b []byte, off int64) (int, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if err := h.alive(); err != nil {
		return 0, err
	}
	if h.readOnly {
		return 0, os.ErrPermission
	}
	data := bytes.Clone(b)
	var full error
	if grow := off + int64(len(b)) - int64(len(h.n.data)); h.f.capacity >= 0 && grow > 0 {
		if over := h.f.root.used() + grow - h.f.capacity; over > 0 {
			data = data[:max(0, int64(len(data))-over)]
			full = fmt.Errorf("%w: crashfs: the disk is full", store.ErrFull)
		}
	}
	if len(data) > 0 {
		if err := h.change(dataOp{off: off, data: data}); err != nil {
			return 0, err
		}
	}
	return len(data), full
}

func (h *file) Truncate(size int64) error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if err := h.alive(); err != nil {
		return err
	}
	return h.change(dataOp{truncate: true, off: size})
}

func (h *file) Size() (int64, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if err := h.alive(); err != nil {
		return 0, err
	}
	return int64(len(h.n.data)), nil
}

func (h *file) Sync() error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if err := h.alive(); err != nil {
		return err
	}
	if !h.f.change() {
		return ErrOff
	}
	if h.f.noSync {
		return nil
	}
	if h.f.syncFails == 0 {
		h.f.syncFails = -1
		// As on Linux: the pages are clean now, and the next sync will not try them again.
		h.n.dataOps = nil
		return ErrIO
	}
	if h.f.syncFails > 0 {
		h.f.syncFails--
	}
	for _, op := range h.n.dataOps {
		h.n.safeData = op.apply(h.n.safeData)
	}
	h.n.dataOps = nil
	return nil
}

func (h *file) Close() error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	h.closed = true
	return nil
}
