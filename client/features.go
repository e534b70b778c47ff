package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mixminion/directory"
)

// Errors about features and the servers that have them.
var (
	// ErrFeature says that a text names no feature, or more than one.
	ErrFeature = errors.New("no such feature")
	// ErrUnknownServer says that no descriptor of a server is known.
	ErrUnknownServer = errors.New("no descriptors found")
)

// A Feature is something that can be listed about servers: an entry of their descriptors, or, with an empty Section, something
// that this package works out.
type Feature struct{ Section, Key string }

// Features that are worked out.
var (
	FeatureCaps        = Feature{Key: "caps"}        // what the server does: mbox, smtp, relay, frag
	FeatureStatus      = Feature{Key: "status"}      // (ok), or what speaks against using it
	FeatureFingerprint = Feature{Key: "fingerprint"} // the digest of its identity key
)

func (f Feature) String() string {
	if f.Section == "" {
		return f.Key
	}
	return f.Section + ":" + f.Key
}

// NoValue stands for a feature that a descriptor does not have.
const NoValue = "<none>"

var descriptorKeys = []struct {
	section string
	keys    []string
}{
	{"Server", []string{"Descriptor-Version", "Nickname", "Identity", "Digest", "Signature", "Published", "Valid-After", "Valid-Until",
		"Packet-Key", "Packet-Versions", "Software", "Secure-Configuration", "Contact", "Contact-Fingerprint", "Comments", "Why-Insecure", "MyFamily"}},
	{"Incoming/MMTP", []string{"Version", "IP", "Hostname", "Port", "Key-Digest", "Protocols", "TLS-Versions", "Allow", "Deny"}},
	{"Outgoing/MMTP", []string{"Version", "Protocols", "TLS-Versions", "Allow", "Deny"}},
	{"Delivery/MBOX", []string{"Version", "Maximum-Size", "Allow-From"}},
	{"Delivery/SMTP", []string{"Version", "Maximum-Size", "Allow-From", "Maximum-Recipients"}},
	{"Delivery/Fragmented", []string{"Version", "Maximum-Fragments"}},
}

// Features returns all features: the entries of descriptors (dir-spec 3) in their usual order, then those that are worked out.
func Features() []Feature {
	var all []Feature
	for _, s := range descriptorKeys {
		for _, k := range s.keys {
			all = append(all, Feature{s.section, k})
		}
	}
	return append(all, FeatureCaps, FeatureStatus, FeatureFingerprint)
}

// Abbreviation is the shortest name that ParseFeature understands as f: its key if no other section has that key.
func (f Feature) Abbreviation() string {
	if len(featuresNamed(f.Key)) == 1 {
		return f.Key
	}
	return f.String()
}

// featuresNamed finds the features with a key, without regard to case.
func featuresNamed(key string) []Feature {
	return slices.DeleteFunc(Features(), func(f Feature) bool { return !strings.EqualFold(f.Key, key) })
}

// ParseFeature reads the name of a feature, without regard to case: Section:Key, or Key where that is enough. Errors wrap ErrFeature.
func ParseFeature(name string) (Feature, error) {
	if strings.EqualFold(name, "capabilities") {
		return FeatureCaps, nil
	}
	for _, f := range Features() {
		if strings.EqualFold(f.String(), name) {
			return f, nil
		}
	}
	switch found := featuresNamed(name); len(found) {
	case 0:
		return Feature{}, fmt.Errorf("%w: %q", ErrFeature, name)
	case 1:
		return found[0], nil
	default:
		var names []string
		for _, f := range found {
			names = append(names, f.String())
		}
		return Feature{}, fmt.Errorf("%w: %q can be %s", ErrFeature, name, strings.Join(names, ", "))
	}
}

// A FeatureQuery says what to list about servers.
type FeatureQuery struct {
	Features []Feature
	Names    []string  // nicknames, of which each must be known; none means all servers
	Now      time.Time // decides which descriptor is in force unless Times is set

	// Times asks for the lifetimes of descriptors. Each then gives a row of its own, but neighbours in time that do not differ in
	// Features are joined. Without it, each server has one row: how it is now, or else how it will be first.
	Times bool
	// Apart gives each descriptor a row of its own in any case.
	Apart bool

	// Recommended says which servers are recommended; nil means all. OnlyRecommended leaves the others out.
	Recommended     func(*directory.Descriptor) bool
	OnlyRecommended bool

	BlockServers, BlockEntries, BlockExits []string // as in Options, for FeatureStatus
}

