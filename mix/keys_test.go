package mix_test

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/mix"
	"mixminion/packet"
)

func (r *rig) keyPath(names ...string) string {
	return filepath.Join(append([]string{r.cfg.KeyDir}, names...)...)
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err == nil
}

func mustWrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// keySets lists the key sets on disk.
func (r *rig) keySets() []string {
	r.t.Helper()
	paths, err := filepath.Glob(r.keyPath("key_*"))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	return paths
}

func TestFirstStart(t *testing.T) {
	r := newEmptyRig(t, nil).open()
	if !r.mix.Fresh() {
		t.Error("the first start is not called fresh")
	}
	identity := mustRead(t, r.keyPath("identity.key"))
	key := mustRead(t, r.keyPath("key_0001", "mix.key"))
	for name, data := range map[string][]byte{"identity": identity, "packet key": key} {
		if block, rest := pem.Decode(data); block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
			t.Errorf("the %s is not one PEM block", name)
		}
	}
	modes := map[string]fs.FileMode{
		".": 0o700, "identity.key": 0o600, mix.CurrentDescriptorFile: 0o644,
		"key_0001": 0o700, "key_0001/mix.key": 0o600, "key_0001/ServerDesc": 0o644, "key_0001/replay": 0o700,
	}
	err := filepath.WalkDir(r.cfg.KeyDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(r.cfg.KeyDir, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want, known := modes[name]
		switch {
		case known && info.Mode().Perm() != want:
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		case !known && !strings.HasPrefix(name, "key_0001/replay/"):
			t.Errorf("unexpected file %s", name)
		case !known && info.Mode().Perm()&0o077 != 0:
			t.Errorf("%s has mode %v", name, info.Mode().Perm())
		}
		delete(modes, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range modes {
		t.Errorf("%s is missing", name)
	}
	for _, dir := range []string{r.cfg.QueueDir} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
	descs := r.mix.Descriptors()
	if len(descs) != 1 {
		t.Fatalf("%d descriptors", len(descs))
	}
	d, midnight := descs[0], start.Truncate(day)
	if !d.ValidAfter.Equal(midnight) || !d.ValidUntil.Equal(midnight.Add(30*day)) || !d.Published.Equal(start) {
		t.Errorf("valid from %v to %v, published %v", d.ValidAfter, d.ValidUntil, d.Published)
	}
	if d.KeyID() != r.mix.KeyID() || d.Identity.N.BitLen() != 2048 || d.PacketKey.N.BitLen() != 2048 {
		t.Error("the descriptor has other keys than the mix")
	}
	if got := mustRead(t, r.keyPath(mix.CurrentDescriptorFile)); !bytes.Equal(got, d.Text()) {
		t.Error("current-desc does not hold the descriptor")
	}

	id := r.mix.KeyID()
	r.reopen()
	if r.mix.Fresh() {
		t.Error("the second start is called fresh")
	}
	if r.mix.KeyID() != id || !bytes.Equal(mustRead(t, r.keyPath("identity.key")), identity) {
		t.Error("the identity key changed")
	}
	if !bytes.Equal(mustRead(t, r.keyPath("key_0001", "mix.key")), key) || len(r.keySets()) != 1 {
		t.Error("the packet key changed")
	}
	if !bytes.Equal(r.mix.Descriptors()[0].Text(), d.Text()) {
		t.Error("the descriptor changed")
	}
}

// ownWeekday is the weekday on which a mix begins new keys: each mix has one of its own, and a network has all of them.
func ownWeekday(id crypt.KeyID) int { return int(binary.BigEndian.Uint64(id[:8]) % 7) }

// checkKeys demands what must hold of the key sets on disk at any time after a start or a maintenance.
func (r *rig) checkKeys(when string) {
	r.t.Helper()
	now := r.clk.Now()
	var all []*directory.Descriptor
	inUse := 0
	for name, d := range descriptors(r.t, r.cfg.KeyDir) {
		all = append(all, d)
		if over := d.ValidUntil.Add(r.cfg.KeyOverlap); now.After(over) {
			r.t.Errorf("%s: %s is still there, %v after its end", when, name, now.Sub(over))
		} else if !now.Before(d.ValidAfter.Add(-day)) {
			inUse++
		}
		if !exists(r.t, r.keyPath(name, "mix.key")) || !exists(r.t, r.keyPath(name, "replay")) {
			r.t.Errorf("%s: %s is not whole", when, name)
		}
		if d.ValidUntil.Sub(d.ValidAfter) != r.cfg.KeyLifetime {
			r.t.Errorf("%s: %s lives from %v to %v", when, name, d.ValidAfter, d.ValidUntil)
		}
	}
	slices.SortFunc(all, func(a, b *directory.Descriptor) int { return a.ValidAfter.Compare(b.ValidAfter) })
	lead := min(8*day, ((r.cfg.KeyLifetime - 4*day) / 2).Truncate(day))
	for i := 1; i < len(all); i++ {
		after, latest := all[i].ValidAfter, all[i-1].ValidUntil.Add(-lead)
		aligned := lead == 8*day
		if early := latest.Sub(after); early < 0 || early > 6*day || !aligned && early != 0 {
			r.t.Errorf("%s: a key ends at %v, the next one begins at %v", when, all[i-1].ValidUntil, after)
		}
		if aligned && int(after.Weekday()) != ownWeekday(r.mix.KeyID()) {
			r.t.Errorf("%s: a key begins on a %v", when, after.Weekday())
		}
	}
	// Packets may travel for six days, and the hops of a path must be valid for all of it.
	if lead >= 7*day && !slices.ContainsFunc(all, func(d *directory.Descriptor) bool { return d.ValidOver(now, now.Add(6*day)) }) {
		r.t.Errorf("%s: no descriptor covers the next six days", when)
	}
	if inUse < 1 || inUse > 2 {
		r.t.Errorf("%s: %d keys are in use", when, inUse)
	}
	if end := all[len(all)-1].ValidUntil; !end.After(now.Add(min(14*day, r.cfg.KeyLifetime))) {
		r.t.Errorf("%s: the last key announced ends at %v", when, end)
	}
	published := r.mix.Descriptors()
	var text []byte
	for _, d := range published {
		if !now.Before(d.ValidUntil) {
			r.t.Errorf("%s: a descriptor is published that ended at %v", when, d.ValidUntil)
		}
		text = append(text, d.Text()...)
	}
	if !published[0].LiveAt(now) {
		r.t.Errorf("%s: the first descriptor is not valid now", when)
	}
	if !bytes.Equal(mustRead(r.t, r.keyPath(mix.CurrentDescriptorFile)), text) {
		r.t.Errorf("%s: current-desc holds something else", when)
	}
}

func TestRotationByReopening(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil).open()
	days := 100
	if underRace {
		days = 30
	}
	for d := range days {
		r.clk.Advance(day)
		r.reopen()
		r.checkKeys(start.Add(time.Duration(d+1) * day).Format(time.DateOnly))
	}
	if got := r.keySets(); !underRace && (slices.Contains(got, "key_0001") || slices.Contains(got, "key_0002") || !slices.Contains(got, "key_0005")) {
		t.Errorf("after 100 days there are %v", got)
	}
}

// A mix that runs on looks after its keys every hour.
func TestRotationWhileRunning(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *mix.Config) {
		c.KeyLifetime, c.KeyOverlap = 10*day, day
		c.Interval = 1000 * day // nothing but the keys matters here
		c.Exits = []mix.ExitConfig{{Type: testExitType, Exit: new(fakeExit)}}
	})
	if err := os.RemoveAll(r.keyPath("key_0001")); err != nil { // its lifetime is another one
		t.Fatal(err)
	}
	r.run()
	id := r.mix.KeyID()
	nodes := map[string]packet.Node{} // by the name of the key set
	r.clk.await(t, time.Hour)
	days := 24
	if underRace {
		days = 6
	}
	for h := 1; h <= days*24; h++ {
		r.clk.Advance(time.Hour)
		r.clk.await(t, time.Hour)
		if h%8 != 7 {
			continue
		}
		r.checkKeys(r.clk.Now().Format(time.DateTime))
		for name, d := range descriptors(t, r.cfg.KeyDir) {
			nodes[name] = d.Node()
		}
	}
	for name, node := range nodes {
		p, _ := packetVia(t, []packet.Node{node}, []packet.Node{node}, testExitType)
		if errs := r.send(items(p)); errs[0] != nil { // whatever the key: acknowledgements tell nothing
			t.Errorf("packet to %s: %v", name, errs[0])
		}
	}
	if r.mix.KeyID() != id {
		t.Error("the identity changed")
	}
	if got := r.keySets(); len(got) > 3 || !underRace && (slices.Contains(got, "key_0001") || slices.Contains(got, "key_0002")) {
		t.Errorf("after %d days there are %v", days, got)
	}
	if n := r.log.count("level=ERROR"); n > 0 {
		t.Errorf("%d errors in the log", n)
	}
}

