package mix

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"mixminion/internal/store"
)

func TestTriesPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := tries{
			attempts: rapid.Uint8().Draw(t, "attempts"), late: rapid.Bool().Draw(t, "late"), held: rapid.Bool().Draw(t, "held"),
			served: rapid.Uint8().Draw(t, "served"),
		}
		got := triesOf(store.Item{Attempts: want.pack()})
		want.attempts = min(want.attempts, maxTries)
		if got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
	// What was stored before there was more than a count.
	if got := triesOf(store.Item{Attempts: 21}); got != (tries{attempts: 21}) {
		t.Errorf("%+v", got)
	}
}

// A message that was held has the whole of its retry schedule after that.
func TestHeldIsDue(t *testing.T) {
	x := &ExitConfig{Retry: Schedule{7 * time.Hour, 7 * time.Hour}}
	queued := time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC)
	held := store.Item{
		Queued: uint32(queued.Unix()), LastAttempt: uint32(queued.Add(2 * time.Hour).Unix()), Attempts: tries{attempts: 1, held: true}.pack(),
	}
	midnight := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	early, late := 0, 0
	for held.ID = range store.ID(100) {
		at, ok := x.dueAt(held)
		if again, _ := x.dueAt(held); !ok || at.Before(midnight) || !at.Before(midnight.Add(heldSpread)) || !at.Equal(again) {
			t.Errorf("due at %v, %t", at, ok)
		}
		if at.Before(midnight.Add(heldSpread / 2)) {
			early++
		} else {
			late++
		}
	}
	if early == 0 || late == 0 {
		t.Errorf("of 100 messages %d are due early and %d late", early, late)
	}
	last := midnight.Add(5 * day)
	for n, want := range []time.Time{last.Add(7 * time.Hour), last.Add(7 * time.Hour), {}} {
		late := store.Item{
			Queued: held.Queued, LastAttempt: uint32(last.Unix()), Attempts: tries{attempts: uint8(n + 1), late: true}.pack(),
		}
		if at, ok := x.dueAt(late); !at.Equal(want) || ok == want.IsZero() {
			t.Errorf("after %d attempts due at %v, %t", n+1, at, ok)
		}
	}
	end := queued.Add(14*time.Hour + maxHeld)
	if x.expired(held, end, 0) || !x.expired(held, end.Add(time.Second), 0) {
		t.Error("a message that is held does not wait a week longer")
	}
	if plain := (store.Item{Queued: held.Queued}); !x.expired(plain, queued.Add(15*time.Hour), 0) {
		t.Error("a message that was never held waits too long")
	}
}

// A schedule with more points than are counted comes to its end all the same.
func TestLongSchedule(t *testing.T) {
	x := &ExitConfig{}
	for range 200 {
		x.Retry = append(x.Retry, 10*time.Minute)
	}
	queued := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	it := store.Item{Queued: uint32(queued.Unix())}
	attempts := 0
	for {
		at, ok := x.dueAt(it)
		if !ok {
			break
		}
		if attempts++; attempts > 201 {
			t.Fatal("it does not end")
		}
		tried := triesOf(it)
		tried.attempts++
		it.Attempts, it.LastAttempt = tried.pack(), uint32(at.Unix())
	}
	if attempts != 201 {
		t.Errorf("%d attempts, want 201", attempts)
	}
}