// FeatureRow is what a server's descriptors say of it in some time.
type FeatureRow struct {
	Nickname    string
	From, Until time.Time
	Values      []string // one for each feature that was asked for
}

// ListFeatures makes the table that q asks for, sorted by nickname and then by time. Errors wrap ErrUnknownServer.
func ListFeatures(servers []*directory.Descriptor, q FeatureQuery) ([]FeatureRow, error) {
	byName := map[string][]*directory.Descriptor{}
	for _, d := range servers {
		if q.OnlyRecommended && !q.recommends(d) {
			continue
		}
		name := strings.ToLower(d.Nickname)
		byName[name] = append(byName[name], d)
	}
	var names []string
	for _, n := range q.Names {
		if byName[strings.ToLower(n)] == nil {
			if q.OnlyRecommended && slices.ContainsFunc(servers, func(d *directory.Descriptor) bool { return d.HasNickname(n) }) {
				return nil, fmt.Errorf("%w for %s that is recommended", ErrUnknownServer, n)
			}
			return nil, fmt.Errorf("%w for %s", ErrUnknownServer, n)
		}
		names = append(names, strings.ToLower(n))
	}
	if len(q.Names) == 0 {
		for n := range byName {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	var rows []FeatureRow
	for _, n := range slices.Compact(names) {
		rows = append(rows, q.rows(byName[n])...)
	}
	return rows, nil
}

func (q *FeatureQuery) recommends(d *directory.Descriptor) bool {
	return q.Recommended == nil || q.Recommended(d)
}

// rows lists one server.
func (q *FeatureQuery) rows(ds []*directory.Descriptor) []FeatureRow {
	ds = slices.Clone(ds)
	slices.SortStableFunc(ds, func(a, b *directory.Descriptor) int {
		if c := a.ValidAfter.Compare(b.ValidAfter); c != 0 {
			return c
		}
		return a.Published.Compare(b.Published)
	})
	if !q.Times && !q.Apart {
		return []FeatureRow{q.row(inForce(ds, q.Now))}
	}
	var rows []FeatureRow
	for _, d := range ds {
		r := q.row(d)
		if n := len(rows); n > 0 && !q.Apart && !r.From.After(rows[n-1].Until) && slices.Equal(r.Values, rows[n-1].Values) {
			if r.Until.After(rows[n-1].Until) {
				rows[n-1].Until = r.Until
			}
			continue
		}
		rows = append(rows, r)
	}
	return rows
}

// inForce finds, among descriptors of one server sorted by time, the one that is valid now and was published last; or else the first one.
func inForce(ds []*directory.Descriptor, now time.Time) *directory.Descriptor {
	best := ds[0]
	for _, d := range ds[1:] {
		if d.LiveAt(now) && (!best.LiveAt(now) || d.Published.After(best.Published)) {
			best = d
		}
	}
	return best
}

func (q *FeatureQuery) row(d *directory.Descriptor) FeatureRow {
	r := FeatureRow{Nickname: d.Nickname, From: d.ValidAfter, Until: d.ValidUntil}
	// The text was parsed when the descriptor was made, so it has no errors.
	sections, _ := directory.Parse(d.Text(), directory.DescriptorLimits)
	for _, f := range q.Features {
		r.Values = append(r.Values, q.value(d, sections, f))
	}
	return r
}

func (q *FeatureQuery) value(d *directory.Descriptor, sections []directory.Section, f Feature) string {
	switch f {
	case FeatureCaps:
		return strings.Join(d.Capabilities(), " ")
	case FeatureStatus:
		return q.status(d)
	case FeatureFingerprint:
		return d.Fingerprint()
	}
	var values []string
	for _, s := range sections {
		for _, e := range s.Entries {
			if s.Name == f.Section && e.Key == f.Key {
				values = append(values, e.Value)
			}
		}
	}
	if values == nil {
		return NoValue
	}
	return strings.Join(values, ", ")
}

func (q *FeatureQuery) status(d *directory.Descriptor) string {
	var against []string
	if !q.recommends(d) {
		against = append(against, "not recommended")
	}
	for _, b := range []struct {
		names []string
		text  string
	}{
		{q.BlockServers, "blocked"},
		{q.BlockEntries, "blocked as entry"},
		{q.BlockExits, "blocked as exit"},
	} {
		if slices.ContainsFunc(b.names, d.HasNickname) {
			against = append(against, b.text)
		}
	}
	if against == nil {
		return "(ok)"
	}
	return "(" + strings.Join(against, ",") + ")"
}
