package mix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mixminion/directory"
	"mixminion/packet"
)

// A Status says how it stands with a mix, no finer than may be told to people who look over the operator's shoulder: numbers are rounded up,
// and nothing in it changes with a single packet unless it crosses such a step.
type Status struct {
	Nickname, Key string
	Keys          []KeyStatus // by the time from which they are valid
	Pool, Waiting int         // packets in the pool, and on their way out; rounded up to hundreds
	// Held is how many of those on their way out are messages whose recipients have had their share of the day, rounded up to hundreds;
	// 0 if no exit counts shares.
	Held        int
	Connections int   // that others have to the mix; rounded up to tens
	Disk        int64 // bytes that packets and replay logs take; rounded up to 10 MB
	// LegacyIncoming and LegacyOutgoing tell that there are links of TLS 1.0, from and to mixes of series 0.0.8.
	LegacyIncoming, LegacyOutgoing bool
	Draining                       bool
	Drained                        bool // it drains, and all packets of others have left
	Damaged                        bool // something unreadable was found in packets or replay logs since the start
	Full                           bool // packets are rejected for want of room on the disk
	Publishes                      int  // directory servers to publish to
	// Directory is the day of the directory that the mix holds; zero if it has none.
	Directory time.Time
	// Listed and Recommended tell how that has the mix.
	Listed, Recommended bool
}

// A KeyStatus describes one packet key.
type KeyStatus struct {
	Name string // of its directory
	// Senders may use it From until Until; what arrives by Accepted is taken.
	From, Until, Accepted time.Time
	InUse                 bool
	Log                   int64 // bytes of the replay log; rounded up to 10 MB
}

// The steps by which numbers are rounded up.
const (
	stepPackets     = 100
	stepConnections = 10
	stepBytes       = 10 << 20
)

// roundUp rounds up to a multiple of step, and to step at least: that there is nothing is told no more than that there is one.
func roundUp[T int | int64 | uint64](n, step T) T { return max(step, (n+step-1)/step*step) }

// Status says how it stands. It may be called while the mix runs.
func (m *Mix) Status() Status {
	now := m.cfg.Clock.Now()
	st := Status{
		Nickname: m.cfg.Nickname, Key: m.keyID.Fingerprint(), Keys: m.PacketKeys(),
		Pool: roundUp(m.store.PoolSize(), stepPackets), Disk: roundUp(m.store.Usage().Disk, stepBytes),
		LegacyIncoming: m.cfg.LegacyIncoming, LegacyOutgoing: m.cfg.LegacyOutgoing,
		Draining: m.draining.Load(), Publishes: len(m.cfg.PublishTo),
		Full: !m.store.Room(), Damaged: len(m.store.Damage()) > 0,
	}
	waiting, held := 0, 0
	for _, q := range m.store.Queues() {
		if q.Name == finishedQueue {
			continue
		}
		waiting += q.Count
		if toExit(q.Name) {
			for _, it := range m.store.Queue(q.Name, 0) {
				if triesOf(it).held {
					held++
				}
			}
		}
	}
	st.Waiting = roundUp(waiting, stepPackets)
	if m.live.Load().exit(packet.TypeSMTP) != nil {
		st.Held = roundUp(held, stepPackets)
	}
	st.Drained = m.drained()
	if server := m.server.Load(); server != nil {
		st.Connections = roundUp(server.Connections(), stepConnections)
	}
	if d, err := m.Directory(); err == nil && d != nil && !d.ValidAfter.After(now) {
		st.Directory = d.ValidAfter
		st.Listed, st.Recommended = m.placeIn(d)
	}
	return st
}

// ReadKeys describes the packet keys in the key directory of a mix, whether or not it runs.
func ReadKeys(c Config) ([]KeyStatus, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	dirs, err := filepath.Glob(filepath.Join(c.KeyDir, keySetPrefix+"*"))
	if err != nil {
		return nil, err
	}
	r := keyRing{dir: c.KeyDir, lifetime: c.KeyLifetime, overlap: c.KeyOverlap}
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, descriptorFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is being made or destroyed
		}
		if err != nil {
			return nil, fmt.Errorf("read descriptor: %w", err)
		}
		desc, err := directory.ParseDescriptor(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		r.sets = append(r.sets, &keySet{dir: dir, desc: desc})
	}
	r.sort()
	return r.describeKeys(c.Clock.Now()), nil
}

// describeKeys describes all keys of the ring.
func (r *keyRing) describeKeys(now time.Time) []KeyStatus {
	use := r.inUse(now)
	var out []KeyStatus
	for _, s := range r.sets {
		out = append(out, KeyStatus{
			Name: s.name(), From: s.desc.ValidAfter, Until: s.desc.ValidUntil, Accepted: s.desc.ValidUntil.Add(r.overlap),
			InUse: slices.Contains(use, s), Log: logSize(filepath.Join(s.dir, replayDir)),
		})
	}
	return out
}

// logSize is what a replay log takes on the disk, rounded up: its exact size counts packets.
func logSize(dir string) int64 {
	var sum int64
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
	}
	return roundUp(sum, stepBytes)
}

// ErrNoSuchKey says that a mix has no packet key of a name.
var ErrNoSuchKey = errors.New("there is no such packet key")

// DestroyKey destroys a packet key with its descriptor and its replay log, and makes another one if none is left that is valid now. What is
// encrypted to it and still on its way is lost; reply blocks that go through it are dead.
func (m *Mix) DestroyKey(ctx context.Context, name string) error {
	return m.errand(ctx, func() error { return m.destroyKey(name) })
}

// DestroyStopped is DestroyKey for a mix that does not run, and for any number of keys. It returns how many are gone.
func DestroyStopped(c Config, names ...string) (gone int, err error) {
	m, err := Open(c)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	for _, name := range names {
		if err := m.destroyKey(name); err != nil {
			return gone, err
		}
		gone++
	}
	return gone, nil
}

func (m *Mix) destroyKey(name string) error {
	for _, s := range m.ring.sets {
		if s.name() == name {
			m.retire([]*keySet{s})
			err := m.maintain()
			if _, serr := os.Stat(s.dir); !errors.Is(serr, fs.ErrNotExist) {
				err = errors.Join(err, fmt.Errorf("the key is not used any more, but it is still on the disk: remove %s", s.dir))
			}
			return err
		}
	}
	return fmt.Errorf("%w: %s", ErrNoSuchKey, name)
}

// PacketKeys describes the packet keys.
func (m *Mix) PacketKeys() []KeyStatus {
	m.keyUse.RLock()
	defer m.keyUse.RUnlock()
	return m.ring.describeKeys(m.cfg.Clock.Now())
}
