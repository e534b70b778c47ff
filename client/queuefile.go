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
	"mixminion/packet"
)

// A packet in the queue is a file:
//
//	magic     8 bytes, "MIXQUEUE"
//	version   1 byte, 1
//	day       4 bytes, big-endian: days since 1970-01-01 (UTC)
//	hop       1 byte length, then the first hop as FWD/HOST routing information (minion-spec 3.2.1.1)
//	packet    32 KB
//	checksum  4 bytes, big-endian: CRC-32C of all before
const (
	queueMagic    = "MIXQUEUE"
	queueVersion  = 1
	queueHeadLen  = len(queueMagic) + 1 + 4 + 1
	maxHopLen     = 255
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
	b = append(b, queueVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(day.Unix()/secondsPerDay))
	b = append(b, byte(len(hop)))
	b = append(b, hop...)
	b = append(b, p.Packet[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// parseQueueFile returns the packet's first hop and day, and the packet, which lies in data.
func parseQueueFile(data []byte) (hop packet.Hop, day time.Time, p *packet.Packet, err error) {
	if len(data) < queueHeadLen || string(data[:len(queueMagic)]) != queueMagic {
		return hop, day, nil, ErrDamaged
	}
	if data[len(queueMagic)] > queueVersion {
		return hop, day, nil, ErrOtherVersion
	}
	head, rest := data[:queueHeadLen], data[queueHeadLen:]
	hopLen := int(head[queueHeadLen-1])
	if head[len(queueMagic)] != queueVersion || len(rest) != hopLen+packet.Size+crc32.Size {
		return hop, day, nil, ErrDamaged
	}
	end := len(data) - crc32.Size
	if crc32.Checksum(data[:end], castagnoli) != binary.BigEndian.Uint32(data[end:]) {
		return hop, day, nil, ErrDamaged
	}
	hop, err = packet.ParseHop(packet.TypeFwdHost, rest[:hopLen])
	if err != nil {
		return hop, day, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	days := binary.BigEndian.Uint32(head[len(queueMagic)+1:])
	return hop, time.Unix(int64(days)*secondsPerDay, 0).UTC(), (*packet.Packet)(rest[hopLen:]), nil
}

// readQueueFile reads and checks a file of the queue. The errors are fs.ErrNotExist when it was sent or removed meanwhile, ErrDamaged,
// ErrOtherVersion, ErrOldForm, or one of the operating system.
func readQueueFile(name string) (hop packet.Hop, day time.Time, p *packet.Packet, err error) {
	f, err := os.Open(name)
	if err != nil {
		return hop, day, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, pickle.MaxLen+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return hop, day, nil, err
	}
	if strings.HasPrefix(filepath.Base(name), oldPrefix) {
		return parseOldQueueFile(data)
	}
	return parseQueueFile(data)
}
