package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mixminion/client/pickle"
	"mixminion/internal/crypt"
	"mixminion/packet"
)

// A packet in the queue is a file:
//
//	magic     8 bytes, "MIXQUEUE"
//	version   1 byte: 1, or 2 for a packet that may go over a legacy link (PreparedPacket.Legacy)
//	day       4 bytes, big-endian: days since 1970-01-01 (UTC)
//	hop       1 byte length, then the first hop as FWD/HOST routing information (minion-spec 3.2.1.1). A host of more than 233
//	          characters makes that longer than 255: the byte holds the length modulo 256, and the length of the file tells the rest
//	packet    32 KB
//	checksum  4 bytes, big-endian: CRC-32C of all before
const (
	queueMagic    = "MIXQUEUE"
	queueVersion  = 1
	queueLegacy   = 2
	queueHeadLen  = len(queueMagic) + 1 + 4 + 1
	maxHopLen     = 2 + crypt.HashLen + 255 // port, keyid, name
	maxQueueFile  = queueHeadLen + maxHopLen + packet.Size + crc32.Size
	secondsPerDay = 24 * 60 * 60
)

// Errors of files in the queue.
var (
	ErrDamaged      = errors.New("the file is damaged")
	ErrOtherVersion = errors.New("the file was made by a newer version of this program")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func formatQueueFile(p PreparedPacket, day time.Time) ([]byte, error) {
	hop := p.First.AppendRoutingInfo(nil)
	if len(hop) > maxHopLen {
		return nil, fmt.Errorf("the name of the first hop has %d characters", len(p.First.Host))
	}
	b := append(make([]byte, 0, maxQueueFile), queueMagic...)
	if p.Legacy {
		b = append(b, queueLegacy)
	} else {
		b = append(b, queueVersion)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(day.Unix()/secondsPerDay))
	b = append(b, byte(len(hop)))
	b = append(b, hop...)
	b = append(b, p.Packet[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// parseQueueFile returns the packet, which lies in data, and the day.
func parseQueueFile(data []byte) (p PreparedPacket, day time.Time, err error) {
	var none PreparedPacket
	if len(data) < queueHeadLen || string(data[:len(queueMagic)]) != queueMagic {
		return none, day, ErrDamaged
	}
	version := data[len(queueMagic)]
	if version > queueLegacy {
		return none, day, ErrOtherVersion
	}
	head, rest := data[:queueHeadLen], data[queueHeadLen:]
	hopLen := len(rest) - packet.Size - crc32.Size
	if version < queueVersion || hopLen < 0 || hopLen > maxHopLen || byte(hopLen) != head[queueHeadLen-1] {
		return none, day, ErrDamaged
	}
	end := len(data) - crc32.Size
	if crc32.Checksum(data[:end], castagnoli) != binary.BigEndian.Uint32(data[end:]) {
		return none, day, ErrDamaged
	}
	p.Legacy, p.Packet = version == queueLegacy, (*packet.Packet)(rest[hopLen:])
	if p.First, err = packet.ParseHop(packet.TypeFwdHost, rest[:hopLen]); err != nil {
		return none, day, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	days := binary.BigEndian.Uint32(head[len(queueMagic)+1:])
	return p, time.Unix(int64(days)*secondsPerDay, 0).UTC(), nil
}

// readQueueFile reads and checks a file of the queue. The errors are fs.ErrNotExist when it was sent or removed meanwhile, ErrDamaged,
// ErrOtherVersion, ErrOldForm, or one of the operating system.
func readQueueFile(name string) (p PreparedPacket, day time.Time, err error) {
	f, err := os.Open(name)
	if err != nil {
		return p, day, err
	}
	data, err := io.ReadAll(io.LimitReader(f, pickle.MaxLen+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return p, day, err
	}
	if strings.HasPrefix(filepath.Base(name), oldPrefix) {
		return parseOldQueueFile(data)
	}
	return parseQueueFile(data)
}
