package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mixminion/client"
	"mixminion/client/internal/agentwire"
	"mixminion/internal/clock"
	"mixminion/internal/localsock"
	"mixminion/internal/store/durable"
	"mixminion/internal/store/lockfile"
	"mixminion/path"
)

// Defaults of a Config.
const (
	DefaultMean     = 30 * time.Minute
	DefaultPerEvent = 1
)

// MaxPerEvent bounds how many packets leave at one event.
const MaxPerEvent = 100

// ErrRunning says that an agent works on this home directory already.
var ErrRunning = errors.New("an agent runs for this home directory already")

// Config says how an agent works. The zero value is good.
type Config struct {
	Mean     time.Duration // between two events, on average; 0 means DefaultMean
	PerEvent int           // packets that leave at each event; 0 means DefaultPerEvent
	// Path is the specification by which the user's messages find their way when they say nothing else; dummies follow it. The zero value
	// is four random servers.
	Path path.Spec
	// Refresh fetches the newest directory. It is called at random times, which depend on nothing but whether the last call went well.
	// nil means that there is nothing to fetch.
	Refresh func(context.Context) error
	Program string      // how the agent introduces itself to front ends
	Clock   clock.Clock // the system's by default
}

// An Agent works on one home directory.
type Agent struct {
	client   *client.Client
	cfg      Config
	clock    clock.Clock
	rnd      io.Reader
	deliver  func(context.Context, client.PreparedPacket) error
	lock     *os.File
	listener net.Listener
	events   hub
	stop     context.CancelFunc // ends Run
	stopped  context.Context

	mu       sync.Mutex
	claimed  map[string]bool // packets that are chosen for an event, until their attempt is over
	problem  error           // why the last event had no dummies, nil if it had
	outdated error           // why the last refresh failed, nil if it did not
}

// New takes the home directory of c for an agent, and opens the socket that front ends talk to it by. The error wraps ErrRunning if
// another agent has it. The caller calls Run, or Close.
func New(c *client.Client, cfg Config) (_ *Agent, err error) {
	if cfg.Mean == 0 {
		cfg.Mean = DefaultMean
	}
	if cfg.PerEvent == 0 {
		cfg.PerEvent = DefaultPerEvent
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real{}
	}
	if cfg.Mean < 0 || cfg.Mean > maxMean {
		return nil, fmt.Errorf("a mean of %v between events is not possible; choose one of at most a year", cfg.Mean)
	}
	if cfg.PerEvent < 0 || cfg.PerEvent > MaxPerEvent {
		return nil, fmt.Errorf("%d packets at each event are not possible; choose from 1 to %d", cfg.PerEvent, MaxPerEvent)
	}
	a := &Agent{client: c, cfg: cfg, clock: cfg.Clock, rnd: rand.Reader, claimed: map[string]bool{}}
	a.deliver = func(ctx context.Context, p client.PreparedPacket) error {
		return c.Deliver(ctx, &client.Prepared{Packets: []client.PreparedPacket{p}}, nil)
	}
	if err := localsock.CheckDir(c.Home()); errors.Is(err, localsock.ErrNotPrivate) {
		return nil, fmt.Errorf("start agent: %w: chmod 700 it", err)
	} else if err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	a.lock, err = lockfile.Try(filepath.Join(c.Home(), agentwire.Lock))
	if errors.Is(err, lockfile.ErrHeld) {
		return nil, fmt.Errorf("%s: %w", c.Home(), ErrRunning)
	}
	if err != nil {
		if durable.ReadOnly(err) {
			err = fmt.Errorf("%w: %w", err, client.ErrReadOnly)
		}
		return nil, fmt.Errorf("start agent: %w", err)
	}
	if a.listener, err = listen(c.Home()); err != nil {
		return nil, errors.Join(err, a.lock.Close())
	}
	a.stopped, a.stop = context.WithCancel(context.Background())
	return a, nil
}

// Close gives the home directory back without running.
func (a *Agent) Close() error {
	a.stop()
	err := a.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, a.lock.Close())
}

// drainTime is how long Run waits, when it is to end, for packets that are on their way to their first server.
const drainTime = 15 * time.Second

// Run works until ctx ends or a front end asks for the end, which are no errors. It lets attempts that have begun come to their end, but
// not for long. After it the agent is closed.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(a.stopped, func() { cancel(context.Canceled) })()

	// What has begun outlives ctx by a little.
	work, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()

	var all sync.WaitGroup
	run := func(part func() error) {
		all.Go(func() {
			if err := part(); err != nil {
				cancel(err)
			}
		})
	}
	run(func() error { return a.depart(ctx, work) })
	run(func() error { return a.serve(ctx) })
	if a.cfg.Refresh != nil {
		run(func() error { return a.refresh(ctx) })
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	<-ctx.Done()
	select {
	case <-done:
	case <-a.clock.After(drainTime):
		giveUp()
		<-done
	}
	err := a.Close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(cause, err)
	}
	return err
}

// wait returns true at the time t, or false when ctx has ended before.
func (a *Agent) wait(ctx context.Context, t time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-a.clock.After(t.Sub(a.clock.Now())):
		return ctx.Err() == nil
	}
}
