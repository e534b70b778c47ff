package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/packet"
	"mixminion/path"
)

// Replies that begin at this mix: a gateway hands them over. Which reply blocks were used is in replay logs of the store, so that using a
// block and queueing its packet are one act, and a crash can part neither from the other. There is a log for the blocks that expire in one
// week; it is destroyed when that week is over.
const (
	blockLogPrefix = "blocks-"
	week           = 7 * day
	// maxBlockLife is how far away the end of a reply block may be: longer than any packet key is announced. It bounds
	// how many logs there are.
	maxBlockLife = 60 * day
	// keepReplies is how long a reply is remembered by its name, so that the same one is not sent again.
	keepReplies = 14 * day
)

// Why a reply is not sent. Every other error of Mix.Reply may pass.
var (
	// ErrBlockUsed: one of the reply blocks has been used before.
	ErrBlockUsed = errors.New("the reply block has been used")
	// ErrBlock: one of the reply blocks is over, or is none that packets can be sent through.
	ErrBlock = errors.New("the reply block cannot be used")
	// ErrReplied: a reply of that name has been sent before.
	ErrReplied = errors.New("the reply has been sent already")
)

// errNoReply says that the mix can send no reply now.
var errNoReply = errors.New("no reply can be sent now")

// blockLogs are the open logs, by week since 1970. The zero value has none.
type blockLogs map[int64]*store.ReplayLog

func weekOf(t time.Time) int64 { return t.Unix() / int64(week/time.Second) }

func blockLogName(week int64) string { return blockLogPrefix + strconv.FormatInt(week, 10) }

// openBlockLogs opens those that are there. It must be done before the store drops what belongs to no log.
func (m *Mix) openBlockLogs() error {
	m.blocks = blockLogs{}
	if m.cfg.BlocksDir == "" {
		return nil
	}
	entries, err := os.ReadDir(m.cfg.BlocksDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the logs of used reply blocks: %w", err)
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), blockLogPrefix)
		w, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || !e.IsDir() {
			continue
		}
		log, err := m.store.OpenLog(filepath.Join(m.cfg.BlocksDir, e.Name()), e.Name())
		if errors.Is(err, store.ErrNoLog) {
			continue // a crash came before it was there, or while it was destroyed
		}
		if err != nil {
			// No block that belongs there is used until the operator has decided.
			m.cfg.Logger.Error("a log of used reply blocks cannot be opened: no blocks of its week are taken; remove it when the week is over",
				"log", e.Name(), "error", err)
			continue
		}
		m.blocks[w] = log
	}
	return nil
}

// blockLog returns the log for blocks that expire at a time, which is made if need be. replies is held.
func (m *Mix) blockLog(expires time.Time) (*store.ReplayLog, error) {
	w := weekOf(expires)
	if log := m.blocks[w]; log != nil {
		return log, nil
	}
	if err := os.MkdirAll(m.cfg.BlocksDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of used reply blocks: %w", err)
	}
	log, err := m.store.CreateLog(filepath.Join(m.cfg.BlocksDir, blockLogName(w)), blockLogName(w))
	if err != nil {
		return nil, err
	}
	m.blocks[w] = log
	return log, nil
}

// dropBlockLogs destroys the logs whose time is over.
func (m *Mix) dropBlockLogs(now time.Time) {
	m.replies.Lock()
	defer m.replies.Unlock()
	for w, log := range m.blocks {
		if w >= weekOf(now.Add(-day)) { // the clock may be set back a little
			continue
		}
		delete(m.blocks, w)
		if err := m.store.DestroyLog(log); err != nil {
			m.cfg.Logger.Error("cannot remove a log of used reply blocks that is over", "error", err)
		}
	}
}

// seen reports whether a log has a hash. replies is held.
func (m *Mix) seen(h crypt.Digest) bool {
	for _, log := range m.blocks {
		if log.Has(h) {
			return true
		}
	}
	return false
}

// blockHash is what the logs know of a block. Its header alone counts: the rest can be changed without making another block of it.
func blockHash(b *packet.SURB) crypt.Digest { return crypt.Hash([]byte("reply block"), b.Header[:]) }

func replyHash(name []byte) crypt.Digest { return crypt.Hash([]byte("reply name"), name) }

// BlockUsable says whether a reply could go through a reply block: nil, ErrBlockUsed or ErrBlock.
func (m *Mix) BlockUsable(b *packet.SURB) error {
	m.replies.Lock()
	defer m.replies.Unlock()
	return m.usable(b)
}

