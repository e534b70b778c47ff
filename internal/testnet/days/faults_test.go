package days_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/testnet/testdir"
)

// A night is what was planned for the making of one day's consensus.
type night struct {
	w        *world
	midnight time.Time
	told     []string
	absent   map[int]bool // authorities that are down from before 22:00 until after midnight
}

func (n *night) tell(format string, args ...any) {
	n.told = append(n.told, fmt.Sprintf(format, args...))
}

// between is a moment of the night, in minutes before (-) or after midnight.
func (n *night) between(from, until int) time.Time {
	return n.midnight.Add(time.Duration(from)*time.Minute + time.Duration(n.w.rnd.IntN(until-from))*time.Minute)
}

func clockTime(t time.Time) string { return t.Format("15:04") }

// faults are the things that go wrong with one authority.
var faults = []func(*night, *node){
	down, down, late, clockOff, clockOff, partition, equivocate, garbage, replay, forge, restore, restart, restart, loseUploads,
}

// plan chooses what goes wrong around a midnight. It is called at the noon before. Faults come from a deck, so that all of them come.
func (w *world) plan(midnight time.Time) *night {
	n := &night{w: w, midnight: midnight, absent: map[int]bool{}}
	count := w.rnd.IntN(4)
	if w.rnd.IntN(8) == 0 {
		count = members
	}
	for _, i := range w.rnd.Perm(members)[:count] {
		if len(w.deck) == 0 {
			w.deck = w.rnd.Perm(len(faults))
		}
		faults[w.deck[0]](n, w.nodes[i])
		w.deck = w.deck[1:]
	}
	return n
}

// outage has a majority of the authorities down from now on, for some days.
func (w *world) outage(until time.Time) {
	for _, n := range w.nodes[1 : 1+quorum] {
		n.stop()
		w.at(until, n.start)
	}
}

func down(n *night, a *node) {
	from, to := n.between(-180, 0), n.between(5, 150)
	if n.w.rnd.IntN(2) == 0 {
		from = n.between(-600, -125)
	}
	n.absent[a.index] = from.Before(n.midnight.Add(-2 * time.Hour))
	n.w.at(from, a.stop)
	n.w.at(to, a.start)
	n.tell("%d down %s-%s", a.index, clockTime(from), clockTime(to))
}

// late: the machine is so busy that nothing is done, but answers are given.
func late(n *night, a *node) {
	from, to := n.between(-125, -50), n.between(-50, 20)
	n.w.at(from, func() { a.late = to })
	n.tell("%d late %s-%s", a.index, clockTime(from), clockTime(to))
	n.w.at(to, func() { n.w.mark("late") })
}

func (w *world) mark(kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.strike(kind)
}

func clockOff(n *night, a *node) {
	skews := []time.Duration{-3 * time.Minute, 4 * time.Minute, -90 * time.Minute, 90 * time.Minute, -5 * time.Hour}
	skew := skews[n.w.rnd.IntN(len(skews))]
	set := func(skew time.Duration) func() {
		return func() {
			a.skew.Store(int64(skew))
			a.next = n.w.now()
		}
	}
	n.w.at(n.midnight.Add(-4*time.Hour), set(skew))
	n.w.at(n.midnight.Add(2*time.Hour), set(0))
	n.tell("%d clock %+dm", a.index, int(skew/time.Minute))
}

func partition(n *night, a *node) {
	cut := func(side int) func() {
		return func() {
			n.w.mu.Lock()
			defer n.w.mu.Unlock()
			a.side = side
		}
	}
	from, to := n.between(-130, -20), n.between(-10, 100)
	n.w.at(from, cut(1))
	n.w.at(to, cut(0))
	n.tell("%d cut off %s-%s", a.index, clockTime(from), clockTime(to))
}

// document is what an authority publishes, whatever its web server does with it; nil if there is none.
func (a *node) document(name string) []byte {
	rec := httptest.NewRecorder()
	a.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, a.url+name, nil))
	if rec.Code != http.StatusOK {
		return nil
	}
	return rec.Body.Bytes()
}

// instead has the web server of an authority serve other documents for some time.
func (a *node) instead(kind string, until time.Time, docs map[string][][]byte) {
	set := func(name string, f *forgery) {
		a.w.mu.Lock()
		defer a.w.mu.Unlock()
		if a.faults.instead == nil {
			a.faults.instead = map[string]*forgery{}
		}
		if a.faults.instead[name] = f; f == nil {
			delete(a.faults.instead, name)
		}
	}
	for name, texts := range docs {
		set(name, &forgery{kind: kind, docs: texts})
		a.w.at(until, func() { set(name, nil) })
	}
}

// equivocate gives half of those who ask another vote, which lacks a server.
func equivocate(n *night, a *node) {
	name := n.midnight.Format(time.DateOnly) + "-vote.gz"
	n.w.at(n.midnight.Add(-110*time.Minute), func() {
		if !a.up {
			return
		}
		text, err := dirclient.Gunzip(a.document(name), directory.MaxDirectoryLen)
		if err != nil {
			return // its clock is wrong, so it has not voted
		}
		own, err := directory.ParseDirectory(text)
		if err != nil || len(own.Servers) == 0 {
			n.w.t.Fatalf("vote with %d servers: %v", len(own.Servers), err)
		}
		info, out := own.Info, own.Servers[0].KeyID()
		info.Recommended = slices.DeleteFunc(slices.Clone(info.Recommended), func(name string) bool { return own.Servers[0].HasNickname(name) })
		rest := slices.DeleteFunc(slices.Clone(own.Servers), func(d *directory.Descriptor) bool { return d.KeyID() == out })
		body, err := directory.FormatDirectory(info, rest)
		if err != nil {
			n.w.t.Fatal(err)
		}
		other, err := directory.SignDirectory(body, keys()[a.index])
		if err != nil {
			n.w.t.Fatal(err)
		}
		gz, err := testdir.Gzip(other)
		if err != nil {
			n.w.t.Fatal(err)
		}
		a.instead("equivocated", n.midnight.Add(time.Hour), map[string][][]byte{name: {gz, nil}})
	})
	n.tell("%d votes twice", a.index)
}

