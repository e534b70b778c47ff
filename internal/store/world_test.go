package store_test

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"mixminion/internal/store"
	"mixminion/internal/store/crashfs"
)

const (
	storeDir = "/store"
	logDir   = "/replay"
)

// smallOptions make every mechanism turn often: segments of a few packets, runs of a few hashes.
func smallOptions(fs store.FS) store.Options {
	return store.Options{FS: fs, SegmentBytes: 4096, TickBytes: 4096, RunEntries: 8, Manual: true}
}

// sealKey is the key of the encrypted stores of the tests.
var sealKey = [32]byte{1, 2, 3}

func testHash(n uint64) [20]byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return sha1.Sum(b[:])
}

// testBody makes a body from which its number can be read, of 8 to 800 bytes.
func testBody(n uint64) []byte {
	h := testHash(n)
	b := make([]byte, 8+int(binary.LittleEndian.Uint16(h[:]))%793)
	binary.LittleEndian.PutUint64(b, n)
	for i := 8; i < len(b); i++ {
		b[i] = h[i%20]
	}
	return b
}

type packet struct {
	queue        string
	queued, last uint32
	attempts     uint16
}

// state is what the model knows: packets by the number in their body, and the hashes in the log.
type state struct {
	packets map[uint64]packet
	hashes  map[uint64]bool
}

func (a state) clone() state { return state{maps.Clone(a.packets), maps.Clone(a.hashes)} }

func (a state) equal(b state) bool {
	return maps.Equal(a.packets, b.packets) && maps.Equal(a.hashes, b.hashes)
}

// world runs a store on a simulated disk beside a model. states are the states that a crash may leave: the last
// one that was promised to be durable, and all later ones; the youngest is the current one.
type world struct {
	fs     *crashfs.FS
	opts   store.Options
	s      *store.Store
	l      *store.ReplayLog
	states []state
	ids    map[uint64]store.ID
	bodies uint64
	hashes uint64
	clock  uint32
	choose func(n int) int // 0 <= result < n
	down   bool            // an operation met the end of the power
	full   bool            // the disk may be full
}

func newWorld(fs *crashfs.FS, sealed bool, choose func(int) int) (*world, error) {
	opts := smallOptions(fs)
	if sealed {
		var err error
		if opts.FS, err = store.Sealed(fs, sealKey); err != nil {
			return nil, err
		}
	}
	w := &world{fs: fs, opts: opts, choose: choose, ids: map[uint64]store.ID{},
		states: []state{{map[uint64]packet{}, map[uint64]bool{}}}}
	var err error
	if w.s, err = store.Open(storeDir, w.opts); err != nil {
		return nil, err
	}
	if w.l, err = w.s.CreateLog(logDir, "0001"); err != nil {
		return nil, errors.Join(err, w.s.Close())
	}
	return w, nil
}

func (w *world) now() state { return w.states[len(w.states)-1] }

// settle notes the outcome of an operation that leads to after. The error is one that the model does not explain.
func (w *world) settle(after state, durable bool, err error) error {
	switch {
	case err == nil && durable:
		w.states = []state{after}
	case err == nil:
		w.states = append(w.states, after)
	case errors.Is(err, crashfs.ErrOff) || errors.Is(err, store.ErrFailed):
		w.states = append(w.states, after)
		w.down = true
	case w.full && errors.Is(err, store.ErrFull):
	default:
		return err
	}
	return nil
}

func (w *world) step() error {
	w.clock += 300
	switch op := w.choose(20); {
	case op < 7:
		return w.commit()
	case op < 10:
		return w.move()
	case op < 12:
		return w.note()
	case op < 15:
		return w.done()
	case op < 18:
		return w.settle(w.now(), false, w.s.Tend())
	case op < 19:
		return w.settle(w.now(), false, w.s.Sweep(context.Background()))
	default:
		return w.compare()
	}
}

