package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mixminion/internal/crypt"
	"mixminion/internal/store/durable"
	"mixminion/packet"
)

// Names in the queue directory. The packets of a message come in together: they are written to a directory that is renamed when all
// are safe, and then leave it one by one, so that nothing on the disk says which packets belong together.
const (
	queueDir     = "queue"
	packetPrefix = "pkt_"
	unsafePrefix = "new_"   // a directory whose packets were never promised to anybody
	batchPrefix  = "batch_" // a directory whose packets are in the queue
)

const day = 24 * time.Hour

// A QueuedPacket is what may be known of a packet that waits.
type QueuedPacket struct {
	ID    string // random
	First packet.Hop
	Day   time.Time // the midnight (UTC) before it was queued: nothing finer is kept
}

// QueueContents is what lies in the queue.
type QueueContents struct {
	Packets []QueuedPacket // sorted by first hop, then by day
	// Damaged has an error for each file that cannot be used. It wraps ErrDamaged, ErrOtherVersion, ErrOldForm, or the error of reading.
	Damaged []error
}

// Enqueue puts the packets of a message into the queue, all or none: when it returns an error, none is there. After that they survive
// kill -9 and power loss until a server has acknowledged them. It returns their names. The caller holds the lock.
func (c *Client) Enqueue(ctx context.Context, p *Prepared) (ids []string, err error) {
	if err := c.checkLocked(); err != nil {
		return nil, fmt.Errorf("queue packets: %w", err)
	}
	if len(p.Packets) == 0 {
		return nil, nil
	}
	c.tidyQueue()
	today := c.today()
	token := rand.Text()
	unsafe, batch := c.path(queueDir, unsafePrefix+token), c.path(queueDir, batchPrefix+token)
	defer func() {
		if err != nil {
			// Whatever stays of these after this is swept up by the next command.
			_ = os.RemoveAll(unsafe)
			err = fmt.Errorf("queue packets: %w", explain(errors.Join(err, os.RemoveAll(batch))))
		}
	}()
	if err := os.Mkdir(unsafe, 0o700); err != nil {
		return nil, err
	}
	for _, pk := range p.Packets {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		id := packetPrefix + rand.Text()
		data, err := formatQueueFile(pk, today)
		if err != nil {
			return nil, err
		}
		name := filepath.Join(unsafe, id)
		if err := durable.WriteFile(name, data, 0o600); err != nil {
			return nil, err
		}
		if err := os.Chtimes(name, today, today); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if err := os.Rename(unsafe, batch); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(c.path(queueDir)); err != nil {
		return nil, err
	}
	c.tidyQueue()
	return ids, nil
}

func (c *Client) today() time.Time { return c.clock.Now().UTC().Truncate(day) }

// tidyQueue sweeps up what commands that died left in the queue, and mixes finished batches with the other packets. What fails here
// does no harm: packets are found where they are, and the next command tries again.
func (c *Client) tidyQueue() {
	entries, err := os.ReadDir(c.path(queueDir))
	if err != nil {
		return // whoever needs the directory will say so
	}
	for _, e := range entries {
		dir := c.path(queueDir, e.Name())
		switch {
		case !e.IsDir():
		case strings.HasPrefix(e.Name(), unsafePrefix):
			_ = os.RemoveAll(dir)
		case strings.HasPrefix(e.Name(), batchPrefix):
			packets, _ := os.ReadDir(dir)
			for _, p := range packets {
				_ = os.Rename(filepath.Join(dir, p.Name()), c.path(queueDir, p.Name()))
			}
			_ = durable.SyncDir(c.path(queueDir))
			_ = os.Remove(dir)
		}
	}
	c.takeOldQueue(entries)
	tidyOldQueue(c.path(queueDir))
	c.stampQueue()
}

// stampQueue hides when the queue last changed.
func (c *Client) stampQueue() { _ = os.Chtimes(c.path(queueDir), c.today(), c.today()) }

// A queueFile is a file of the queue that should hold a packet.
type queueFile struct {
	QueuedPacket
	legacy bool // PreparedPacket.Legacy
	path   string
	err    error // why it cannot be used
}

// queueFiles reads all of the queue.
func (c *Client) queueFiles() (files []queueFile, err error) {
	top := c.path(queueDir)
	entries, err := os.ReadDir(top)
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	// Batches first: what moves from there to the top in the meantime is seen twice rather than not at all.
	var names []string
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), batchPrefix) {
			packets, err := os.ReadDir(filepath.Join(top, e.Name()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("read queue: %w", err)
			}
			for _, p := range packets {
				names = append(names, filepath.Join(top, e.Name(), p.Name()))
			}
		}
	}
	if names != nil {
		if entries, err = os.ReadDir(top); err != nil {
			return nil, fmt.Errorf("read queue: %w", err)
		}
	}
	for _, e := range entries {
		names = append(names, filepath.Join(top, e.Name()))
	}
	seen := map[string]bool{}
	for _, name := range names {
		f := queueFile{path: name}
		f.ID = filepath.Base(name)
		isOld := strings.HasPrefix(f.ID, oldPrefix)
		if !isOld && !strings.HasPrefix(f.ID, packetPrefix) || seen[f.ID] {
			continue
		}
		if isOld && slices.Contains(names, filepath.Join(top, takenOver(f.ID))) {
			continue // a crash came between the two
		}
		var p PreparedPacket
		p, f.Day, f.err = readQueueFile(name)
		f.First, f.legacy = p.First, p.Legacy
		if errors.Is(f.err, fs.ErrNotExist) {
			continue
		}
		seen[f.ID] = true
		files = append(files, f)
	}
	return files, nil
}

