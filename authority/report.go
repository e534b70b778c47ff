package authority

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mixminion/directory"
)

// A Report tells the operator how the making of a day's consensus ended.
type Report struct {
	Day     string
	Outcome Outcome
	Level   slog.Level // Info: all is well; Warn: somebody is missing; Error: there is no consensus, or somebody is to be asked questions
	Summary string
	Lines   []string // who failed in what
	Advice  []string // what to do
}

func (r *Report) String() string {
	return strings.Join(slices.Concat([]string{r.Summary}, r.Lines, r.Advice), "\n")
}

func (r *Report) worse(level slog.Level) { r.Level = max(r.Level, level) }

func (r *Report) line(level slog.Level, format string, args ...any) {
	r.worse(level)
	r.Lines = append(r.Lines, fmt.Sprintf(format, args...))
}

func (r *Report) advise(text string) {
	if !slices.Contains(r.Advice, text) {
		r.Advice = append(r.Advice, text)
	}
}

// Report says how the consensus of one of the last days came out, or how far its making has come at the end of the last step; nil if
// nothing is known of that day any more. It may be called at any time.
func (a *Authority) Report(d time.Time) *Report {
	v := a.view.Load()
	for _, rec := range v.records {
		if rec.Day == d.Format(dateLayout) {
			return a.reportOn(rec, v.skews)
		}
	}
	return nil
}

// report logs how the consensus of the day of c came out, once for each outcome.
func (a *Authority) report(c *cycle) {
	outcome := Failed
	if a.current != nil && a.current.ValidAfter.Equal(c.day) {
		outcome = Reached
		// Others may have signed what we did not.
		c.rec.Signed = nil
		for _, s := range a.quorum.Standings {
			if s.Signed && s.Detached {
				c.rec.Signed = append(c.rec.Signed, s.Fingerprint)
			}
		}
	}
	if c.rec.Outcome == outcome {
		return
	}
	if outcome == Failed && a.current == nil && len(c.votes) == 0 {
		// The first day of an authority: nobody has failed in anything.
		if !a.greeted {
			a.greeted = true
			a.cfg.Logger.Info("there is no consensus yet; the next vote is at 22:00 UTC")
		}
		return
	}
	c.rec.Outcome = outcome
	r := a.reportOn(c.rec, a.skews)
	a.cfg.Logger.Log(context.Background(), r.Level, r.Summary)
	for _, line := range r.Lines {
		a.cfg.Logger.Log(context.Background(), min(r.Level, slog.LevelWarn), line, "day", r.Day)
	}
	for _, line := range r.Advice {
		a.cfg.Logger.Log(context.Background(), min(r.Level, slog.LevelWarn), "what to do: "+line, "day", r.Day)
	}
}

// reportOn makes the report of a record.
func (a *Authority) reportOn(rec *Record, skews map[string]time.Duration) *Report {
	r := &Report{Day: rec.Day, Outcome: rec.Outcome, Level: slog.LevelInfo}
	n := len(a.members)
	switch rec.Outcome {
	case Reached:
		r.Summary = fmt.Sprintf("consensus for %s: reached, with the signatures of %d of %d authorities", rec.Day, len(rec.Signed), n)
	case Failed:
		r.worse(slog.LevelError)
		r.Summary = fmt.Sprintf("consensus for %s: not reached, %d of %d authorities have signed the same and %d are needed; the one before stays current",
			rec.Day, len(rec.Signed), n, n/2+1)
		if rec.NoMajority {
			r.line(slog.LevelError, "there were valid votes of %d of %d authorities only, too few to compute a consensus", len(rec.Counted), n)
		}
	default:
		r.Summary = fmt.Sprintf("consensus for %s: being made, %d of %d authorities have signed", rec.Day, len(rec.Signed), n)
	}
	for _, m := range a.members {
		if m.Fingerprint != a.id {
			a.reportMember(r, rec, m)
		} else if rec.of(a.id).Equivocated {
			r.line(slog.LevelError, "somebody else signs votes with our key")
			r.advise("find out whether two programs use this identity key; if not, it is stolen: stop, and tell the operators of the other authorities")
		}
	}
	switch mine := slices.Contains(rec.Signed, a.id); {
	case rec.Outcome == Pending || mine:
	case len(rec.Counted) == 0:
		r.line(slog.LevelWarn, "this authority took no part")
	case rec.Outcome == Reached:
		r.line(slog.LevelError, "this authority did not sign what the majority signed")
	}
	for _, p := range rec.Problems {
		r.line(slog.LevelWarn, "%s", p)
	}
	a.reportClocks(r, skews)
	if rec.Outcome == Failed {
		r.advise("there is nothing to decide by hand: the next vote is at 22:00 UTC, and programs use the last consensus until 48 hours after its end")
	}
	return r
}

