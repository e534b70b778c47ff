package days_test

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/testnet"
	"mixminion/message"
	"mixminion/mix"
	"mixminion/path"
)

// seed decides what goes wrong and when.
var seed = flag.Uint64("seed", 2, "of the world")

// A row is how one day came out.
type row struct {
	day     time.Time
	reached bool
	signed  int // signatures under the consensus
	failed  []string
	faults  []string
	mixes   ages
	users   ages
}

// ages counts programs by what they do with the directory that they hold.
type ages struct{ fresh, stale, refused, none int }

// add counts a program that holds the directory of a day, zero if none.
func (a *ages) add(of time.Time, now time.Time) {
	switch {
	case of.IsZero():
		a.none++
	case now.Before(of.Add(day)):
		a.fresh++
	case now.Before(of.Add(day + directory.Grace)):
		a.stale++
	default:
		a.refused++
	}
}

func (a ages) String() string { return fmt.Sprintf("%d/%d/%d/%d", a.fresh, a.stale, a.refused, a.none) }

// evaluate looks at the consensus of a day, three hours after it was due.
func (w *world) evaluate(n *night) row {
	w.t.Helper()
	date := n.midnight.Format(time.DateOnly)
	r := row{day: n.midnight, faults: n.told}
	for _, a := range w.nodes {
		if !a.up {
			continue
		}
		// Wherever a majority has signed something, it is the same.
		if d := a.published(date); d != nil {
			if err := w.ledger.signed(d.ValidAfter, d.BodyHash()); err != nil {
				w.t.Errorf("authority %d: %v", a.index, err)
			}
			if d.ValidAfter.Equal(n.midnight) {
				r.reached, r.signed = true, max(r.signed, len(d.Signers))
			}
		}
	}
	for _, a := range w.nodes {
		current := a.up && a.Current() != nil && a.Current().ValidAfter.Equal(n.midnight)
		switch {
		case !a.up:
		case r.reached && !current:
			w.t.Errorf("%s: authority %d has not got the consensus\n%s", date, a.index, strings.Join(a.log.about(date), "\n"))
		case r.reached && a.document("current.gz") == nil:
			w.t.Errorf("%s: authority %d does not publish the consensus", date, a.index)
		case !r.reached && len(a.log.about("consensus for "+date+": not reached")) == 0:
			w.t.Errorf("%s: authority %d says nothing about the consensus that did not come about\n%s", date, a.index, strings.Join(a.log.about(date), "\n"))
		}
	}
	r.failed = w.blamed(date)
	for i := range n.absent {
		if n.absent[i] && !slices.Contains(r.failed, fmt.Sprint(i)) {
			w.t.Errorf("%s: authority %d was away and nobody says so", date, i)
		}
	}
	if !r.reached && len(r.failed) == 0 {
		w.t.Errorf("%s: no consensus, and nobody is to blame", date)
	}
	return r
}

// published is the consensus of a day, if an authority publishes one that a majority has signed.
func (a *node) published(date string) *directory.Directory {
	a.w.t.Helper()
	gz, sig := a.document(date+".gz"), a.document(date+".gz.sig")
	if gz == nil || sig == nil {
		return nil
	}
	c, err := dirclient.Judge(gz, sig, a.w.trust().Trusted, a.w.now())
	if err != nil {
		return nil // what has no majority need not be anything
	}
	return c.Directory
}

// blamed returns the numbers of the authorities that the reports of at least two others name, or that say themselves
// what is wrong with them.
func (w *world) blamed(date string) (numbers []string) {
	for i, a := range w.nodes {
		reports := 0
		for _, b := range w.nodes {
			switch {
			case a == b && len(b.log.about("day="+date, " our ")) > 0:
				reports += 2
			case a != b && len(b.log.about("day="+date, a.url)) > 0:
				reports++
			}
		}
		if reports > 1 {
			numbers = append(numbers, fmt.Sprint(i))
		}
	}
	return numbers
}

// lying reports whether a web server shows users a directory that is not the authority's.
func (w *world) lying() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.nodes, func(n *node) bool { return n.faults.instead["current.gz"] != nil })
}

// compareChoices: whoever holds the directory of today chooses among the same servers.
func (w *world) compareChoices() (compared int) {
	w.t.Helper()
	var first string
	for _, u := range w.clients {
		held, err := u.Directory()
		if err != nil {
			w.t.Fatal(err)
		}
		if held == nil || held.Freshness(w.now()) != directory.Fresh {
			continue
		}
		digests, err := u.choices()
		if err != nil {
			w.t.Fatal(err)
		}
		if choices := fmt.Sprint(digests); first == "" {
			first = choices
		} else if choices != first {
			w.t.Errorf("%v: %s chooses among other servers", w.now(), u.name)
		}
		compared++
	}
	return compared
}

