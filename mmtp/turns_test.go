package mmtp

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A key with many callers gets every other turn when one other waits, not most of them.
func TestTurnsAreSharedByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns turns[string]
		ctx := t.Context()
		if err := turns.enter(ctx, "first"); err != nil {
			t.Fatal(err)
		}
		var got []string
		var wg sync.WaitGroup
		for _, key := range []string{"greedy", "greedy", "greedy", "greedy", "greedy", "modest", "modest", "rare"} {
			wg.Go(func() {
				if err := turns.enter(ctx, key); err != nil {
					t.Error(err)
				}
				got = append(got, key)
				turns.leave()
			})
			synctest.Wait()
		}
		turns.leave()
		wg.Wait()
		want := []string{"greedy", "modest", "rare", "greedy", "modest", "greedy", "greedy", "greedy"}
		if !slices.Equal(got, want) {
			t.Errorf("turns: %v", got)
		}
	})
}

// One at a time, nobody is forgotten, and who stops waiting leaves nothing behind.
func TestTurnsUnderLoad(t *testing.T) {
	var turns turns[int]
	var inside, served atomic.Int32
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if rand.IntN(3) == 0 {
				go cancel()
			}
			for range 20 {
				if turns.enter(ctx, i%7) != nil {
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two at a time")
				}
				served.Add(1)
				inside.Add(-1)
				turns.leave()
			}
		})
	}
	wg.Wait()
	if turns.busy || len(turns.waiting) != 0 || len(turns.order) != 0 {
		t.Errorf("left over: %v %v %v", turns.busy, turns.waiting, turns.order)
	}
	if served.Load() == 0 {
		t.Error("nobody had a turn")
	}
}

func BenchmarkTurns(b *testing.B) {
	var turns turns[int]
	for b.Loop() {
		if turns.enter(b.Context(), 1) != nil {
			b.Fatal("no turn")
		}
		turns.leave()
	}
}