// What a key opens: nothing until a day before Valid-After, everything until the overlap after Valid-Until is over, nothing then.
func TestKeysOpenWhileInUse(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *mix.Config) {
		c.Exits = []mix.ExitConfig{{Type: testExitType, Exit: new(fakeExit)}}
	})
	midnight := start.Truncate(day)
	r.clk.Advance(14 * day)
	r.open()
	descs := r.mix.Descriptors()
	if len(descs) != 2 {
		t.Fatalf("%d descriptors", len(descs))
	}
	nodes := []packet.Node{descs[0].Node(), descs[1].Node()}
	second := descs[1].ValidAfter.Sub(midnight)
	stored := 0
	for _, c := range []struct {
		at    time.Duration // since the first key's Valid-After
		opens [2]bool
	}{
		{second - day - time.Second, [2]bool{true, false}},
		{second - day, [2]bool{true, true}},
		{32 * day, [2]bool{true, true}},
		{32*day + time.Second, [2]bool{false, true}},
		{second + 32*day, [2]bool{false, true}},
		{second + 32*day + time.Second, [2]bool{false, false}},
	} {
		r.clk.Advance(midnight.Add(c.at).Sub(r.clk.Now()))
		r.reopen()
		for i, opens := range c.opens {
			if opens {
				stored++
			}
			p, _ := packetVia(t, nodes[i:i+1], nodes[i:i+1], testExitType)
			hop := r.node.Hop
			r.run()
			r.node.KeyID = hop.KeyID
			r.mustSend(p)
			r.close()
			if pool, queues := r.stored(); pool+len(queues) != stored {
				t.Errorf("after %v a packet to key %d: %d stored, want %d", c.at, i+1, pool, stored)
				stored = pool
			}
			r.open()
		}
	}
}

