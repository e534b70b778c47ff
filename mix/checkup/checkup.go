// Package checkup looks at a mix's configuration and the machine it is to run on, and says what stands in the way of running well and
// how to mend it. It changes nothing, and does not need the mix to be stopped.
package checkup

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"mixminion/internal/config"
	"mixminion/internal/store"
	"mixminion/packet"
)

// Level says how bad a finding is.
type Level int

// The levels, from good to bad.
const (
	OK      Level = iota // as it should be
	Note                 // worth knowing
	Warning              // it works, but not as well or as safely as it could
	Problem              // the mix cannot work so
)

func (l Level) String() string { return [...]string{"ok", "note", "warning", "problem"}[l] }

// A Finding is what one check found.
type Finding struct {
	Level Level
	About string // what was looked at, in a word or two
	Text  string // what was found
	Mend  string // what to do about it; "" if there is nothing to do
}

// MailServer is where the mail of an exit goes.
type MailServer struct {
	Exit packet.RoutingType
	// Probe tries it, as far as a mix can go without sending a mail.
	Probe func(ctx context.Context) error
}

// A Host is where a checkup looks beside the files. The zero value of each field stands for the real thing.
type Host struct {
	LookupHost func(ctx context.Context, name string) ([]netip.Addr, error)
	LookupTXT  func(ctx context.Context, name string) ([]string, error)
	Listen     func(ctx context.Context, addr netip.AddrPort) error // whether somebody else has the port
	Running    bool                                                 // the mix itself runs now
	// MailServers are those of the exits that need one.
	MailServers []MailServer
	// MemoryLock returns why the memory of the mix cannot be locked, nil if it can.
	MemoryLock func() error
	FreeBytes  func(dir string) (int64, error)
	OpenFiles  func() (uint64, error) // how many files and connections a process may have open
	ClockError func() error           // what the system says is wrong with its clock
	Now        func() time.Time
}

// checker is what a check looks at, and collects what it finds.
type checker struct {
	ctx   context.Context
	cfg   *config.Server
	home  string
	paths config.ServerPaths
	host  Host
	out   []Finding
}

func (c *checker) add(l Level, about, mend, format string, args ...any) {
	c.out = append(c.out, Finding{Level: l, About: about, Text: fmt.Sprintf(format, args...), Mend: mend})
}

// Run checks a configuration that has passed its own validation. home is what "~/" stands for.
func Run(ctx context.Context, cfg *config.Server, home string, host Host) []Finding {
	c := &checker{ctx: ctx, cfg: cfg, home: home, paths: cfg.Paths(home), host: host.orReal()}
	checks := []func(*checker){(*checker).configuration, (*checker).files, (*checker).storeKey, (*checker).disk}
	if cfg.IncomingMMTP.Enabled {
		checks = append(checks, (*checker).name, (*checker).ports)
	}
	checks = append(checks, (*checker).clock, (*checker).limits)
	for _, m := range c.host.MailServers {
		checks = append(checks, func(c *checker) { c.mailServer(m) })
	}
	return c.all(append(checks, (*checker).mails, (*checker).gateway))
}

// all runs checks at the same time, so that servers that do not answer are waited for together, and returns what they found in their order.
func (c *checker) all(checks []func(*checker)) []Finding {
	parts := make([]checker, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		parts[i] = *c
		running.Go(func() { check(&parts[i]) })
	}
	running.Wait()
	var out []Finding
	for _, p := range parts {
		out = append(out, p.out...)
	}
	return out
}

func (h Host) orReal() Host {
	if h.LookupHost == nil {
		h.LookupHost = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	if h.LookupTXT == nil {
		h.LookupTXT = net.DefaultResolver.LookupTXT
	}
	if h.Listen == nil {
		h.Listen = tryListen
	}
	if h.FreeBytes == nil {
		h.FreeBytes = store.OS.Free
	}
	if h.OpenFiles == nil {
		h.OpenFiles = openFiles
	}
	if h.ClockError == nil {
		h.ClockError = clockError
	}
	if h.MemoryLock == nil {
		h.MemoryLock = func() error { return nil }
	}
	if h.Now == nil {
		h.Now = time.Now
	}
	return h
}

func (c *checker) configuration() {
	warnings := c.cfg.Warnings()
	for _, w := range warnings {
		c.add(Warning, "configuration", "", "%s", w)
	}
	if len(warnings) == 0 {
		c.add(OK, "configuration", "", "nothing in it is unwise")
	}
}
