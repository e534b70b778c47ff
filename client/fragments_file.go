package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"mixminion/message"
)

// The file of a message is a header and records of one length, so that a damaged record costs one fragment. Integers are big-endian.
//
//	header  magic (8) | ID (20) | size (4) | capacity (4) | via (1) | length of name (1) | name | SHA-256 of all before
//	record  index (4) | data (capacity) | SHA-256 of the ID, the index and the data
const (
	poolMagic      = "MMFRAG01"
	poolHeaderLen  = len(poolMagic) + message.IDLen + 4 + 4 + 1 + 1
	poolIndexLen   = 4
	maxOpenerName  = 255
	maxPoolPayload = 1 << 16
)

// pooled is a message of the pool: the account of its fragments, and where they lie.
type pooled struct {
	*message.Assembly
	file    string
	header  []byte
	offsets map[uint32]int64
	end     int64 // of the last record; 0 when the file does not exist yet
}

// newPooled starts a message with its first fragment, which it does not add, and writes nothing.
func newPooled(file string, f *message.Fragment, by message.Opener) (*pooled, error) {
	if len(by.Name) > maxOpenerName {
		return nil, fmt.Errorf("a name of %d characters cannot be kept with a fragment", len(by.Name))
	}
	a, err := message.NewAssembly(f, by)
	if err != nil {
		return nil, err
	}
	m := &pooled{Assembly: a, file: file, offsets: map[uint32]int64{}}
	h := append([]byte(poolMagic), f.ID[:]...)
	h = binary.BigEndian.AppendUint32(h, f.Size)
	h = binary.BigEndian.AppendUint32(h, uint32(len(f.Data)))
	h = append(h, byte(by.Via), byte(len(by.Name)))
	h = append(h, by.Name...)
	sum := sha256.Sum256(h)
	m.header = append(h, sum[:]...)
	return m, nil
}

func (m *pooled) partial() Partial {
	p := Partial{ID: m.ID(), For: m.Opener(), Size: m.Size()}
	for _, chunk := range m.Progress() {
		p.Have += chunk.Have
		p.Need += chunk.Need
	}
	return p
}

func (m *pooled) capacity() int { return m.Geometry().Capacity }

func (m *pooled) recordLen() int64 { return int64(poolIndexLen + m.capacity() + sha256.Size) }

func (m *pooled) record(index uint32, data []byte) []byte {
	r := binary.BigEndian.AppendUint32(make([]byte, 0, m.recordLen()), index)
	r = append(r, data...)
	sum := recordSum(m.ID(), r)
	return append(r, sum[:]...)
}

func recordSum(id message.ID, indexAndData []byte) [sha256.Size]byte {
	return sha256.Sum256(append(id[:], indexAndData...))
}

// write adds a fragment to the file, in one piece at its end. A record that a crash cut off is written over.
func (m *pooled) write(f *message.Fragment) (err error) {
	flags := os.O_WRONLY
	out := m.record(f.Index, f.Data)
	if m.end == 0 {
		flags |= os.O_CREATE | os.O_TRUNC
		out = append(bytes.Clone(m.header), out...)
	}
	w, err := os.OpenFile(m.file, flags, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err := w.WriteAt(out, m.end); err != nil {
		return errors.Join(err, w.Truncate(m.end))
	}
	m.end += int64(len(out))
	m.offsets[f.Index] = m.end - m.recordLen()
	return nil
}

// readPooled reads the file of a message. A damaged record gives an error that wraps ErrFragmentFile together with the rest of the
// message, a damaged header the error alone. A file that ends within its header is that of a message whose first fragment a crash cut
// off: there is nothing in it, and the error wraps os.ErrNotExist.
func readPooled(file string, id message.ID) (_ *pooled, err error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	m, err := readPoolHeader(in, file, id)
	if err != nil {
		return nil, err
	}
	damaged := 0
	record := make([]byte, m.recordLen())
	for {
		_, err := io.ReadFull(in, record)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // what a crash cut off is written over
			if damaged > 0 {
				return m, fmt.Errorf("%w: %s: %d of its fragments cannot be used; have the mails decoded again that they came in", ErrFragmentFile, file, damaged)
			}
			return m, nil
		case err != nil:
			return nil, err
		case !m.take(record):
			damaged++
		}
		m.end += m.recordLen()
	}
}

// take adds a record from the file to the account.
func (m *pooled) take(record []byte) bool {
	content, sum := record[:len(record)-sha256.Size], record[len(record)-sha256.Size:]
	if want := recordSum(m.ID(), content); !bytes.Equal(want[:], sum) {
		return false
	}
	f := &message.Fragment{
		Index: binary.BigEndian.Uint32(content), ID: m.ID(), Size: m.Size(), Data: content[poolIndexLen:],
	}
	keep, err := m.Add(f, m.Opener())
	if keep {
		m.offsets[f.Index] = m.end
	}
	return err == nil
}

func readPoolHeader(in io.Reader, file string, id message.ID) (*pooled, error) {
	useless := func(why string) error {
		return fmt.Errorf("%w: %s: %s; remove it with purge-fragments, and have the mails decoded again", ErrFragmentFile, file, why)
	}
	h := make([]byte, poolHeaderLen, poolHeaderLen+maxOpenerName+sha256.Size)
	if err := readHeader(in, h); err != nil {
		return nil, err
	}
	if string(h[:len(poolMagic)]) != poolMagic {
		return nil, useless("it does not begin as one")
	}
	fields := h[len(poolMagic):]
	size, capacity := binary.BigEndian.Uint32(fields[message.IDLen:]), binary.BigEndian.Uint32(fields[message.IDLen+4:])
	via, nameLen := message.Via(fields[message.IDLen+8]), int(fields[message.IDLen+9])
	h = h[:poolHeaderLen+nameLen+sha256.Size]
	if err := readHeader(in, h[poolHeaderLen:]); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(h[:poolHeaderLen+nameLen])
	if !bytes.Equal(sum[:], h[poolHeaderLen+nameLen:]) || message.ID(fields) != id || capacity > maxPoolPayload || size > maxCompressed {
		return nil, useless("its header is wrong")
	}
	f := &message.Fragment{ID: id, Size: size, Data: make([]byte, capacity)}
	m, err := newPooled(file, f, message.Opener{Via: via, Name: string(h[poolHeaderLen : poolHeaderLen+nameLen])})
	if err != nil {
		return nil, useless("its header is wrong")
	}
	m.end = int64(len(h))
	return m, nil
}

// readHeader fills b, and gives os.ErrNotExist when the file ends before.
func readHeader(in io.Reader, b []byte) error {
	_, err := io.ReadFull(in, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("no fragment: %w", os.ErrNotExist)
	}
	return err
}

// reassemble puts the message together from the file.
func (m *pooled) reassemble() (_ []byte, err error) {
	if !m.Ready() {
		return nil, fmt.Errorf("%w: %d more must arrive", message.ErrIncomplete, m.Missing())
	}
	in, err := os.Open(m.file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	return m.Reassemble(func(index uint32) ([]byte, error) {
		data := make([]byte, m.capacity())
		if _, err := in.ReadAt(data, m.offsets[index]+poolIndexLen); err != nil {
			return nil, err
		}
		return data, nil
	})
}
