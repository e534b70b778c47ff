package client_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/internal/clock"
	"mixminion/message"
)

// openPool opens the pool of a home directory, locked until the test ends or the pool is released.
func openPool(t *testing.T, c *client.Client) *client.FragmentPool {
	t.Helper()
	unlock, err := c.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unlock(); err != nil {
			t.Error(err)
		}
	}()
	pool, err := c.Fragments()
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// A poolTest is a home directory that is locked, with the fragments of a message to be put into its pool.
type poolTest struct {
	*testing.T
	client    *client.Client
	clock     *clock.Manual
	dir       string
	whole     []byte
	fragments []*message.Fragment
}

func newPoolTest(t *testing.T) *poolTest {
	t.Helper()
	c, clk, home := newHome(t)
	unlock, err := c.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unlock(); err != nil {
			t.Error(err)
		}
	})
	p := &poolTest{T: t, client: c, clock: clk, dir: filepath.Join(home, "fragments")}
	p.whole, p.fragments = fragmentsOf(t, 70000)
	return p
}

// fragmentsOf makes the fragments of a new message that does not compress.
func fragmentsOf(t testing.TB, size int) ([]byte, []*message.Fragment) {
	t.Helper()
	body := make([]byte, size)
	rand.Read(body)
	enc, err := message.Encode(rand.Reader, append([]byte("SUBJECT:x\n\n"), body...), 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []*message.Fragment
	for i := range enc.Payloads {
		d, err := message.DecodePayload(&enc.Payloads[i])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d.Fragment)
	}
	return body, list
}

func (p *poolTest) open() *client.FragmentPool {
	p.Helper()
	pool, err := p.client.Fragments()
	if err != nil {
		p.Fatal(err)
	}
	return pool
}

func (p *poolTest) add(pool *client.FragmentPool, f *message.Fragment) client.Partial {
	p.Helper()
	got, err := pool.Add(f, message.Opener{})
	if err != nil {
		p.Fatal(err)
	}
	return got
}

func (p *poolTest) close(pool *client.FragmentPool) {
	p.Helper()
	if err := pool.Close(); err != nil {
		p.Fatal(err)
	}
}

func (p *poolTest) file() string {
	return filepath.Join(p.dir, hex.EncodeToString(p.fragments[0].ID[:]))
}

func (p *poolTest) have() int {
	p.Helper()
	list, err := p.open().List()
	if err != nil {
		p.Fatal(err)
	}
	if len(list) == 0 {
		return 0
	}
	return list[0].Have
}

func TestFragmentPool(t *testing.T) {
	p := newPoolTest(t)
	if list, err := p.open().List(); err != nil || list != nil {
		t.Fatalf("an empty pool lists %v: %v", list, err)
	}
	id := p.fragments[0].ID
	for i, f := range p.fragments {
		pool := p.open() // as after a restart
		if r, err := pool.Reassemble(id, false); i == 0 && !errors.Is(err, client.ErrNoFragments) ||
			i > 0 && i < 4 && !errors.Is(err, message.ErrIncomplete) || i >= 4 && !bytes.Equal(r.Body, p.whole) {
			t.Errorf("with %d fragments: %d bytes, %v", i, len(r.Body), err)
		}
		for range 2 {
			if got := p.add(pool, f); got.Have != min(i+1, 4) || got.Need != 4 || got.ID != id || got.Ready() != (i >= 3) {
				t.Errorf("after %d fragments: %+v", i+1, got)
			}
		}
		p.close(pool)
		p.close(pool)
	}
	pool := p.open()
	r, err := pool.Reassemble(id, false)
	if err != nil || string(r.Headers) != "SUBJECT:x\n\n" || !bytes.Equal(r.Body, p.whole) {
		t.Errorf("headers %q, %d bytes: %v", r.Headers, len(r.Body), err)
	}
	short := client.Partial{ID: id}.ShortID()
	for _, digits := range []string{short, short[:4], strings.ToUpper(short), hex.EncodeToString(id[:])} {
		if got, err := pool.Find(digits); err != nil || got != id {
			t.Errorf("%s: %v", digits, err)
		}
	}
	for _, digits := range []string{"", short[:3], short + "x", hex.EncodeToString(id[:]) + "0"} {
		if _, err := pool.Find(digits); !errors.Is(err, client.ErrNoFragments) {
			t.Errorf("%s: %v", digits, err)
		}
	}
	if err := pool.Remove(id); err != nil {
		t.Fatal(err)
	}
	p.close(pool)
	pool = p.open()
	if _, err := pool.Add(p.fragments[0], message.Opener{}); !errors.Is(err, client.ErrFinished) {
		t.Errorf("late fragment: %v", err)
	}
	if _, err := pool.Find(short); !errors.Is(err, client.ErrNoFragments) {
		t.Errorf("a message that was removed is found: %v", err)
	}
	if p.have() != 0 {
		t.Error("something is left")
	}
	if len(pool.Problems()) > 0 {
		t.Error(pool.Problems())
	}
}