func garbage(n *night, a *node) {
	set := func(on bool) func() {
		return func() {
			n.w.mu.Lock()
			defer n.w.mu.Unlock()
			a.faults.garbage = on
		}
	}
	from, to := n.between(-125, -30), n.between(-20, 160)
	if n.w.rnd.IntN(2) == 0 {
		to = n.midnight.Add(10 * time.Hour)
	}
	n.w.at(from, set(true))
	n.w.at(to, set(false))
	n.tell("%d garbage %s-%s", a.index, clockTime(from), clockTime(to))
}

// replay serves the vote of the day before, and to users, all day long, the directory of the day before.
func replay(n *night, a *node) {
	n.w.at(n.midnight.Add(-2*time.Hour), func() {
		if !a.up || a.Current() == nil {
			return
		}
		docs := map[string][][]byte{"current.gz": {a.document("current.gz")}, "current.gz.sig": {a.document("current.gz.sig")}}
		if old := a.document(n.midnight.Add(-day).Format(time.DateOnly) + "-vote.gz"); old != nil {
			docs[n.midnight.Format(time.DateOnly)+"-vote.gz"] = [][]byte{old}
		}
		a.instead("replayed", n.midnight.Add(10*time.Hour), docs)
	})
	n.tell("%d replays", a.index)
}

// forge: this authority and the next one have conspired, and serve a directory of their own making with both signatures, one server short.
func forge(n *night, a *node) {
	n.w.at(n.midnight.Add(4*time.Hour), func() {
		if !a.up || a.Current() == nil {
			return
		}
		true_ := a.Current()
		info := true_.Info
		info.ValidAfter, info.ValidUntil = n.midnight, n.midnight.Add(day)
		info.Recommended = nil
		body, err := directory.FormatDirectory(info, true_.Servers)
		if err != nil {
			n.w.t.Fatal(err)
		}
		second := n.w.nodes[(a.index+1)%members]
		text, err := directory.SignDirectory(body, keys()[a.index], keys()[second.index])
		if err != nil {
			n.w.t.Fatal(err)
		}
		var sigs []directory.Detached
		for _, i := range []int{a.index, second.index} {
			sig, err := directory.SignDetached(body, keys()[i])
			if err != nil {
				n.w.t.Fatal(err)
			}
			sigs = append(sigs, sig)
		}
		sigText, err := directory.FormatDetached(sigs)
		if err != nil {
			n.w.t.Fatal(err)
		}
		gz, err := testdir.Gzip(text)
		if err != nil {
			n.w.t.Fatal(err)
		}
		for _, liar := range []*node{a, second} {
			liar.instead("forged", n.midnight.Add(10*time.Hour), map[string][][]byte{"current.gz": {gz}, "current.gz.sig": {sigText}})
		}
	})
	n.tell("%d forges", a.index)
}

// restore puts the disk of an authority back by most of a day, as an operator does after a crash.
func restore(n *night, a *node) {
	backup := filepath.Join(n.w.dir, "backup", fmt.Sprint(a.index, n.midnight.Unix()))
	if err := os.CopyFS(backup, os.DirFS(a.dir)); err != nil {
		n.w.t.Fatal(err)
	}
	at := []time.Time{n.midnight.Add(-90 * time.Minute), n.midnight.Add(-50 * time.Minute), n.midnight.Add(-25 * time.Minute), n.midnight.Add(7 * time.Hour)}[n.w.rnd.IntN(4)]
	n.w.at(at, func() {
		if !a.up {
			return
		}
		a.stop()
		if err := os.RemoveAll(a.dir); err != nil {
			n.w.t.Fatal(err)
		}
		if err := os.CopyFS(a.dir, os.DirFS(backup)); err != nil {
			n.w.t.Fatal(err)
		}
		if err := os.RemoveAll(backup); err != nil {
			n.w.t.Fatal(err)
		}
		n.w.mark("restored")
		a.start()
	})
	n.tell("%d restored %s", a.index, clockTime(at))
}

func restart(n *night, a *node) {
	var times []string
	for range 1 + n.w.rnd.IntN(4) {
		at := n.between(-121, 5)
		times = append(times, clockTime(at))
		n.w.at(at, func() {
			if a.up {
				a.stop()
				a.start()
				n.w.mark("restarted")
			}
		})
	}
	slices.Sort(times)
	n.tell("%d restarted %s", a.index, strings.Join(times, " "))
}

func loseUploads(n *night, a *node) {
	set := func(deaf bool) func() {
		return func() {
			n.w.mu.Lock()
			defer n.w.mu.Unlock()
			a.faults.deaf = deaf
		}
	}
	n.w.at(n.midnight.Add(-12*time.Hour), set(true))
	n.w.at(n.midnight.Add(10*time.Hour), set(false))
	n.tell("%d loses uploads", a.index)
}