func (w *world) commit() error {
	after := w.now().clone()
	var entries []store.Entry
	var want []bool
	used := map[uint64]bool{}
	for range w.choose(6) {
		e := store.Entry{Log: w.l, Queued: w.clock, Queue: []string{"", "", "a", "b"}[w.choose(4)]}
		accepted := true
		kind := w.choose(6)
		switch {
		case kind == 0 && w.hashes > 0:
			n := uint64(w.choose(int(w.hashes)))
			if used[n] {
				continue
			}
			used[n] = true
			e.Replay = testHash(n)
			accepted = !after.hashes[n]
			after.hashes[n] = true
			w.bodies++ // a body that must not appear, unless the crash forgot the hash
		case kind == 1:
			e.Log = nil
			w.bodies++
		default:
			e.Replay = testHash(w.hashes)
			after.hashes[w.hashes] = true
			used[w.hashes] = true
			w.hashes++
			w.bodies++
		}
		if kind == 2 {
			// Twice in one commit; without a body, as either may win.
			entries, want = append(entries, store.Entry{Log: w.l, Replay: e.Replay}, store.Entry{Log: w.l, Replay: e.Replay}), append(want, true, false)
			continue
		}
		if e.Log == nil || w.choose(3) > 0 {
			e.Body = testBody(w.bodies)
			if accepted {
				after.packets[w.bodies] = packet{queue: e.Queue, queued: w.clock}
			}
		}
		entries, want = append(entries, e), append(want, accepted)
	}
	got, err := w.s.Commit(entries)
	if err == nil && !sameVerdicts(entries, got, want) {
		return fmt.Errorf("commit accepted %v, want %v", got, want)
	}
	if err := w.settle(after, true, err); err != nil || w.down {
		return err
	}
	return w.learn()
}

// sameVerdicts compares verdicts; of equal hashes in one commit any one may win.
func sameVerdicts(entries []store.Entry, got, want []bool) bool {
	g, h := map[[20]byte]int{}, map[[20]byte]int{}
	for i := range entries {
		if got[i] {
			g[entries[i].Replay]++
		}
		if want[i] {
			h[entries[i].Replay]++
		}
	}
	return maps.Equal(g, h)
}

// some picks some packets of the current state.
func (w *world) some() []uint64 {
	all := slices.Sorted(maps.Keys(w.now().packets))
	var picked []uint64
	for range w.choose(4) {
		if len(all) > 0 {
			i := w.choose(len(all))
			picked = append(picked, all[i])
			all = slices.Delete(all, i, i+1)
		}
	}
	return picked
}

func (w *world) move() error {
	after := w.now().clone()
	var list []store.Assignment
	for _, n := range w.some() {
		q := []string{"a", "b", "c", ""}[w.choose(4)]
		list = append(list, store.Assignment{ID: w.ids[n], Queue: q, Queued: w.clock})
		after.packets[n] = packet{queue: q, queued: w.clock}
	}
	err := w.s.Move(list)
	return w.settle(after, len(list) > 0, err)
}

func (w *world) note() error {
	after := w.now().clone()
	var ids []store.ID
	attempts := uint16(w.choose(1 << 16))
	for _, n := range w.some() {
		p := after.packets[n]
		p.last, p.attempts = w.clock, attempts
		after.packets[n] = p
		ids = append(ids, w.ids[n])
	}
	if w.choose(2) == 0 {
		return w.settle(after, len(ids) > 0, w.s.NoteNow(ids, attempts, w.clock))
	}
	return w.settle(after, false, w.s.Note(ids, attempts, w.clock))
}

func (w *world) done() error {
	after := w.now().clone()
	var ids []store.ID
	for _, n := range w.some() {
		delete(after.packets, n)
		ids = append(ids, w.ids[n])
	}
	if w.choose(2) == 0 {
		return w.settle(after, len(ids) > 0, w.s.Done(ids...))
	}
	return w.settle(after, false, w.s.DoneSoon(ids...))
}

// observe reads everything that the store shows.
func (w *world) observe() (state, map[uint64]store.ID, error) {
	st, ids, err := w.observePackets()
	if err != nil {
		return st, nil, err
	}
	for n := range w.hashes {
		if w.l.Has(testHash(n)) {
			st.hashes[n] = true
		}
	}
	return st, ids, nil
}

