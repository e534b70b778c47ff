package mix_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/store"
	"mixminion/mix"
	"mixminion/packet"
)

// replyRig is a mix that knows four servers, and can send replies. Nothing leaves its pool.
func replyRig(t *testing.T, change func(*mix.Config)) (r *rig, path []packet.Node) {
	t.Helper()
	var servers []*directory.Descriptor
	r = newRig(t, func(c *mix.Config) {
		c.BlocksDir = filepath.Join(filepath.Dir(c.KeyDir), "gateway")
		c.Rule = mix.Rule{Algorithm: mix.Binomial, MinSize: 1 << 20, Rate: 0.4}
		c.Servers = func() []*directory.Descriptor { return servers }
		if change != nil {
			change(c)
		}
	})
	for i := range 4 {
		h := newFakeHop(t, r.clk, i)
		path, servers = append(path, h.Node), append(servers, h.descriptor(i, "hop"+string(rune('a'+i))))
	}
	return r, path
}

// newBlock makes a reply block that is good until a time.
func newBlock(t *testing.T, path []packet.Node, until time.Time) *packet.SURB {
	t.Helper()
	b, _, err := packet.BuildSURB(rand.Reader, path, packet.TypeSMTP, []byte("alice@example.com"), []byte("secret"), until)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func reply(r *rig, name string, blocks ...*packet.SURB) error {
	payloads := make([]packet.Payload, len(blocks))
	for i := range payloads {
		rand.Read(payloads[i][:])
	}
	return r.mix.Reply(context.Background(), []byte(name), payloads, blocks)
}

func TestReply(t *testing.T) {
	r, path := replyRig(t, nil)
	r.open()
	week := start.Add(7 * day)
	one, two, three, four := newBlock(t, path, week), newBlock(t, path, week), newBlock(t, path, start.Add(20*day)), newBlock(t, path, week)
	check := func(when string, name string, want error, blocks ...*packet.SURB) {
		t.Helper()
		if err := reply(r, name, blocks...); !errors.Is(err, want) || err != nil && want == nil {
			t.Errorf("%s: got %v", when, err)
		}
	}
	check("first", "1", nil, one)
	check("several blocks of several weeks", "2", nil, two, three)
	for range 2 {
		check("the same reply", "1", mix.ErrReplied, four)
		check("the same block", "3", mix.ErrBlockUsed, one)
		check("one good block of two", "4", mix.ErrBlockUsed, four, three)
		check("the same block twice", "5", mix.ErrBlockUsed, four, four)
		if err := errors.Join(r.mix.BlockUsable(four)); err != nil {
			t.Error("a block was used up by a reply that was not sent:", err)
		}
		// Only the header makes a block.
		other := *one
		other.Expires = other.Expires.Add(21 * day)
		check("a block with another date", "6", mix.ErrBlockUsed, &other)
		r.reopen()
	}
	check("over", "7", mix.ErrBlock, newBlock(t, path, start.Add(-time.Hour)))
	check("good for ever", "8", mix.ErrBlock, newBlock(t, path, start.Add(1000*day)))
	check("the last good block", "9", nil, four)
	r.close()
	if pool, queues := r.stored(); pool != 4 || len(queues) != 0 {
		t.Errorf("%d packets in the pool, %v", pool, queues)
	}
	r.inspect(func(s *store.Store) {
		for _, id := range s.Pool() {
			body, err := s.Read(id, nil)
			if err != nil || len(body) < packet.Size {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		}
	})
}

func TestReplyLogsEnd(t *testing.T) {
	r, path := replyRig(t, nil)
	r.open()
	if err := reply(r, "1", newBlock(t, path, start.Add(7*day))); err != nil {
		t.Fatal(err)
	}
	logs := func() int {
		t.Helper()
		entries, err := os.ReadDir(r.cfg.BlocksDir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if n := logs(); n != 2 { // of the block and of the name
		t.Errorf("%d logs", n)
	}
	r.close()
	r.clk.Advance(25 * day)
	r.open()
	if n := logs(); n != 0 {
		t.Errorf("%d logs after their time", n)
	}
}

// A log that cannot be read keeps the blocks of its week from being used, and not the mix from running.
func TestReplyDamagedLog(t *testing.T) {
	r, path := replyRig(t, nil)
	r.open()
	block := newBlock(t, path, start.Add(30*day))
	if err := reply(r, "1", block); err != nil {
		t.Fatal(err)
	}
	r.close()
	manifests, err := filepath.Glob(filepath.Join(r.cfg.BlocksDir, "blocks-*", "*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal(manifests, err)
	}
	for _, m := range manifests {
		if err := os.WriteFile(m, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	if err := reply(r, "2", block); err == nil {
		t.Error("a used block was used again")
	}
	if r.log.count("a log of used reply blocks cannot be opened") == 0 {
		t.Error("the log says nothing")
	}
}

// Of many who want to use a block at the same time one can.
func TestReplyAtOnce(t *testing.T) {
	r, path := replyRig(t, nil)
	r.open()
	block := newBlock(t, path, start.Add(7*day))
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = reply(r, string(rune('a'+i)), block) })
	}
	wg.Wait()
	sent := 0
	for _, err := range errs {
		if err == nil {
			sent++
		} else if !errors.Is(err, mix.ErrBlockUsed) {
			t.Error(err)
		}
	}
	if sent != 1 {
		t.Errorf("sent %d times", sent)
	}
}

func TestReplyNotNow(t *testing.T) {
	r, path := replyRig(t, nil)
	r.open()
	block := newBlock(t, path, start.Add(7*day))
	r.mix.Drain(true)
	if err := reply(r, "1", block); err == nil || errors.Is(err, mix.ErrBlock) || errors.Is(err, mix.ErrBlockUsed) {
		t.Errorf("draining: %v", err)
	}
	if err := r.mix.CanReply(); err == nil {
		t.Error("draining, and it says that it can reply")
	}
	r.mix.Drain(false)
	if err := r.mix.CanReply(); err != nil {
		t.Error(err)
	}
	if err := reply(r, "1", block); err != nil {
		t.Error(err)
	}
	alone, path := replyRig(t, func(c *mix.Config) { c.Servers = func() []*directory.Descriptor { return nil } })
	alone.open()
	if err := reply(alone, "1", newBlock(t, path, start.Add(7*day))); err == nil || errors.Is(err, mix.ErrBlock) {
		t.Errorf("without servers: %v", err)
	}
	if err := alone.mix.CanReply(); err == nil {
		t.Error("without servers, and it says that it can reply")
	}
}

// What kill -9 leaves is what lies on the disk at that instant: a copy of it knows of the packet and of the block, or of neither.
func TestReplySurvivesKill(t *testing.T) {
	r, path := replyRig(t, nil)
	r.open()
	first, second := newBlock(t, path, start.Add(7*day)), newBlock(t, path, start.Add(7*day))
	if err := reply(r, "1", first); err != nil {
		t.Fatal(err)
	}
	base, copied := filepath.Dir(r.cfg.KeyDir), t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(base)); err != nil {
		t.Fatal(err)
	}
	cfg := r.cfg
	for _, dir := range []*string{&cfg.KeyDir, &cfg.QueueDir, &cfg.BlocksDir} {
		name, err := filepath.Rel(base, *dir)
		if err != nil {
			t.Fatal(err)
		}
		*dir = filepath.Join(copied, name)
	}
	m, err := mix.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.BlockUsable(first); !errors.Is(err, mix.ErrBlockUsed) {
		t.Errorf("the used block: %v", err)
	}
	if err := m.Reply(context.Background(), []byte("1"), make([]packet.Payload, 1), []*packet.SURB{second}); !errors.Is(err, mix.ErrReplied) {
		t.Errorf("the same reply: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	r.close()
	r.cfg = cfg
	if pool, _ := r.stored(); pool != 1 {
		t.Errorf("%d packets in the pool", pool)
	}
}

// A mix that is given a StoreKey encrypts its logs of used blocks, too, and forgets none.
func TestReplyLogsAreEncrypted(t *testing.T) {
	r, path := replyRig(t, nil)
	r.open()
	block := newBlock(t, path, start.Add(7*day))
	if err := reply(r, "1", block); err != nil {
		t.Fatal(err)
	}
	r.close()
	clear := func() (n int) {
		t.Helper()
		manifests, err := filepath.Glob(filepath.Join(r.cfg.BlocksDir, "blocks-*", "manifest"))
		if err != nil || len(manifests) == 0 {
			t.Fatal(manifests, err)
		}
		for _, m := range manifests {
			b, err := os.ReadFile(m)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte("blocks-")) {
				n++
			}
		}
		return n
	}
	if clear() == 0 {
		t.Error("the logs are not where the test looks")
	}
	var err error
	if r.cfg.Vault, err = testVault(filepath.Dir(r.cfg.KeyDir)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.open()
		if err := r.mix.BlockUsable(block); !errors.Is(err, mix.ErrBlockUsed) {
			t.Errorf("the used block: %v", err)
		}
		r.close()
		if n := clear(); n != 0 {
			t.Errorf("%d logs in clear", n)
		}
	}
}