// Queue says what waits in the queue. It needs no lock.
func (c *Client) Queue() (*QueueContents, error) {
	files, err := c.queueFiles()
	if err != nil {
		return nil, err
	}
	q := new(QueueContents)
	for _, f := range files {
		if f.err != nil {
			q.Damaged = append(q.Damaged, f.problem())
			continue
		}
		q.Packets = append(q.Packets, f.QueuedPacket)
	}
	slices.SortFunc(q.Packets, func(a, b QueuedPacket) int {
		if n := strings.Compare(a.First.String(), b.First.String()); n != 0 {
			return n
		}
		return a.Day.Compare(b.Day)
	})
	return q, nil
}

func (f *queueFile) problem() error {
	return fmt.Errorf("%s in the queue cannot be sent: %w", f.ID, f.err)
}

// Clean removes packets that wait for at least so many days, of those that only (if not nil) says yes to; 0 removes those of today as
// well. Damaged files go too, by the day on which they were written, if only is nil. It returns the packets that it removed, and the
// number of damaged files. The caller holds the lock.
func (c *Client) Clean(days int, only func(QueuedPacket) bool) (removed []QueuedPacket, damaged int, err error) {
	if err := c.checkLocked(); err != nil {
		return nil, 0, fmt.Errorf("clean queue: %w", err)
	}
	c.tidyQueue()
	defer c.stampQueue()
	files, err := c.queueFiles()
	if err != nil {
		return nil, 0, err
	}
	for _, f := range files {
		switch {
		case f.err == nil && (only == nil || only(f.QueuedPacket)):
		case errors.Is(f.err, ErrDamaged) && only == nil:
			info, err := os.Stat(f.path)
			if err != nil {
				return removed, damaged, fmt.Errorf("clean queue: %w", err)
			}
			f.Day = info.ModTime().UTC().Truncate(day)
		default:
			continue
		}
		// A day to come means that a clock was wrong.
		if max(0, int(c.today().Sub(f.Day)/day)) < days {
			continue
		}
		if err := removeQueueFile(f.path); err != nil {
			return removed, damaged, fmt.Errorf("clean queue: %w", explain(err))
		}
		if f.err != nil {
			damaged++
			continue
		}
		removed = append(removed, f.QueuedPacket)
	}
	return removed, damaged, nil
}

// MatchServers returns what picks the first hops that are named: by the nickname of a known server, by host, or by host:port. A name
// that is neither known nor that of the first hop of a packet in the list is an error.
func (c *Client) MatchServers(names []string, list []QueuedPacket) (func(packet.Hop) bool, error) {
	servers, err := c.Servers()
	if err != nil {
		return nil, err
	}
	keys, addresses := map[crypt.KeyID]bool{}, map[string]bool{}
	for _, name := range names {
		known := false
		for _, d := range servers {
			if strings.EqualFold(d.Nickname, name) {
				keys[d.KeyID()], known = true, true
			}
		}
		address := strings.ToLower(name)
		for _, p := range list {
			known = known || p.First.Host == address || p.First.String() == address
		}
		if !known {
			return nil, fmt.Errorf("%q is no mix that you know, and no packet waits for an address like that", name)
		}
		addresses[address] = true
	}
	return func(h packet.Hop) bool { return keys[h.KeyID] || addresses[h.Host] || addresses[h.String()] }, nil
}
