package mix

import (
	"fmt"
	"testing"
)

// Hops that have never taken a packet share half of the links, however many there are; those that have worked get the other half.
func TestLinksKeptForWorkingHops(t *testing.T) {
	l := links{most: 4, works: map[string]bool{}}
	hop := func(i int) string { return fmt.Sprintf("%chop %d", hopQueuePrefix, i) }
	if !l.take(hop(0)) {
		t.Fatal("the first attempt gets no link")
	}
	l.giveBack(hop(0), true)

	taken := 0
	for i := 1; i <= 100; i++ {
		if l.take(hop(i)) {
			taken++
		}
	}
	if taken != 2 {
		t.Errorf("%d of 4 links went to hops that never worked", taken)
	}
	if !l.take(hop(0)) {
		t.Error("a hop that works gets no link beside them")
	}
	if !l.take(string(exitQueuePrefix) + "exit") {
		t.Error("an exit needs no link and gets none")
	}
	l.giveBack(hop(0), false)
	l.giveBack(hop(1), false)
	if l.used != 1 || l.guesses != 1 || l.works[hop(0)] {
		t.Errorf("after giving back: %+v", l)
	}
}

// What is remembered of hops is bounded, and a full memory does not shut out a hop that works now.
func TestLinksForget(t *testing.T) {
	l := links{most: 1, works: map[string]bool{}}
	for i := range maxWorking + 10 {
		hop := fmt.Sprintf("%c%d", hopQueuePrefix, i)
		if !l.take(hop) {
			t.Fatal("no link")
		}
		l.giveBack(hop, true)
		if !l.works[hop] {
			t.Fatal("a hop that works is not remembered")
		}
	}
	if len(l.works) > maxWorking {
		t.Errorf("%d hops are remembered", len(l.works))
	}
}
