package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"mixminion/internal/store"
	"mixminion/internal/store/crashfs"
)

// TestModel compares the store with the model over random operations, restarts and crashes.
func TestModel(t *testing.T) {
	for name, sealed := range storeForms {
		t.Run(name, func(t *testing.T) { testModel(t, sealed) })
	}
}

// storeForms are the forms in which a store keeps what it holds.
var storeForms = map[string]bool{"clear": false, "sealed": true}

func testModel(t *testing.T, sealed bool) {
	rapid.Check(t, func(t *rapid.T) {
		w, err := newWorld(crashfs.New(), sealed, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") })
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := w.s.Close(); err != nil {
				t.Log(err)
			}
		}()
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			var err error
			switch rapid.IntRange(0, 14).Draw(t, "event") {
			case 0:
				err = w.reopen()
			case 1:
				r := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
				w.fs.CutPower(rapid.IntRange(0, 30).Draw(t, "power"))
				for i := 0; i < 8 && !w.down && err == nil; i++ {
					err = w.step()
				}
				if err == nil {
					err = w.crash(crashfs.Loss(rapid.IntRange(0, 2).Draw(t, "loss")), r, rapid.Bool().Draw(t, "again"))
				}
			case 2:
				// A disk that is nearly full for some steps.
				w.full = true
				w.fs.SetCapacity(w.fs.Used() + int64(rapid.IntRange(0, 2000).Draw(t, "left")))
				for i := 0; i < 5 && err == nil; i++ {
					err = w.step()
				}
				w.fs.SetCapacity(-1)
				if err == nil {
					// The background work fills the reserve again; until then nothing is accepted.
					err = errors.Join(w.s.Tend(), w.compare())
				}
				w.full = false
			default:
				err = w.step()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
	})
}

// play runs a fixed, seeded piece of work until the power goes after n changes of the disk, and crashes. It
// returns how many changes the whole work makes.
func play(fs *crashfs.FS, sealed bool, seed uint64, n int, loss crashfs.Loss) (int, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	w, err := newWorld(fs, sealed, func(n int) int { return r.IntN(n) })
	if err != nil {
		return 0, err
	}
	start := fs.Changes()
	fs.CutPower(n)
	for i := 0; i < 60 && !w.down && err == nil; i++ {
		err = w.step()
	}
	made := fs.Changes() - start
	if err == nil {
		err = w.crash(loss, rand.New(rand.NewPCG(seed, uint64(n))), false)
	}
	if err != nil {
		fs.CutPower(0)
		return made, errors.Join(err, ignoreOff(w.s))
	}
	// The store must be fully usable after it.
	for i := 0; i < 10 && err == nil; i++ {
		err = w.step()
	}
	if err != nil {
		return made, errors.Join(err, w.s.Close())
	}
	return made, w.end()
}

func ignoreOff(s *store.Store) error {
	if s == nil {
		return nil
	}
	if err := s.Close(); err != nil && !errors.Is(err, crashfs.ErrOff) && !errors.Is(err, store.ErrFailed) {
		return err
	}
	return nil
}

// TestEveryCrashPoint stops the power at every single change of the disk that a piece of work makes. What the crash leaves of the changes
// that were not synced alternates from one point to the next, so that over the three pieces each way of losing meets each kind of change.
func TestEveryCrashPoint(t *testing.T) {
	losses := []crashfs.Loss{crashfs.LoseNothing, crashfs.LoseAll, crashfs.LoseRandom}
	for i, work := range []struct {
		form string
		seed uint64
	}{{"clear", 0}, {"sealed", 0}, {"sealed", 1}} {
		if testing.Short() && i > 1 {
			continue
		}
		t.Run(fmt.Sprintf("%s/seed%d", work.form, work.seed), func(t *testing.T) {
			t.Parallel()
			sealed := storeForms[work.form]
			total, err := play(crashfs.New(), sealed, work.seed, -1, crashfs.LoseAll)
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; n < total; n += stride {
				loss := losses[(n+i)%len(losses)]
				if _, err := play(crashfs.New(), sealed, work.seed, n, loss); err != nil {
					t.Fatalf("power cut after change %d of %d, loss %d: %v", n, total, loss, err)
				}
			}
			t.Logf("%d crash points", total)
		})
	}
}

// TestCheckerNoticesMissingSyncs proves that the crash test can fail: on a disk whose syncs do nothing it must
// find lost packets, for most crash points.
func TestCheckerNoticesMissingSyncs(t *testing.T) {
	for _, loss := range []crashfs.Loss{crashfs.LoseAll, crashfs.LoseRandom} {
		noticed, tried := 0, 0
		for n := 20; n < 120; n += 5 {
			fs := crashfs.New()
			fs.IgnoreSyncs()
			tried++
			if _, err := play(fs, n%2 == 0, 1, n, loss); err != nil {
				noticed++
			}
		}
		if noticed < tried/2 {
			t.Errorf("loss %d: a store without syncs passed %d of %d crash tests", loss, tried-noticed, tried)
		}
	}
}
