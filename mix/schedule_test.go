package mix

import (
	"fmt"
	"testing"
	"time"

	"mixminion/internal/store"
)

func hopStats(n int) (queues []store.QueueStat) {
	for i := range n {
		queues = append(queues, store.QueueStat{Name: fmt.Sprintf("%chop %d", hopQueuePrefix, i), Count: 1})
	}
	return queues
}

// Those that have waited longest go first; what is not due waits; what is running is left alone.
func TestScheduleTurns(t *testing.T) {
	now := coverStart
	s, l := newSchedule(), &links{most: 100, works: map[string]bool{}}
	queues := hopStats(10)
	if err := s.make(queues, l, false, now); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for q := s.next(l); q != nil; q = s.next(l) {
		seen[q.name] = true
		q.running, q.tried = true, now
	}
	if len(seen) != 10 {
		t.Fatalf("%d of 10 queues have had their turn", len(seen))
	}
	if err := s.make(queues, l, false, now); err != nil {
		t.Fatal(err)
	}
	if q := s.next(l); q != nil {
		t.Error("a queue is tried twice at the same time")
	}
	for i, stat := range hopStats(10) {
		q := s.state[stat.Name]
		l.giveBack(q.name, true)
		q.running, q.tried, q.due = false, now.Add(-time.Duration(i)*time.Second), now.Add(time.Duration(i/5)*time.Minute)
		s.again(q.name, 1, false, l, now)
	}
	for want := 4; want >= 0; want-- {
		q := s.next(l)
		if q == nil || q.name != hopStats(10)[want].Name {
			t.Fatalf("the turn of hop %d: %+v", want, q)
		}
		l.giveBack(q.name, true)
		s.again(q.name, 0, false, l, now) // it is empty now
	}
	if q := s.next(l); q != nil || s.wait(now) != time.Minute || len(s.state) != 5 {
		t.Errorf("%+v; %v to wait; %d queues", q, s.wait(now), len(s.state))
	}
	now = now.Add(time.Minute)
	s.ripen(l, now)
	if q := s.next(l); q == nil || q.name != hopStats(10)[9].Name || s.wait(now) != 0 {
		t.Errorf("after a minute: %+v", q)
	}
}

// Whatever forged hops there are after a restart, the hops of the directory, of which none has worked yet, get links
// beside them, and lose them to others when they fail.
func TestListedHopsAfterRestart(t *testing.T) {
	now := coverStart
	s, l := newSchedule(), &links{most: 4, works: map[string]bool{}}
	queues := hopStats(1000)
	listed := map[string]bool{queues[500].Name: true, queues[501].Name: true}
	l.setListed(listed)
	if err := s.make(queues, l, false, now); err != nil {
		t.Fatal(err)
	}
	good, forged := 0, 0
	for q := s.next(l); q != nil; q = s.next(l) {
		q.running, q.tried = true, now
		if listed[q.name] {
			good++
		} else {
			forged++
		}
	}
	if good != 2 || forged != 2 {
		t.Errorf("%d hops of the directory and %d others have links", good, forged)
	}
	for name := range listed {
		l.giveBack(name, false)
		s.state[name].running = false
		s.again(name, 1, false, l, now)
	}
	if q := s.next(l); q != nil {
		t.Errorf("%d guesses at one time", l.guesses)
	}
	for name, q := range s.state {
		if q.running {
			l.giveBack(name, false)
			q.running = false
		}
	}
	l.setListed(listed)
	if !l.take(queues[500].Name) || l.guesses != 1 {
		t.Error("a hop of the directory that has failed is no guess")
	}
	l.giveBack(queues[500].Name, true)
	if !l.take(queues[500].Name) || l.guesses != 0 {
		t.Error("a hop that works is a guess")
	}
	l.setListed(nil)
	if len(l.failed) != 0 {
		t.Errorf("%d hops are remembered that nobody lists", len(l.failed))
	}
}

// What the end of one attempt costs does not depend on how many next hops there are.
func BenchmarkSchedule(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			now := coverStart
			s, l := newSchedule(), &links{most: 16, works: map[string]bool{}}
			if err := s.make(hopStats(n), l, false, now); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				q := s.next(l)
				q.running, q.tried = true, now
				now = now.Add(time.Millisecond)
				l.giveBack(q.name, false)
				q.running = false
				s.again(q.name, 1, false, l, now)
			}
		})
	}
}

// What it costs to make the schedule anew, when a batch has left the pool.
func BenchmarkScheduleMake(b *testing.B) {
	now := coverStart
	s, l := newSchedule(), &links{most: 16, works: map[string]bool{}}
	queues := hopStats(100_000)
	for b.Loop() {
		if err := s.make(queues, l, false, now); err != nil {
			b.Fatal(err)
		}
	}
}