// No file tells more than the day, and nobody else can read it.
func TestFragmentPoolFiles(t *testing.T) {
	p := newPoolTest(t)
	_, other := fragmentsOf(t, 40000)
	pool := p.open()
	p.add(pool, p.fragments[0])
	p.add(pool, other[0])
	if err := pool.Remove(other[0].ID); err != nil {
		t.Fatal(err)
	}
	p.close(pool)
	entries, err := os.ReadDir(p.dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v: %v", entries, err)
	}
	for _, name := range []string{p.dir, p.file(), filepath.Join(p.dir, "finished")} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := info.ModTime().UTC(); !at.Equal(at.Truncate(24*time.Hour)) || at.After(noon) {
			t.Errorf("%s was changed at %s", name, at)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestFragmentPoolRejects(t *testing.T) {
	tampered := func(f *message.Fragment) *message.Fragment {
		g := *f
		g.Data = bytes.Clone(f.Data)
		g.Data[100] ^= 1
		return &g
	}
	for name, add := range map[string]func(*poolTest, *client.FragmentPool) error{
		"contents": func(p *poolTest, pool *client.FragmentPool) error {
			_, err := pool.Add(tampered(p.fragments[0]), message.Opener{})
			return err
		},
		"recipient": func(p *poolTest, pool *client.FragmentPool) error {
			_, err := pool.Add(p.fragments[1], message.Opener{Via: message.ViaIdentity})
			return err
		},
		"size": func(p *poolTest, pool *client.FragmentPool) error {
			f := *p.fragments[1]
			f.Size++
			_, err := pool.Add(&f, message.Opener{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPoolTest(t)
			pool := p.open()
			p.add(pool, p.fragments[0])
			p.close(pool)
			pool = p.open()
			if err := add(p, pool); !errors.Is(err, message.ErrInconsistent) {
				t.Fatalf("error %v", err)
			}
			p.close(pool)
			if p.have() != 0 {
				t.Error("the message is still there")
			}
			if _, err := p.open().Add(p.fragments[2], message.Opener{}); !errors.Is(err, client.ErrFinished) {
				t.Errorf("a further fragment: %v", err)
			}
		})
	}
	p := newPoolTest(t)
	f := *p.fragments[0]
	f.Size = 1 << 31
	if _, err := p.open().Add(&f, message.Opener{}); !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("a huge message: %v", err)
	}
	f.Size, f.Data = 100, f.Data[:10]
	if _, err := p.open().Add(&f, message.Opener{}); !errors.Is(err, message.ErrPayload) {
		t.Errorf("no fragment: %v", err)
	}
	if _, err := p.open().Add(p.fragments[0], message.Opener{Name: strings.Repeat("x", 256)}); err == nil {
		t.Error("an impossible name was taken")
	}
	c, _, _ := newHome(t)
	pool, err := c.Fragments()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Add(p.fragments[0], message.Opener{}); !errors.Is(err, client.ErrNotLocked) {
		t.Errorf("without lock: %v", err)
	}
	if err := pool.Remove(p.fragments[0].ID); !errors.Is(err, client.ErrNotLocked) {
		t.Errorf("without lock: %v", err)
	}
}

// Whatever a crash cuts off, the fragments before it are there, and the lost one can be added again.
func TestFragmentPoolCrash(t *testing.T) {
	p := newPoolTest(t)
	sizes := []int64{0}
	pool := p.open()
	for _, f := range p.fragments[:3] {
		p.add(pool, f)
		info, err := os.Stat(p.file())
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, info.Size())
	}
	p.close(pool)
	text, err := os.ReadFile(p.file())
	if err != nil {
		t.Fatal(err)
	}
	for complete, size := range sizes {
		for _, more := range []int64{0, 1, 50, 80, 1000, 28000} {
			if size+more > int64(len(text)) {
				continue
			}
			if err := os.WriteFile(p.file(), text[:size+more], 0o600); err != nil {
				t.Fatal(err)
			}
			pool := p.open()
			for i, f := range p.fragments[:3] {
				want := max(complete, i+1)
				if got := p.add(pool, f); got.Have != want {
					t.Errorf("%d bytes left: %d fragments after adding number %d, want %d", size+more, got.Have, i, want)
				}
			}
			if len(pool.Problems()) > 0 {
				t.Errorf("%d bytes left: %v", size+more, pool.Problems())
			}
			p.close(pool)
			if again, err := os.ReadFile(p.file()); err != nil || !bytes.Equal(again, text) {
				t.Errorf("%d bytes left: the file is not what it was: %v", size+more, err)
			}
		}
	}
	// The file of a message that was being removed counts no more, and goes with the next change.
	pool = p.open()
	if err := pool.Remove(p.fragments[0].ID); err != nil {
		t.Fatal(err)
	}
	p.close(pool)
	if err := os.WriteFile(p.file(), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if p.have() != 0 {
		t.Error("a removed message came back")
	}
}

func TestFragmentPoolDamage(t *testing.T) {
	p := newPoolTest(t)
	pool := p.open()
	for _, f := range p.fragments[:3] {
		p.add(pool, f)
	}
	p.close(pool)
	text, err := os.ReadFile(p.file())
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int]int{0: 0, 8: 0, 28: 0, 34: 0, 36: 0, 37: 0, 40: 0, 1000: 2, 40000: 2, len(text) - 1: 2} {
		damaged := bytes.Clone(text)
		damaged[at] ^= 0x80
		if err := os.WriteFile(p.file(), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		pool := p.open()
		list, err := pool.List()
		if err != nil {
			t.Fatal(err)
		}
		have := 0
		if len(list) > 0 {
			have = list[0].Have
		}
		problems := pool.Problems()
		if have != want || len(problems) != 1 || !errors.Is(problems[0], client.ErrFragmentFile) {
			t.Errorf("byte %d: %d fragments, problems %v", at, have, problems)
			continue
		}
		if s := problems[0].Error(); strings.Contains(s, "\n") || !strings.Contains(s, p.file()) {
			t.Errorf("problem %q", s)
		}
		if _, err := pool.Find(hex.EncodeToString(p.fragments[0].ID[:6])); err != nil {
			t.Errorf("byte %d: the message cannot be removed: %v", at, err)
		}
		for _, f := range p.fragments[:4] {
			p.add(pool, f)
		}
		p.close(pool)
		if r, err := p.open().Reassemble(p.fragments[0].ID, false); err != nil || !bytes.Equal(r.Body, p.whole) {
			t.Errorf("byte %d: reassembled: %v", at, err)
		}
	}
	// A damaged list of finished messages is said to be so, and used as far as it goes.
	if err := pool.Remove(p.fragments[0].ID); err != nil {
		t.Fatal(err)
	}
	p.close(pool)
	f, err := os.OpenFile(filepath.Join(p.dir, "finished"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("rubbish\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	pool = p.open()
	if problems := pool.Problems(); len(problems) != 1 || !errors.Is(problems[0], client.ErrFragmentFile) {
		t.Errorf("problems %v", problems)
	}
	if _, err := pool.Add(p.fragments[0], message.Opener{}); !errors.Is(err, client.ErrFinished) {
		t.Errorf("late fragment: %v", err)
	}
}

// Files of other programs in the directory are left alone.
func TestFragmentPoolForeignFiles(t *testing.T) {
	p := newPoolTest(t)
	if err := os.MkdirAll(filepath.Join(p.dir, strings.Repeat("ab", message.IDLen)), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"msg_ABCDEFGH", "meta_ABCDEFGH", strings.Repeat("AB", message.IDLen)} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := p.open()
	p.add(pool, p.fragments[0])
	p.close(pool)
	if list, err := pool.List(); err != nil || len(list) != 1 || len(pool.Problems()) > 0 {
		t.Errorf("%v, problems %v: %v", list, pool.Problems(), err)
	}
	if n, err := p.client.OldFragments(); n != 1 || err != nil {
		t.Errorf("%d fragments of 0.0.8: %v", n, err)
	}
}

func TestFragmentPoolUnwritable(t *testing.T) {
	p := newPoolTest(t)
	if err := os.WriteFile(p.dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Fragments(); err == nil {
		t.Error("a file was opened as the pool")
	}

	// Decode says so for each fragment, and reads the other messages.
	c, _, home := newHome(t)
	if err := os.WriteFile(filepath.Join(home, "fragments"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := string(readVector(t, "armor-fragments.asc")) + plain("Good.\n")
	list := decode(t, c, strings.NewReader(text), client.DecodeOptions{})
	for i, r := range list {
		if last := i == len(list)-1; (r.err == nil) != last || last && string(r.Body) != "Good.\n" {
			t.Errorf("message %d: %q, %v", i+1, r.Body, r.err)
		}
	}
	unlock, err := c.Lock(t.Context(), nil) // it is free again
	if err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}