// at hour of the day that begins at a midnight.
func at(midnight time.Time, hours float64) time.Time {
	return midnight.Add(time.Duration(hours * float64(time.Hour)))
}

// TestDays: on each day there is one consensus that a majority has signed, or reports say who failed; and whatever happens, nobody believes
// less, goes back, or has another directory than others.
func TestDays(t *testing.T) {
	began := time.Now()
	w := newWorld(t, *seed)
	for i := range simMixes {
		born, dies := start.Truncate(day), start.AddDate(1, 0, 0)
		switch i {
		case 3:
			born = start.Truncate(day).AddDate(0, 0, days/3) // a new one
		case 4:
			dies = start.Truncate(day).AddDate(0, 0, days/3) // one that goes without a word
		}
		w.addMix(i, born, dies)
	}
	sink, real := w.startMixes(t)
	daily, seldom, owl := w.addClient("daily"), w.addClient("seldom"), w.addClient("owl")
	var rows []row
	var compared int
	for d := range days {
		midnight := start.Truncate(day).AddDate(0, 0, d+1)
		n := &night{w: w, midnight: midnight}
		switch {
		case d == 0 || d >= days-2: // all is well
		case d >= outageFrom && d < outageFrom+outageDays:
			if d == outageFrom {
				w.outage(at(midnight, 12+24*(outageDays-1)))
			}
			n.absent = map[int]bool{1: true, 2: true, 3: true}
			n.tell("1 2 3 down, day %d of %d", d-outageFrom+1, outageDays)
		default:
			n = w.plan(midnight)
		}
		w.at(at(midnight, -11), w.mixesPublish)
		w.at(at(midnight, -0.2), func() { w.download(owl) })
		w.at(at(midnight, 0.2), func() { w.download(owl) })
		w.at(at(midnight, 4+w.rnd.Float64()*5), func() { w.download(daily) })
		if d%3 == 0 {
			w.at(at(midnight, 5), func() { w.download(seldom) })
		}
		w.at(at(midnight, 5.5+w.rnd.Float64()*5), w.mixesDownload)
		w.until(at(midnight, 3))
		r := w.evaluate(n)
		w.until(at(midnight, 8))
		newcomer := w.addClient(fmt.Sprint("newcomer", d))
		w.download(newcomer)
		if w.lying() {
			// Who asks again and again gets to hear the liars too.
			for range 8 {
				w.download(daily, newcomer)
			}
		}
		w.until(at(midnight, 11))
		compared += w.compareChoices()
		for _, m := range w.mixes {
			if m.alive(w.now()) {
				r.mixes.add(w.ledger.of(m.name), w.now())
			}
		}
		for _, node := range real.Nodes {
			held, err := node.Mix.Directory()
			if err == nil && held != nil {
				err = w.ledger.holds(node.Nickname, held.ValidAfter, held.BodyHash(), held.Quorum.Signed)
			}
			if err != nil {
				t.Error(err)
			}
			r.mixes.add(w.ledger.of(node.Nickname), w.now())
		}
		for _, u := range w.clients {
			u.checkUsable(w)
			r.users.add(w.ledger.of(u.name), w.now())
		}
		w.clients = w.clients[:3] // newcomers go again
		rows = append(rows, r)
		w.until(at(midnight, 12))
	}
	w.finish(sink, real, daily)
	w.judge(rows, compared)
	t.Logf("%d days with -seed %d in %v\n%s", days, *seed, time.Since(began).Round(100*time.Millisecond), table(rows))
	t.Logf("faults that had an effect: %v", w.struck)
}

// judge looks at all days together: the test is worth nothing if little went wrong, or if nothing came about.
func (w *world) judge(rows []row, compared int) {
	w.t.Helper()
	reached := 0
	for _, r := range rows {
		if r.reached {
			reached++
		}
	}
	if 2*reached <= len(rows) {
		w.t.Errorf("a consensus on %d of %d days only", reached, len(rows))
	}
	if outageDays > 0 && reached == len(rows) {
		w.t.Error("a consensus on every day, though a majority was down")
	}
	if last := rows[len(rows)-1]; !last.reached || last.signed != members {
		w.t.Errorf("the last day has no consensus of all: %+v", last)
	}
	if compared < len(rows) {
		w.t.Errorf("choices were compared %d times only", compared)
	}
	if kinds := slices.Sorted(maps.Keys(w.struck)); len(kinds) < wantKinds {
		w.t.Errorf("only these faults had an effect: %v", kinds)
	}
	if w.struck["equivocated"] > 1 {
		proofs := 0
		for _, a := range w.nodes {
			proofs += len(a.log.about("has signed two different votes"))
		}
		if proofs == 0 {
			w.t.Error("votes were given twice, and nobody has noticed")
		}
	}
}