func (m *Mix) usable(b *packet.SURB) error {
	now := m.cfg.Clock.Now()
	if !b.Expires.After(now) || b.Expires.Sub(now) > maxBlockLife {
		return ErrBlock
	}
	if m.seen(blockHash(b)) {
		return ErrBlockUsed
	}
	return nil
}

func (m *Mix) takesReplies() error {
	if m.cfg.BlocksDir == "" || !m.cfg.Relay {
		return fmt.Errorf("%w: this mix relays nothing", errNoReply)
	}
	if m.draining.Load() || !m.store.Room() {
		return fmt.Errorf("%w: the mix takes no packets", errNoReply)
	}
	return nil
}

// CanReply returns nil if a reply through a good block could be sent now; an error may pass.
func (m *Mix) CanReply() error {
	if err := m.takesReplies(); err != nil {
		return err
	}
	servers, err := m.servers()
	if err == nil {
		_, err = m.replyPath(servers, nil)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoReply, err)
	}
	return nil
}

// replyPath selects a path that begins at this mix, to the first hop of a block if there is one in to. Whether that is
// a server that anybody knows is for the maker of the block to see to.
func (m *Mix) replyPath(servers []*directory.Descriptor, to []*packet.SURB) (path.Path, error) {
	now := m.cfg.Clock.Now()
	paths, _, err := path.Select(rand.Reader, servers, path.Spec{}, path.Request{
		Kind: path.Reply, From: now, Until: now.Add(maxTravel), SURBs: to, Links: m.cfg.OutgoingLinks,
	})
	if err != nil {
		return path.Path{}, err
	}
	return paths[0], nil
}

// Reply sends payloads through reply blocks, one each: over a path that begins at this mix, from its pool. When it
// returns nil all packets are in the pool, durably, and the blocks are used; otherwise nothing has happened. name is
// what makes the reply different from all others: one that was sent is not sent again, which is ErrReplied.
func (m *Mix) Reply(ctx context.Context, name []byte, payloads []packet.Payload, blocks []*packet.SURB) error {
	if err := m.takesReplies(); err != nil {
		return err
	}
	if len(payloads) == 0 || len(payloads) != len(blocks) {
		return fmt.Errorf("%w: %d payloads for %d blocks", ErrBlock, len(payloads), len(blocks))
	}
	m.replies.Lock()
	defer m.replies.Unlock()
	if m.seen(replyHash(name)) {
		return ErrReplied
	}
	for _, b := range blocks {
		if err := m.usable(b); err != nil {
			return err
		}
	}
	entries, err := m.replyEntries(ctx, payloads, blocks)
	if err != nil {
		return err
	}
	log, err := m.blockLog(m.cfg.Clock.Now().Add(keepReplies))
	if err != nil {
		return err
	}
	entries = append(entries, store.Entry{Log: log, Replay: replyHash(name)})
	for i, b := range blocks {
		if entries[i].Log, err = m.blockLog(b.Expires); err != nil {
			return err
		}
		entries[i].Replay = blockHash(b)
		for j := range blocks[:i] {
			if entries[j].Replay == entries[i].Replay {
				return ErrBlockUsed
			}
		}
	}
	// The lock has kept others from using the blocks since they were looked up, so all entries are accepted.
	if _, err := m.store.Commit(entries); err != nil {
		return fmt.Errorf("store a reply: %w", err)
	}
	return nil
}

// replyEntries builds the packets as what the store keeps of them.
func (m *Mix) replyEntries(ctx context.Context, payloads []packet.Payload, blocks []*packet.SURB) ([]store.Entry, error) {
	servers, err := m.servers()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoReply, err)
	}
	var entries []store.Entry
	for i, b := range blocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// Each packet has a path of its own.
		way, err := m.replyPath(servers, []*packet.SURB{b})
		switch {
		case errors.Is(err, path.ErrTooFewServers), errors.Is(err, path.ErrNotUsable):
			return nil, fmt.Errorf("%w: %w", errNoReply, err)
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrBlock, err)
		}
		leg, _ := way.Nodes()
		p, err := packet.BuildReply(rand.Reader, leg, b, &payloads[i])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBlock, err)
		}
		rec := record{kind: recordRelay, next: leg[0].Hop, packet: p}
		entries = append(entries, store.Entry{Body: rec.append(nil)})
	}
	return entries, nil
}
