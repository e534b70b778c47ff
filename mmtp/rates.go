package mmtp

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxBuckets bounds what is remembered of sources. Who comes when it is full shares one bucket with all others of whom nothing is known.
	maxBuckets = 20000
	// sweepEvery is the shortest time between two searches for buckets that are full again, and so tell nothing.
	sweepEvery = time.Second
)

// rates decides how often sources may connect. A bucket that has filled up again is forgotten, so memory holds only those who came lately:
// the widest network of IPv6 can fill few buckets before its own is empty. It is guarded by the lock of door.
type rates struct {
	perMinute, total int // what the buckets are made for
	buckets          map[netip.Prefix]*rate.Limiter
	rest             *rate.Limiter
	all              *rate.Limiter
	swept            time.Time
}

// burst is how many connections a source may make at once: those of half a minute.
func burst(perMinute int) int { return max(1, perMinute/2) }

func newBucket(perMinute int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(float64(perMinute)/60), burst(perMinute))
}

// allow counts a connection of a source, at all its levels, or refuses it and counts nothing: who was refused takes
// nothing from neighbours. A known peer is counted at the first level only.
func (r *rates) allow(l *Limits, s source, known bool, now time.Time) bool {
	if r.perMinute != l.Rate || r.total != l.TotalRate {
		*r = rates{
			perMinute: l.Rate, total: l.TotalRate, buckets: map[netip.Prefix]*rate.Limiter{},
			rest: newBucket(l.Rate * levels[len(levels)-1].share), all: newBucket(l.TotalRate),
		}
	}
	if known && len(s) > 0 {
		s = s[:1]
	}
	if !known && r.all.TokensAt(now) < 1 {
		return false
	}
	for _, p := range s {
		if b := r.buckets[p]; b != nil && b.TokensAt(now) < 1 {
			return false
		}
	}
	if len(r.buckets)+len(s) > maxBuckets && now.Sub(r.swept) >= sweepEvery {
		r.sweep(now)
	}
	full := len(r.buckets)+len(s) > maxBuckets
	if full && !known && r.rest.TokensAt(now) < 1 {
		return false
	}
	for i, p := range s {
		switch b := r.buckets[p]; {
		case b != nil:
			b.AllowN(now, 1)
		case !full:
			b = newBucket(r.perMinute * levels[i].share)
			b.AllowN(now, 1)
			r.buckets[p] = b
		}
	}
	if !known {
		r.all.AllowN(now, 1)
		if full {
			r.rest.AllowN(now, 1)
		}
	}
	return true
}

func (r *rates) sweep(now time.Time) {
	r.swept = now
	for p, b := range r.buckets {
		if b.TokensAt(now) >= float64(b.Burst()) {
			delete(r.buckets, p)
		}
	}
}