func TestConfigurationChange(t *testing.T) {
	r := newRig(t, nil).open()
	before := r.mix.Descriptors()[0]
	r.clk.Advance(3 * time.Hour)
	port := r.cfg.Port
	r.cfg.Port = port%60000 + 1
	r.cfg.Comments = "moved"
	r.reopen()
	after := r.mix.Descriptors()[0]
	if len(r.keySets()) != 1 || after.KeyID() != before.KeyID() || !after.PacketKey.Equal(before.PacketKey) || after.Nickname != before.Nickname {
		t.Error("the keys or the nickname changed")
	}
	if after.Incoming.Port != r.cfg.Port || after.Comments != "moved" {
		t.Errorf("port %d, comments %q", after.Incoming.Port, after.Comments)
	}
	if !after.Published.Equal(start.Add(3*time.Hour)) || !after.ValidAfter.Equal(before.ValidAfter) || !after.ValidUntil.Equal(before.ValidUntil) {
		t.Errorf("published %v, valid from %v to %v", after.Published, after.ValidAfter, after.ValidUntil)
	}
	if r.log.count("keys and descriptors are up to date") != 2 { // the copied keys name another port
		t.Errorf("the log does not tell of the change: %s", r.log.text.String())
	}

	r.clk.Advance(time.Hour)
	r.reopen()
	if again := r.mix.Descriptors()[0]; again.Digest() != after.Digest() {
		t.Error("without a change the descriptor is signed anew")
	}
}

