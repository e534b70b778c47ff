package store

// Has says whether the log knows a hash, without logging it. What it knows it keeps; what it does not know may be logged by another call at
// the same time.
func (l *ReplayLog) Has(h [20]byte) bool {
	hit, _ := l.inRuns(&h, l.prf.value(&h))
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return hit || l.inMemory(&h)
}