func (a *Authority) reportMember(r *Report, rec *Record, m directory.Authority) {
	who, is := a.name(m.Fingerprint), rec.of(m.Fingerprint)
	counted := slices.Contains(rec.Counted, m.Fingerprint)
	switch {
	case is.Equivocated:
		r.line(slog.LevelError, "%s has signed two different votes; neither counted. Proof: %s and %s", who,
			copyName(parseDay(rec.Day), m.Fingerprint), proofName(parseDay(rec.Day), m.Fingerprint))
		r.advise("ask the operators of the authority with two votes for an explanation; if it has none, the others should remove it from the group")
	case !counted && is.VoteError != "":
		r.line(slog.LevelWarn, "no vote of %s: %s", who, is.VoteError)
	case is.Indirect:
		r.line(slog.LevelInfo, "the vote of %s came from others: it could not be had from itself", who)
	}
	if is.SignedTwo {
		r.line(slog.LevelError, "%s has signed two different consensuses, which honest authorities never do; so both may have a majority", who)
		r.advise("tell everybody, and ask the operators of the authority with two consensuses for an explanation; if it has none, the others should " +
			"remove it from the group. The other consensus is kept in " + evidenceDir)
	}
	switch {
	case is.OtherBody != "":
		r.line(slog.LevelError, "fragmentation: %s has signed another consensus than we, SHA-256 %s", who, is.OtherBody)
		for _, v := range is.Votes {
			r.line(slog.LevelError, "%s: %s", who, v)
		}
		r.advise("ask the operators of the authorities that disagree what happened between 23:00 and 23:20; all votes are published as " + rec.Day +
			"-vote-*" + zipSuffix + ", and who counts the same votes signs the same")
	case slices.Contains(rec.Signed, m.Fingerprint):
	case is.SignError != "":
		r.line(slog.LevelWarn, "no signature of %s: %s", who, is.SignError)
	}
	if is.VoteError != "" && !counted || is.SignError != "" && is.OtherBody == "" && !slices.Contains(rec.Signed, m.Fingerprint) {
		r.advise("ask the operators of the authorities that are missing whether they know; the others go on without them while they are a majority")
	}
}

// reportClocks names the clocks that are wrong: theirs, or ours if most others agree that it is.
func (a *Authority) reportClocks(r *Report, skews map[string]time.Duration) {
	off := 0
	for _, skew := range skews {
		if skew != 0 {
			off++
		}
	}
	if off > 1 && 2*off > len(skews) {
		r.line(slog.LevelWarn, "our clock differs by more than %s from that of %d of %d other authorities", human(maxSkew), off, len(skews))
		r.advise("set the clock of this machine, and let it be kept right by NTP")
		return
	}
	for _, m := range a.others {
		if skew := skews[m.Fingerprint]; skew != 0 {
			r.line(slog.LevelWarn, "the clock of %s differs from ours by %s", a.name(m.Fingerprint), human(skew))
		}
	}
}

func human(d time.Duration) string {
	return strings.TrimSuffix(d.Round(time.Second).String(), "0s")
}

func parseDay(s string) time.Time {
	d, err := time.Parse(dateLayout, s)
	if err != nil {
		return time.Time{}
	}
	return d
}