// A descriptor that was written before there was TLS-Versions is signed anew at the start, so that nobody takes an upgraded mix for one of
// series 0.0.8.
func TestUpgradeSaysTLSVersions(t *testing.T) {
	r := newRig(t, nil).open()
	r.reopen() // the copied keys name another port
	now := r.mix.Descriptors()[0]
	f := now.Fields
	in, out := *f.Incoming, *f.Outgoing
	in.TLS, out.TLS = nil, nil
	f.Incoming, f.Outgoing = &in, &out
	text, err := directory.SignDescriptor(readPrivate(t, r.keyPath("identity.key")), f)
	if err != nil || bytes.Contains(text, []byte("TLS-Versions")) {
		t.Fatalf("%v\n%s", err, text)
	}
	r.close()
	mustWrite(t, r.keyPath("key_0001", "ServerDesc"), text)
	r.clk.Advance(time.Hour)
	r.open()
	after := r.mix.Descriptors()[0]
	if !after.AcceptsTLS13() || !after.CanRelayTo(now) || !now.CanRelayTo(after) || !after.Published.After(now.Published) {
		t.Errorf("published %v, TLS %v and %v", after.Published, after.Incoming.TLS, after.Outgoing.TLS)
	}
}

// The first implementation, with an old OpenSSL, wrote PKCS#1.
func TestIdentityInPKCS1(t *testing.T) {
	r := newEmptyRig(t, nil)
	key := testKey(t, 0)
	if err := os.MkdirAll(r.cfg.KeyDir, 0o700); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, r.keyPath("identity.key"), pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key),
	}))
	r.open()
	if r.mix.Fresh() || r.mix.KeyID() != crypt.NewKeyID(&key.PublicKey) {
		t.Error("the mix has another identity")
	}
}

// A clock that was set back far leaves no key to use. The mix says so and makes another one; it destroys nothing.
func TestClockInThePast(t *testing.T) {
	for _, now := range []time.Time{start.Add(-20 * day), start.Add(-20 * 365 * day), time.Unix(0, 0)} {
		r := newRig(t, nil)
		r.clk = newTestClock(now)
		r.cfg.Clock = r.clk
		if err := r.tryOpen(); err != nil {
			t.Errorf("in %d: %v", now.Year(), err)
		}
		if r.log.count("clock") != 1 {
			t.Errorf("in %d: the log does not ask about the clock", now.Year())
		}
		if !exists(t, r.keyPath("key_0001", "mix.key")) || len(r.keySets()) != 2 {
			t.Errorf("in %d: the keys are %v", now.Year(), r.keySets())
		}
	}
}

func TestOpenTwice(t *testing.T) {
	r := newRig(t, nil).open()
	if m, err := mix.Open(r.cfg); err == nil {
		t.Errorf("a mix was opened twice: %v", m.Close())
	}
}

func TestConfigurationErrors(t *testing.T) {
	for name, change := range map[string]func(*mix.Config){
		"key directory":   func(c *mix.Config) { c.KeyDir = "" },
		"queue directory": func(c *mix.Config) { c.QueueDir = "" },
		"interval":        func(c *mix.Config) { c.Interval = 0 },
		"jitter below 0":  func(c *mix.Config) { c.Jitter = -0.1 },
		"jitter of 1":     func(c *mix.Config) { c.Jitter = 1 },
		"lifetime":        func(c *mix.Config) { c.KeyLifetime = day - 1 },
		"overlap below 0": func(c *mix.Config) { c.KeyOverlap = -1 },
		"long overlap":    func(c *mix.Config) { c.KeyOverlap = c.KeyLifetime },
		"rate 0":          func(c *mix.Config) { c.Rule = mix.Rule{Algorithm: mix.Binomial, MinSize: 5} },
		"rate above 1":    func(c *mix.Config) { c.Rule = mix.Rule{Algorithm: mix.Cottrell, MinSize: 5, Rate: 1.01} },
		"minimum below 0": func(c *mix.Config) { c.Rule = mix.Rule{Algorithm: mix.Cottrell, MinSize: -1, Rate: 0.5} },
	} {
		r := newEmptyRig(t, change)
		if err := r.tryOpen(); err == nil || !strings.Contains(err.Error(), "mix configuration") {
			t.Errorf("%s: %v", name, err)
		}
		if exists(t, r.cfg.KeyDir) && r.cfg.KeyDir != "" {
			t.Errorf("%s: the directory was made", name)
		}
	}
}