func table(rows []row) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%-10s  %-11s  %-9s  %-11s  %-9s  %s\n", "day", "consensus", "blamed", "mixes*", "clients*", "what went wrong (by number of the authority)")
	for _, r := range rows {
		outcome := "none"
		if r.reached {
			outcome = fmt.Sprintf("%d of %d sign", r.signed, members)
		}
		fmt.Fprintf(&out, "%s  %-11s  %-9s  %-11s  %-9s  %s\n", r.day.Format(time.DateOnly), outcome, strings.Join(r.failed, ","), r.mixes, r.users, strings.Join(r.faults, "; "))
	}
	return out.String() + "* programs whose directory is of today / older, used with a warning / too old, refused / none yet, at 11:00\n"
}

// startMixes starts real mixes, which publish, download and change their keys by the clock of the world.
func (w *world) startMixes(t *testing.T) (*testnet.Sink, *testnet.Network) {
	t.Helper()
	sink, err := testnet.NewSink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
	net, err := testnet.Start(context.Background(), testnet.Options{
		Dir: filepath.Join(w.dir, "real"), Mixes: realMixes, Group: w.group, SMTP: sink.Addr,
		Rule: mix.Rule{Algorithm: mix.Timed}, Interval: 10 * time.Minute, Clock: w.clk,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
	return sink, net
}

// finish checks the network when all has been well for two days: every mix is listed, and a message goes over the real ones, over TLS.
func (w *world) finish(sink *testnet.Sink, real *testnet.Network, u *user) {
	t := w.t
	t.Helper()
	w.download(u)
	held, err := u.Directory()
	if err != nil || held == nil || held.Quorum.Signed != members || held.Freshness(w.now()) != directory.Fresh {
		t.Fatalf("the last directory: %v, %+v", err, held)
	}
	listed := map[string]bool{}
	for _, d := range held.Servers {
		if held.Recommends(d) {
			listed[d.Nickname] = true
		}
	}
	for _, m := range w.mixes {
		if m.alive(w.now()) != listed[m.name] && m.alive(w.now()) {
			t.Errorf("%s is not listed", m.name)
		}
	}
	w.checkTwins(held)
	var names []string
	for _, node := range real.Nodes {
		names = append(names, node.Nickname)
		if !listed[node.Nickname] {
			t.Errorf("%s is not listed", node.Nickname)
		}
	}
	to, err := client.ParseAddress("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := path.ParseSpec(names[0] + "," + names[1] + ":" + names[2])
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 8)
	rand.Read(text)
	body := fmt.Sprintf("After %d days: %x\n", days, text)
	ready, err := u.Prepare(t.Context(), client.Message{To: to, Body: []byte(body), Path: spec, Headers: message.Headers{Subject: "Days"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Deliver(t.Context(), ready, nil); err != nil {
		t.Fatal(err)
	}
	step := time.NewTicker(20 * time.Millisecond)
	defer step.Stop()
	for {
		select {
		case m := <-sink.Mails:
			if !strings.Contains(string(m.Data), strings.TrimSpace(body)) {
				t.Errorf("another mail came: %s", m.Data)
			}
			return
		case <-step.C:
			w.clk.Advance(time.Minute)
		case <-t.Context().Done():
			t.Fatal("the message did not arrive")
		}
	}
}

// checkTwins: descriptors that differ in the signature alone have reached different authorities, and the directory has
// the text that comes first.
func (w *world) checkTwins(held *dirclient.Consensus) {
	w.t.Helper()
	texts := map[crypt.Digest][]string{}
	for _, a := range w.nodes {
		text, err := dirclient.Gunzip(a.document(held.ValidAfter.Format(time.DateOnly)+"-vote.gz"), directory.MaxDirectoryLen)
		if err != nil {
			w.t.Fatal(err)
		}
		vote, err := directory.ParseDirectory(text)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, d := range vote.Servers {
			if text := string(d.Text()); !slices.Contains(texts[d.Digest()], text) {
				texts[d.Digest()] = append(texts[d.Digest()], text)
			}
		}
	}
	twins := 0
	for _, d := range held.Servers {
		voted := texts[d.Digest()]
		if len(voted) > 1 {
			twins++
		}
		if len(voted) == 0 || slices.Min(voted) != string(d.Text()) {
			w.t.Errorf("of %d texts of a descriptor of %s the directory has not the first", len(voted), d.Nickname)
		}
	}
	if twins == 0 {
		w.t.Error("no descriptor was signed twice")
	}
}
