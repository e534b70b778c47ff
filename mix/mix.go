// Package mix is the mix: it receives packets, takes off their layer, holds them in a pool, and sends random batches of them on or out
// of the network. The source is minion-spec 3.2.5 and A.1.
//
// How a packet walks through it: intake (receive.go) unwraps and commits, together with the replay check; mixing (batch.go) moves
// a random batch from the pool to one queue per next hop or exit; dispatch (dispatch.go) empties the queues, each on its own retry
// schedule. Everything that must survive a crash is in package store.
package mix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/logging"
	"mixminion/internal/store"
	"mixminion/internal/store/durable"
	"mixminion/mmtp"
)

// A Mix is one mix. Open it, run it, close it.
type Mix struct {
	cfg   Config                 // as it was at Open
	live  atomic.Pointer[Config] // as Reload last changed it
	keyID crypt.KeyID
	store *store.Store
	fresh bool

	ring   *keyRing                  // changed by Open and maintain only
	keyUse sync.RWMutex              // held for writing while key sets are destroyed
	dead   map[*store.ReplayLog]bool // guarded by keyUse
	keys   atomic.Pointer[keysInUse]

	links    *mmtp.LinkIdentity
	legacy   *mmtp.LegacyIdentity // nil: no legacy links
	dirs     *directories
	intake   *intake
	dispatch *dispatcher

	errands chan func()   // to be done by the goroutine that looks after the keys
	ended   chan struct{} // closed when Run is over
	server  atomic.Pointer[mmtp.Server]

	draining atomic.Bool // drain.on, for those who ask often
	drain    drain

	replies sync.Mutex // held while a reply is sent
	blocks  blockLogs  // guarded by replies

	dialer mmtp.Dialer
	stats  statistics
	topUp  topUp
	// coverChanged holds a token when Config.Cover has changed.
	coverChanged chan struct{}
	bandwidth    mmtp.Bandwidth
	known        knownMixes
	counts       counters
	full         occasional
	damage       occasional
	noCover      occasional
}

// Open prepares a mix: it reads its keys and store, or on the first start makes them, and brings the descriptor up to date. Another
// process that has the mix open makes it fail with store.ErrLocked.
func Open(cfg Config) (*Mix, error) { return open(cfg, nil) }

// open is Open with something to do before the keys are loaded.
func open(cfg Config, prepare func(*keyRing) error) (_ *Mix, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := &Mix{cfg: cfg, dead: map[*store.ReplayLog]bool{}, errands: make(chan func()), ended: make(chan struct{}), coverChanged: make(chan struct{}, 1)}
	m.live.Store(&m.cfg)
	m.dialer = m.cfg.dialer()
	for _, dir := range []string{cfg.KeyDir, cfg.QueueDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make directory: %w", err)
		}
	}
	disk, err := cfg.Disk()
	if err != nil {
		return nil, err
	}
	m.store, err = store.Open(cfg.QueueDir, store.Options{FS: disk, MaxBytes: cfg.MaxDisk})
	if err != nil {
		return nil, fmt.Errorf("open packet store: %w", mendSealed(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.store.Close())
		}
	}()
	identity, fresh, err := loadIdentity(cfg.keyFiles(), cfg.KeyDir, max(cfg.IdentityKeyBits, packetKeyBits))
	if err != nil {
		return nil, err
	}
	m.fresh = fresh
	m.keyID = crypt.NewKeyID(&identity.PublicKey)
	m.ring = &keyRing{
		dir: cfg.KeyDir, files: cfg.keyFiles(), identity: identity, provider: cfg.Provider, store: m.store,
		describe: m.describe, log: m.cfg.Logger, lifetime: cfg.KeyLifetime, overlap: cfg.KeyOverlap,
	}
	if m.dirs, err = newDirectories(&m.cfg); err != nil {
		return nil, err
	}
	if prepare != nil {
		if err := prepare(m.ring); err != nil {
			return nil, err
		}
	}
	if err := m.ring.load(); err != nil {
		return nil, err
	}
	if err := m.maintain(); err != nil {
		return nil, err
	}
	if err := m.openBlockLogs(); err != nil {
		return nil, err
	}
	m.dropBlockLogs(cfg.Clock.Now())
	if err := m.store.DropOrphans(); err != nil {
		return nil, fmt.Errorf("packet store: %w", err)
	}
	if n := m.store.Usage().Clear; n > 0 {
		cfg.Logger.Warn("there was no room to encrypt all packets of the time before StoreKey was given; it goes on as room comes", "bytes", n)
	}
	for _, damage := range m.store.Damage() {
		cfg.Logger.Error("the packet store is damaged; what was there is lost", "place", damage.String())
	}
	if m.links, err = mmtp.NewLinkIdentity(identity, cfg.Nickname, cfg.Clock.Now); err != nil {
		return nil, err
	}
	if cfg.LegacyIncoming {
		if m.legacy, err = mmtp.NewLegacyIdentity(identity, cfg.Nickname, cfg.Clock.Now); err != nil {
			return nil, err
		}
	}
	m.bandwidth.Set(cfg.Bandwidth, cfg.BandwidthSpike)
	m.topUp.aim(cfg.Cover)
	m.intake = newIntake(m)
	m.dispatch = newDispatcher(m)
	return m, nil
}

