package store

import (
	"encoding/binary"
	"fmt"
)

// The manifest of a replay log, file "manifest" in its directory:
//
//	 0  8  "MXLOG\x00\x00\x01"
//	 8 16  identity of the log
//	24 16  key of tables and filters
//	40 16  identity of the store whose journal feeds the log
//	56  8  sequence number up to which the hashes of that journal are in the runs
//	64  8  number of the next run
//	72  1  length of the name, then the name
//	    4  n | n * u64 number of a run
//	    4  CRC-32C of everything before
type manifest struct {
	log     logID
	key     filterKey
	store   storeID
	flushed uint64
	nextRun uint64
	name    string
	runs    []uint64
}

const (
	logMagic     = "MXLOG\x00\x00\x01"
	manifestName = "manifest"
	maxManifest  = 1 << 20
	maxLogName   = 64
)

func (m *manifest) marshal() []byte {
	le := binary.LittleEndian
	b := append([]byte(nil), logMagic...)
	b = append(b, m.log[:]...)
	b = append(b, m.key[:]...)
	b = append(b, m.store[:]...)
	b = le.AppendUint64(b, m.flushed)
	b = le.AppendUint64(b, m.nextRun)
	b = append(b, byte(len(m.name)))
	b = append(b, m.name...)
	b = le.AppendUint32(b, uint32(len(m.runs)))
	for _, r := range m.runs {
		b = le.AppendUint64(b, r)
	}
	return le.AppendUint32(b, checksum(b))
}

func parseManifest(b []byte) (manifest, error) {
	var m manifest
	le := binary.LittleEndian
	bad := fmt.Errorf("%w: manifest of a replay log", ErrCorrupt)
	if hasMagic(b, sealMagic) {
		return m, ErrSealed
	}
	if len(b) < 81 || string(b[:8]) != logMagic || checksum(b[:len(b)-4]) != le.Uint32(b[len(b)-4:]) {
		return m, bad
	}
	t := tableReader{b: b[8 : len(b)-4]}
	copy(m.log[:], t.take(logIDLen))
	copy(m.key[:], t.take(len(m.key)))
	copy(m.store[:], t.take(len(m.store)))
	m.flushed = le.Uint64(t.take(8))
	m.nextRun = le.Uint64(t.take(8))
	m.name = string(t.take(int(t.take(1)[0])))
	n := t.count(8)
	for range n {
		m.runs = append(m.runs, le.Uint64(t.take(8)))
	}
	if t.bad || len(t.b) != 0 {
		return m, bad
	}
	return m, nil
}
