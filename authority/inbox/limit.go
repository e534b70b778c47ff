package inbox

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A limiter says whether one more upload is examined. Sources are prefixes of addresses, since who has one address often has the
// whole prefix.
type limiter struct {
	limits Limits

	mu      sync.Mutex // of all below
	all     *rate.Limiter
	sources map[netip.Prefix]*rate.Limiter
	rest    *rate.Limiter // shared by the sources that there is no room for
	swept   time.Time
	told    throttle
}

func newLimiter(l Limits) *limiter {
	return &limiter{limits: l, all: l.Overall.limiter(), sources: map[netip.Prefix]*rate.Limiter{}, rest: l.PerSource.limiter()}
}

func (r Rate) limiter() *rate.Limiter { return rate.NewLimiter(rate.Every(r.Every), r.Burst) }

// allow takes a token of the source and then one of the whole, so that what a source has used up costs others nothing.
// tell is true when the operator should hear of a refusal.
func (l *limiter) allow(source netip.Prefix, now time.Time) (ok, tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Who comes over loopback is a test network, or everybody by way of a proxy that the configuration does not tell of.
	if (source.Addr().IsLoopback() || l.source(source, now).AllowN(now, 1)) && l.all.AllowN(now, 1) {
		return true, false
	}
	return false, l.told.allow(now)
}

func (l *limiter) source(source netip.Prefix, now time.Time) *rate.Limiter {
	if s := l.sources[source]; s != nil {
		return s
	}
	if len(l.sources) >= l.limits.Sources && now.Sub(l.swept) >= l.limits.PerSource.Every {
		l.swept = now
		for p, s := range l.sources {
			if s.TokensAt(now) >= float64(l.limits.PerSource.Burst) {
				delete(l.sources, p)
			}
		}
	}
	if len(l.sources) >= l.limits.Sources {
		return l.rest
	}
	s := l.limits.PerSource.limiter()
	l.sources[source] = s
	return s
}

// prefixOf is the part of an address that stands for one source. What is no address is one source with all others of its kind.
func prefixOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
