package client

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mixminion/client/pickle"
	"mixminion/internal/crypt"
	"mixminion/internal/store/durable"
	"mixminion/packet"
)

// Mixminion 0.0.8 keeps a packet that waits in two files of the queue: msg_X holds a tuple of "PACKET-0", the packet, its first hop and
// the midnight before it was queued, and meta_X the last two again. The next command that changes the queue makes one of our own of them.
const (
	oldPrefix     = "msg_"
	oldMetaPrefix = "meta_"

	oldPacketMark = "PACKET-0"
	oldHopClass   = "mixminion.Packet.MMTPHostInfo"
)

// ErrOldForm says that a file of the queue should be of Mixminion 0.0.8 and is not in the form that it uses, or damaged.
var ErrOldForm = errors.New("it is not as Mixminion 0.0.8 writes such files; send it with the version that wrote it, or delete it")

// parseOldQueueFile returns what a file msg_X holds. The packet lies in data. Nothing says whether its path named the first hop, so it goes
// over no legacy link.
func parseOldQueueFile(data []byte) (p PreparedPacket, day time.Time, err error) {
	v, err := pickle.Load(data)
	if err != nil {
		return p, day, ErrOldForm
	}
	tuple, ok := v.([]any)
	if !ok || len(tuple) != 4 {
		return p, day, ErrOldForm
	}
	mark, ok1 := tuple[0].([]byte)
	raw, ok2 := tuple[1].([]byte)
	first, ok3 := tuple[2].(*pickle.Object)
	queued, ok4 := tuple[3].(int)
	if !ok1 || !ok2 || !ok3 || !ok4 || string(mark) != oldPacketMark || len(raw) != packet.Size || queued < 0 {
		return p, day, ErrOldForm
	}
	hop, err := oldHop(first)
	if err != nil {
		return p, day, err
	}
	day = time.Unix(int64(queued), 0).UTC().Truncate(24 * time.Hour)
	return PreparedPacket{First: hop, Packet: (*packet.Packet)(raw)}, day, nil
}

// oldHop reads an object of Mixminion 0.0.8 that says where a packet goes.
func oldHop(o *pickle.Object) (hop packet.Hop, err error) {
	host, ok1 := o.Fields["hostname"].([]byte)
	port, ok2 := o.Fields["port"].(int)
	key, ok3 := o.Fields["keyinfo"].([]byte)
	if o.Class != oldHopClass || !ok1 || !ok2 || !ok3 || port <= 0 || port > 0xFFFF || len(key) != len(hop.KeyID) {
		return hop, ErrOldForm
	}
	hop = packet.Hop{Host: string(host), Port: uint16(port), KeyID: crypt.KeyID(key)}
	// What the name of a host may be is judged where names from packets are.
	if hop, err = packet.ParseHop(packet.TypeFwdHost, hop.AppendRoutingInfo(nil)); err != nil {
		return hop, fmt.Errorf("%w: %w", ErrOldForm, err)
	}
	return hop, nil
}

// takenOver is the name that an old packet gets in our queue: always the same one, so that no crash can make two packets of it.
func takenOver(old string) string {
	sum := sha256.Sum256([]byte("mixminion queue " + old))
	return packetPrefix + base32.StdEncoding.EncodeToString(sum[:])[:len(rand.Text())]
}

// takeOldQueue makes packets of our queue of those that 0.0.8 has left there. An old file goes when the new one is safe, and both before
// anything is sent. What cannot be taken over stays, and queueFiles tells of it. The caller holds the lock.
func (c *Client) takeOldQueue(entries []os.DirEntry) {
	top := c.path(queueDir)
	work := c.path(queueDir, unsafePrefix+"old") // swept up after a crash
	done := false
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), oldPrefix) || e.IsDir() {
			continue
		}
		if err := takeOldPacket(top, work, e.Name()); err == nil {
			done = true
		}
	}
	_ = os.RemoveAll(work)
	if done {
		_ = durable.SyncDir(top) // else a power loss may bring old files back, to be taken over under the same names
	}
}

func takeOldPacket(top, work, name string) error {
	old := filepath.Join(top, name)
	p, day, err := readQueueFile(old)
	if err != nil {
		return err
	}
	data, err := formatQueueFile(p, day)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	fresh := filepath.Join(work, takenOver(name))
	if err := durable.WriteFile(fresh, data, 0o600); err != nil {
		return err
	}
	if err := os.Chtimes(fresh, day, day); err != nil {
		return err
	}
	if err := os.Rename(fresh, filepath.Join(top, takenOver(name))); err != nil {
		return err
	}
	if err := durable.SyncDir(top); err != nil {
		return err
	}
	return removeQueueFile(old)
}

// removeQueueFile deletes a packet from the queue. That of 0.0.8 loses its second file last: without the first one it says nothing.
func removeQueueFile(name string) error {
	err := os.Remove(name)
	id, old := strings.CutPrefix(filepath.Base(name), oldPrefix)
	if err != nil || !old {
		return err
	}
	if err := os.Remove(filepath.Join(filepath.Dir(name), oldMetaPrefix+id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tidyOldQueue deletes second files of 0.0.8 whose packets are gone. The caller holds the lock.
func tidyOldQueue(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	packets := map[string]bool{}
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), oldPrefix); ok {
			packets[id] = true
		}
	}
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), oldMetaPrefix); ok && !packets[id] && !e.IsDir() {
			_ = os.Remove(filepath.Join(dir, e.Name())) // harmless if it stays
		}
	}
}