// Close closes the store. It must not be called while Run is running.
func (m *Mix) Close() error { return m.store.Close() }

// Fresh reports whether Open made a new identity: this is the first start.
func (m *Mix) Fresh() bool { return m.fresh }

// KeyID is the mix's identity.
func (m *Mix) KeyID() crypt.KeyID { return m.keyID }

// Descriptors returns the descriptors to publish, oldest first.
func (m *Mix) Descriptors() []*directory.Descriptor {
	m.keyUse.RLock()
	defer m.keyUse.RUnlock()
	return m.ring.current(m.cfg.Clock.Now())
}

// CurrentDescriptorFile is the file in the key directory that holds the descriptors to give to others.
const CurrentDescriptorFile = "current-desc"

// Run serves the listeners and mixes until ctx is done; then it takes no more packets, acknowledges those it has, stops sending, and
// returns nil. It returns an error if the mix cannot go on. It may be called once.
func (m *Mix) Run(ctx context.Context, listeners ...net.Listener) error {
	server, err := mmtp.NewServer(mmtp.ServerConfig{
		Certificate: m.links.Certificate,
		Legacy:      m.legacy,
		Handler:     m.intake,
		Logger:      m.cfg.Logger,
		Limits:      m.cfg.Incoming,
		Known:       m.known.at,
		Bandwidth:   &m.bandwidth,
	})
	if err != nil {
		return err
	}
	m.server.Store(server)
	defer close(m.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var mu sync.Mutex
	var failure error
	fail := func(err error) {
		if err == nil {
			return
		}
		mu.Lock()
		failure = errors.Join(failure, err)
		mu.Unlock()
		cancel()
	}

	// Acknowledgements need workers and ticks, so these outlive the server; nothing of theirs hears of ctx.
	var workers, ticks, rest sync.WaitGroup
	for range m.cfg.Workers {
		workers.Go(m.intake.work)
	}
	stopTicks := make(chan struct{})
	ticks.Go(func() { fail(m.intake.ticks(stopTicks)) })
	rest.Go(func() { fail(m.mixing(ctx)) })
	rest.Go(func() { fail(m.dispatch.run(ctx)) })
	rest.Go(func() { fail(m.maintenance(ctx)) })
	rest.Go(func() { fail(m.reporting(ctx)) })
	if m.dirs.client.Trusts() {
		rest.Go(func() { fail(m.download(ctx)) })
	}
	for i, base := range m.cfg.PublishTo {
		rest.Go(func() { fail(m.publish(ctx, base, m.dirs.changed[i], &m.dirs.again[i])) })
	}

	var cover sync.WaitGroup
	cover.Go(func() { fail(m.covering(ctx)) })
	if m.cfg.Cover > 0 && !m.covers() {
		m.cfg.Logger.Warn("no cover traffic: it needs [Outgoing/MMTP], and a directory to choose servers from")
	}

	counted := make([]net.Listener, len(listeners))
	for i, l := range listeners {
		counted[i] = countedListener{l, &m.stats}
	}
	fail(server.Serve(ctx, counted...))
	cancel()
	cover.Wait() // it hands packets to the workers
	close(m.intake.jobs)
	workers.Wait()
	close(stopTicks)
	ticks.Wait()
	rest.Wait()
	return failure
}

// maintain makes the keys that are needed now and soon, signs descriptors anew that no longer fit the configuration, puts the right
// keys into use and destroys those whose time is over.
//
// Keys that are there are put into use even if new ones cannot be made.
func (m *Mix) maintain() error {
	now := m.cfg.Clock.Now()
	over := m.ring.expired(now)
	if len(over) > 0 {
		m.retire(over)
	}
	changed, err := m.renew(now)
	use, useErr := newKeysInUse(m.ring.inUse(now))
	if useErr != nil {
		return errors.Join(err, useErr)
	}
	m.keys.Store(use)
	if err != nil {
		return err
	}
	if err := m.writeDescriptors(now); err != nil {
		return err
	}
	if changed {
		m.dirs.announce()
	}
	if changed || len(over) > 0 {
		m.cfg.Logger.Info("keys and descriptors are up to date", "file", logging.Public(m.descriptorPath()))
	}
	return nil
}

// renew makes the keys and descriptors that are needed, and reports whether there were any.
func (m *Mix) renew(now time.Time) (changed bool, err error) {
	for {
		after, needed := m.ring.nextPeriod(now)
		if !needed {
			break
		}
		set, err := m.ring.create(now, after)
		if err != nil {
			return changed, fmt.Errorf("make packet key: %w", err)
		}
		m.keyUse.Lock()
		m.ring.add(set)
		m.keyUse.Unlock()
		changed = true
	}
	for _, s := range m.ring.sets {
		desc, err := m.ring.refresh(s, now)
		if err != nil {
			return changed, fmt.Errorf("sign descriptor: %w", err)
		}
		if desc != nil {
			m.keyUse.Lock()
			s.desc = desc
			m.keyUse.Unlock()
			changed = true
		}
	}
	return changed, nil
}

// retire destroys key sets. What cannot be destroyed now is not used any more all the same, and destroyed at the next start.
func (m *Mix) retire(over []*keySet) {
	m.keyUse.Lock()
	for _, s := range over {
		m.dead[s.log] = true
	}
	err := m.ring.forget(over)
	m.keyUse.Unlock()
	for _, s := range over {
		err = errors.Join(err, m.ring.destroy(s.dir))
	}
	if err != nil {
		m.cfg.Logger.Error("cannot destroy an expired packet key; will try again at the next start", "error", err)
	}
}

func (m *Mix) descriptorPath() string { return filepath.Join(m.cfg.KeyDir, CurrentDescriptorFile) }

func (m *Mix) writeDescriptors(now time.Time) error {
	var text []byte
	for _, d := range m.ring.current(now) {
		text = append(text, d.Text()...)
	}
	return durable.WriteFile(m.descriptorPath(), text, 0o644)
}

// living leaves out entries whose key was destroyed after their packet was unwrapped. keyUse is held.
func (m *Mix) living(entries []store.Entry) []store.Entry {
	if len(m.dead) == 0 {
		return entries
	}
	kept := entries[:0]
	for _, e := range entries {
		if !m.dead[e.Log] {
			kept = append(kept, e)
		}
	}
	return kept
}

const maintenanceInterval = time.Hour

// maintenance looks after the keys every hour, and sees to it daily that what was erased leaves the disk. A failure is logged and
// tried again: what is in use goes on working.
func (m *Mix) maintenance(ctx context.Context) error {
	swept := m.cfg.Clock.Now()
	m.upkeep(ctx)
	for {
		if !m.runErrands(ctx, m.cfg.Clock.After(maintenanceInterval)) {
			return nil
		}
		if err := m.maintain(); err != nil {
			m.cfg.Logger.Error("cannot bring keys up to date; will try again in an hour", "error", err)
		}
		now := m.cfg.Clock.Now()
		m.dropBlockLogs(now)
		m.upkeep(ctx)
		if now.Sub(swept) < day {
			continue
		}
		swept = now
		switch err := m.store.Sweep(ctx); {
		case err == nil || ctx.Err() != nil:
		case isFatal(err):
			return fmt.Errorf("packet store: %w", err)
		default:
			m.cfg.Logger.Error("erased packets are still on the disk; will try again in a day", "error", err)
		}
	}
}

// upkeep has the exits look after what they keep.
func (m *Mix) upkeep(ctx context.Context) {
	for _, x := range m.live.Load().Exits {
		if x.Upkeep == nil {
			continue
		}
		if err := x.Upkeep(ctx); err != nil && ctx.Err() == nil {
			m.cfg.Logger.Error("an exit cannot put its files in order; will try again in an hour", "exit", x.Type.String(), "error", err)
		}
	}
}

// roundedNow is the time as it may be stored: no finer than the mix interval, in seconds since 1970.
func (m *Mix) roundedNow() uint32 {
	return uint32(m.cfg.Clock.Now().Truncate(max(m.live.Load().Interval, time.Second)).Unix())
}

func (m *Mix) warnFull() {
	if m.full.now(m.cfg.Clock.Now()) {
		m.cfg.Logger.Warn("the packet store is full: packets are being rejected until some have left. Raise MaxDisk or free disk space")
	}
}

// warnDamage says that a packet could not be read.
func (m *Mix) warnDamage() {
	if m.damage.now(m.cfg.Clock.Now()) {
		m.cfg.Logger.Error("the packet store is damaged: a packet cannot be read and is lost. Look whether the disk has errors; " +
			"mixminiond check --store finds what else is damaged when the mix is stopped")
	}
}

// occasional lets something happen, at most once in a while: lines that anybody can cause must not fill the log or tell of traffic.
type occasional struct {
	mu   sync.Mutex
	last time.Time
}

const occasion = time.Hour

func (o *occasional) now(t time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.last.IsZero() && t.Sub(o.last) < occasion {
		return false
	}
	o.last = t
	return true
}
