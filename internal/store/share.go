package store

// share is what the store may take of the disk, and what follows from it. It can change while the store is open.
type share struct {
	most    int64 // Options.MaxBytes
	segment int64 // the size at which a segment is sealed
}

// shareOf returns the share of most bytes for a store whose segments are to have a size. Only sealed segments can be
// reclaimed, so that none may be a large part of the whole.
func shareOf(most, segment int64) *share {
	if most > 0 {
		segment = min(segment, max(most/8, minSegment))
	}
	return &share{most: most, segment: segment}
}

// reserve is what only erasing, moving and reclaiming may use: room to copy the survivors of a segment while
// the segment is still there.
func (r *share) reserve() int64 {
	if r.most > 0 {
		return min(2*r.segment, r.most/4)
	}
	return 2 * r.segment
}

// MinRoom is how much must be free on the disk for a store of these MaxBytes, with other Options zero, to take anything.
func MinRoom(maxBytes int64) int64 {
	o := Options{MaxBytes: maxBytes}
	_ = o.fill() // it is in bounds
	return shareOf(maxBytes, o.SegmentBytes).reserve() + o.TickBytes
}

// SetMaxBytes changes Options.MaxBytes. If the store holds more than that, it keeps it, and takes nothing new until
// enough has left. Segments get no larger than they were to be when the store was opened.
func (s *Store) SetMaxBytes(n int64) {
	s.share.Store(shareOf(max(n, 0), s.opts.SegmentBytes))
	s.poke()
}