func (w *world) observePackets() (state, map[uint64]store.ID, error) {
	st := state{map[uint64]packet{}, map[uint64]bool{}}
	ids := map[uint64]store.ID{}
	queues := []string{""}
	for _, q := range w.s.Queues() {
		queues = append(queues, q.Name)
	}
	for _, q := range queues {
		for _, item := range w.s.Queue(q, 0) {
			b, err := w.s.Read(item.ID, nil)
			if err != nil {
				return st, nil, err
			}
			n := binary.LittleEndian.Uint64(b)
			if !slices.Equal(b, testBody(n)) || item.Length != len(b) {
				return st, nil, fmt.Errorf("packet %d has another body", n)
			}
			if _, twice := ids[n]; twice {
				return st, nil, fmt.Errorf("packet %d is there twice", n)
			}
			ids[n] = item.ID
			st.packets[n] = packet{q, item.Queued, item.LastAttempt, item.Attempts}
		}
	}
	return st, ids, nil
}

// learn finds the IDs of new packets.
func (w *world) learn() error {
	_, ids, err := w.observePackets()
	w.ids = ids
	return w.unlessOff(err)
}

// unlessOff passes an error on, unless the power went in the background work, which nobody is told.
func (w *world) unlessOff(err error) error {
	if errors.Is(err, crashfs.ErrOff) {
		w.down = true
		return nil
	}
	return err
}

// compare checks that the store shows the current state.
func (w *world) compare() error {
	got, _, err := w.observe()
	if err != nil {
		return w.unlessOff(err)
	}
	if !got.equal(w.now()) {
		return fmt.Errorf("the store differs from the model:\n%v\n%v", got, w.now())
	}
	return nil
}

// crash loses power and opens the store again, which must show one of the states that a crash may leave. With
// again set, the power goes during the recovery, too.
func (w *world) crash(loss crashfs.Loss, r *rand.Rand, again bool) error {
	w.fs.CutPower(0)
	_ = w.s.Close() // must not hang; the disk takes nothing any more
	w.down = false
	w.fs.SetCapacity(-1)
	w.full = false
	for {
		w.fs.Crash(loss, r)
		if err := w.sound(false); err != nil {
			return err
		}
		if again {
			w.fs.CutPower(r.IntN(20))
			again = r.IntN(3) > 0
		}
		err := w.open()
		w.fs.CutPower(-1)
		if err == nil {
			break
		}
		if !errors.Is(err, crashfs.ErrOff) {
			return err
		}
		if w.s != nil {
			w.fs.CutPower(0)
			_ = w.s.Close()
		}
	}
	got, ids, err := w.observe()
	if err != nil {
		return err
	}
	for _, st := range w.states {
		if got.equal(st) {
			w.states, w.ids = []state{st}, ids
			return nil
		}
	}
	return fmt.Errorf("%w:\n%v\nis none of\n%v", errLost, got, w.states)
}

// errLost is what the model test finds when the store broke its promise.
var errLost = errors.New("the state after a crash")

func (w *world) open() (err error) {
	if w.s, err = store.Open(storeDir, w.opts); err != nil {
		return err
	}
	if w.l, err = w.s.OpenLog(logDir, "0001"); err != nil {
		return err
	}
	return w.s.DropOrphans()
}

// reopen closes the store properly.
func (w *world) reopen() error {
	if err := w.s.Close(); err != nil {
		return err
	}
	if err := w.sound(true); err != nil {
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	w.states = w.states[len(w.states)-1:]
	return w.compare()
}

// sound runs the consistency checker over the closed store.
func (w *world) sound(clean bool) error {
	rep, err := store.Check(w.opts.FS, storeDir)
	if err != nil {
		return err
	}
	logs, err := store.CheckLog(w.opts.FS, logDir)
	if err != nil {
		return err
	}
	if damage := append(rep.Damage, logs.Damage...); len(damage) > 0 {
		return fmt.Errorf("check: %v", damage)
	}
	if clean && (rep.Torn > 0 || rep.Packets != len(w.now().packets)) {
		return fmt.Errorf("check: %+v, want %d packets", rep, len(w.now().packets))
	}
	return nil
}

// end closes the world with a last check.
func (w *world) end() error {
	if err := w.compare(); err != nil {
		return errors.Join(err, w.s.Close())
	}
	if err := w.s.Close(); err != nil {
		return err
	}
	return w.sound(true)
}
