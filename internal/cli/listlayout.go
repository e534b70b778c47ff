package cli

import (
	"fmt"
	"strings"
	"time"

	"mixminion/client"
)

// listLayout is how list-servers lays out its table. Other programs read it: every form is that of the first implementation.
type listLayout struct {
	justify, times           bool
	cascade, cascadeFeatures bool
	separator                string
}

// format writes the table. Rows of one server follow each other.
func (l listLayout) format(features []client.Feature, rows []client.FeatureRow) string {
	widths := make([]int, len(features))
	nameWidth := 0
	if l.justify {
		for _, r := range rows {
			nameWidth = max(nameWidth, len(r.Nickname))
			for i, v := range r.Values {
				widths[i] = max(widths[i], len(v))
			}
		}
	}
	var b strings.Builder
	last := ""
	for _, r := range rows {
		if (l.cascade || l.cascadeFeatures) && r.Nickname != last {
			fmt.Fprintf(&b, "%s:\n", r.Nickname)
		}
		last = r.Nickname
		switch {
		case l.cascadeFeatures:
			if l.times {
				fmt.Fprintf(&b, "  [%s]\n", lifetime(r))
			}
			for i, v := range r.Values {
				fmt.Fprintf(&b, "    %s:%s\n", features[i], v)
			}
		case l.cascade:
			fmt.Fprintf(&b, "  [%s] %s\n", lifetime(r), l.values(r, widths))
		case l.times:
			fmt.Fprintf(&b, "%-*s:%s:%s\n", nameWidth, r.Nickname, lifetime(r), l.values(r, widths))
		default:
			fmt.Fprintf(&b, "%-*s:%s\n", nameWidth, r.Nickname, l.values(r, widths))
		}
	}
	return b.String()
}

// values joins the values of a row, each but the last padded to its column.
func (l listLayout) values(r client.FeatureRow, widths []int) string {
	cells := make([]string, len(r.Values))
	for i, v := range r.Values {
		if i < len(r.Values)-1 {
			v = fmt.Sprintf("%-*s", widths[i], v)
		}
		cells[i] = v
	}
	return strings.Join(cells, l.separator)
}

func lifetime(r client.FeatureRow) string {
	return r.From.UTC().Format(time.DateOnly) + " to " + r.Until.UTC().Format(time.DateOnly)
}
