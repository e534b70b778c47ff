package authority

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the template of the page
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mixminion/directory"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// contentPolicy allows the page its own style and nothing else.
var contentPolicy = func() string {
	hash := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// pageDays is how many days of consensuses the page links to.
const pageDays = 7

type pageData struct {
	Style           template.CSS
	Fingerprint     string
	Now             string
	Contact, Policy string

	Current             bool
	CurrentDay          string
	Signed              int
	Listed, Recommended int
	BodyHash            string
	Warnings            []string

	VoteDay     string
	Authorities []pageAuthority
	Servers     []pageServer

	ClientVersions, ServerVersions string
	Days                           []string
}

type pageAuthority struct {
	Letter, Fingerprint string
	URLs                []string
	Own                 bool
	Vote, VoteFile      string
	Signed              string
}

type pageServer struct {
	Nickname, Fingerprint, Does string
	Valid                       []string
	State                       string
	Votes                       []string
}

// A renderedPage is the page as it was shown last.
type renderedPage struct {
	view   *view
	minute time.Time
	html   []byte
}

// page gives the page at the URL base (dir-spec 5.1), from the view that the last step left. It is rendered at most
// once for a view and a minute: anybody can ask for it, as often as they like.
func (a *Authority) page() ([]byte, error) {
	v, now := a.view.Load(), a.cfg.Clock.Now().UTC()
	a.pageMu.Lock()
	defer a.pageMu.Unlock()
	if last := a.shown; last.view == v && last.minute.Equal(now.Truncate(time.Minute)) {
		return last.html, nil
	}
	html, err := a.renderPage(v, now)
	if err == nil {
		a.shown = renderedPage{v, now.Truncate(time.Minute), html}
	}
	return html, err
}

func (a *Authority) renderPage(v *view, now time.Time) ([]byte, error) {
	p := pageData{
		Style: template.CSS(pageStyle), Fingerprint: a.id, Now: now.Format("2006-01-02 15:04"),
		Contact: a.cfg.Contact, Policy: a.cfg.Policy, VoteDay: v.voteDay,
		Warnings: a.warnings(v, now),
	}
	if d := v.current; d != nil {
		hash := d.BodyHash()
		p.Current, p.CurrentDay, p.BodyHash = true, d.ValidAfter.Format(dateLayout), hex.EncodeToString(hash[:])
		p.Signed, p.Recommended = v.quorum.Signed, len(d.Recommended)
		p.ClientVersions, p.ServerVersions = strings.Join(d.ClientVersions, ", "), strings.Join(d.ServerVersions, ", ")
	}
	for i, m := range a.members {
		p.Authorities = append(p.Authorities, a.pageAuthority(v, i, m))
	}
	p.Servers = a.pageServers(v, now)
	for _, s := range p.Servers {
		if s.State != "no" {
			p.Listed++
		}
	}
	names := a.shelf.list()
	for _, name := range slices.Backward(names) {
		if d, vote, ok := documentDay(name); ok && !vote && name == consensusName(d) && len(p.Days) < pageDays {
			p.Days = append(p.Days, d.Format(dateLayout))
		}
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, p); err != nil {
		return nil, fmt.Errorf("render the page: %w", err)
	}
	return out.Bytes(), nil
}

// warnings says what is not as it should be: the age of the directory, and what the last finished vote was like.
func (a *Authority) warnings(v *view, now time.Time) []string {
	var out []string
	if d := v.current; d != nil {
		switch d.Freshness(now) {
		case directory.Stale:
			out = append(out, fmt.Sprintf("The directory was valid until %s. Programs still use it, with a warning, until %s.",
				d.ValidUntil.Format(dateLayout), d.ValidUntil.Add(directory.Grace).Format(dateLayout)))
		case directory.Expired:
			out = append(out, fmt.Sprintf("The directory was valid until %s and is too old; programs refuse it.", d.ValidUntil.Format(dateLayout)))
		case directory.Early:
			out = append(out, "The directory is from the future: the clock of this authority is wrong.")
		}
	}
	for _, rec := range v.records {
		if rec.Outcome == Pending {
			continue
		}
		if r := a.reportOn(rec, v.skews); r.Level > slog.LevelInfo {
			out = append(out, sentence(r.Summary))
			for _, line := range r.Lines {
				out = append(out, sentence(line))
			}
		}
		break
	}
	return out
}

// sentence makes a line of a report one: it begins with a capital letter unless it begins with a URL.
func sentence(s string) string {
	if s == "" || strings.HasPrefix(s, "http") {
		return s + "."
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func (a *Authority) pageAuthority(v *view, i int, m directory.Authority) pageAuthority {
	p := pageAuthority{Letter: letter(i), Fingerprint: m.Fingerprint, URLs: m.URLs, Own: m.Fingerprint == a.id, Vote: "none", Signed: "no"}
	if vote := v.votes[m.Fingerprint]; vote != nil {
		d := vote.ValidAfter
		p.Vote, p.VoteFile = "lists "+plural(len(vote.Servers), "descriptor"), copyName(d, m.Fingerprint)
		if p.Own {
			p.VoteFile = voteName(d)
		}
		if vote.equivocal {
			p.Vote = "signed two different votes"
		}
	}
	for _, s := range v.quorum.Standings {
		switch {
		case s.Fingerprint != m.Fingerprint:
		case s.Signed && s.Detached:
			p.Signed = "yes"
		case s.Signed || s.Detached:
			p.Signed = "half: only one of its two signatures is there"
		}
	}
	return p
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// letter names the authorities in the columns of the table.
func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return fmt.Sprint(i + 1)
}

// pageServers lists the servers of the current consensus and of the votes.
func (a *Authority) pageServers(v *view, now time.Time) []pageServer {
	rows := map[string]*pageServer{}
	row := func(d *directory.Descriptor) *pageServer {
		fp := d.Fingerprint()
		if rows[fp] == nil {
			rows[fp] = &pageServer{Nickname: d.Nickname, Fingerprint: fp, State: "no", Votes: make([]string, len(a.members))}
		}
		return rows[fp]
	}
	add := func(s *pageServer, d *directory.Descriptor) {
		if valid := d.ValidAfter.Format(dateLayout) + " to " + d.ValidUntil.Format(dateLayout); !slices.Contains(s.Valid, valid) {
			s.Valid = append(s.Valid, valid)
		}
		if s.Does == "" || d.LiveAt(now) {
			s.Does = strings.Join(d.Capabilities(), ", ")
		}
	}
	if v.current != nil {
		for _, d := range v.current.Servers {
			s := row(d)
			add(s, d)
			if s.State = "listed"; v.current.Recommends(d) {
				s.State = "recommended"
			}
		}
	}
	for i, m := range a.members {
		vote := v.votes[m.Fingerprint]
		if vote == nil {
			continue
		}
		for _, d := range vote.Servers {
			s := row(d)
			if s.State == "no" {
				add(s, d)
			}
			if s.Votes[i] = "lists"; vote.Recommends(d) {
				s.Votes[i] = "recommends"
			}
		}
	}
	var out []pageServer
	for _, s := range rows {
		for i, m := range a.members {
			switch {
			case v.votes[m.Fingerprint] == nil:
				s.Votes[i] = "no vote"
			case s.Votes[i] == "":
				s.Votes[i] = "no"
			}
		}
		if s.Does == "" {
			s.Does = "nothing"
		}
		slices.Sort(s.Valid)
		out = append(out, *s)
	}
	slices.SortFunc(out, func(x, y pageServer) int {
		if c := strings.Compare(strings.ToLower(x.Nickname), strings.ToLower(y.Nickname)); c != 0 {
			return c
		}
		return strings.Compare(x.Fingerprint, y.Fingerprint)
	})
	return out
}
