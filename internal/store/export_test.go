package store

// Has says whether the log knows a hash, without logging it.
func (l *ReplayLog) Has(h [20]byte) bool {
	hit, _ := l.inRuns(&h, l.prf.value(&h))
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return hit || l.inMemory(&h)
}
