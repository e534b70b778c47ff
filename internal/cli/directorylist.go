package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"mixminion/authority/inbox"
	"mixminion/directory"

	"github.com/spf13/cobra"
)

const dayLayout = "2006-01-02"

var allDecisions = []inbox.Decision{inbox.Pending, inbox.Approved, inbox.Rejected, inbox.Banned}

func newDirectoryList(s *streams, configFile *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [pending|approved|rejected|banned]",
		Short: "List the mixes that the authority knows",
		Long: "Lists the mixes that the authority knows, or those with one decision: nickname, decision,\n" +
			"whether it is recommended, the day when its last descriptor ends, and its fingerprint.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			only, err := parseDecision(args)
			if err != nil {
				return err
			}
			b, err := openInbox(*configFile)
			if err != nil {
				return err
			}
			servers, err := b.Servers()
			if err != nil {
				return err
			}
			for _, name := range b.Damaged() {
				s.say("Warning: the file descriptors/%s is damaged and is not used; it is replaced when the mix publishes again.", name)
			}
			return printServers(s, servers, only)
		},
	}
	return cmd
}

// parseDecision returns what the argument, if there is one, says.
func parseDecision(args []string) (inbox.Decision, error) {
	if len(args) == 0 {
		return "", nil
	}
	for _, d := range allDecisions {
		if strings.EqualFold(args[0], string(d)) {
			return d, nil
		}
	}
	return "", fmt.Errorf("%q is none of pending, approved, rejected and banned", args[0])
}

func printServers(s *streams, servers []inbox.Server, only inbox.Decision) error {
	now := time.Now()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(fields ...string) { _, _ = fmt.Fprintln(w, strings.Join(fields, "\t")) } // to memory
	n := 0
	for _, x := range servers {
		if only != "" && x.Decision != only {
			continue
		}
		if n++; n == 1 {
			line("NICKNAME", "DECISION", "RECOMMEND", "VALID UNTIL", "FINGERPRINT")
		}
		recommend := "-"
		if x.Decision == inbox.Approved {
			recommend = string(x.Recommend)
		}
		nickname := x.Nickname
		if nickname == "" {
			nickname = "-"
		}
		line(nickname, string(x.Decision), recommend, validUntil(x.Descriptors, now), x.ID.Fingerprint())
	}
	if n == 0 {
		s.say("There are no such mixes.")
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(s.out, b.String())
	return err
}

// validUntil tells the last day of all descriptors.
func validUntil(list []*directory.Descriptor, now time.Time) string {
	var last time.Time
	for _, d := range list {
		if d.ValidUntil.After(last) {
			last = d.ValidUntil
		}
	}
	switch {
	case last.IsZero():
		return "-"
	case !now.Before(last):
		return "expired"
	}
	return last.Format(dayLayout)
}

func newDirectoryShow(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "show NICKNAME|FINGERPRINT...",
		Short: "Show all that the authority knows of a mix",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			b, err := openInbox(*configFile)
			if err != nil {
				return err
			}
			var errs []error
			for i, name := range names {
				x, err := b.Find(name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				text := describeServer(x, time.Now())
				if i > 0 {
					text = "\n" + text
				}
				if _, err := io.WriteString(s.out, text); err != nil {
					return err
				}
			}
			return errors.Join(errs...)
		},
	}
}

func describeServer(x inbox.Server, now time.Time) string {
	var b strings.Builder
	line := func(indent, name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s%s: %s\n", indent, name, value)
		}
	}
	line("", "Nickname", x.Nickname)
	line("", "Fingerprint", x.ID.Fingerprint())
	if x.Decision == inbox.Pending {
		line("", "Decision", "pending: it waits for yours")
	} else {
		line("", "Decision", fmt.Sprintf("%s on %s", x.Decision, x.Day.Format(dayLayout)))
	}
	line("", "Reason", x.Reason)
	if x.Decision == inbox.Approved {
		line("", "Recommended", map[inbox.Recommendation]string{
			inbox.Automatic: "while it is not known to be unreliable", inbox.Always: "always", inbox.Never: "never",
		}[x.Recommend])
	}
	if len(x.Descriptors) == 0 {
		line("", "Descriptors", "none")
	}
	for _, d := range x.Descriptors {
		state := "valid"
		switch {
		case d.Expired(now):
			state = "expired"
		case directory.Superseded(d, x.Descriptors, now):
			state = "superseded"
		case !d.LiveAt(now):
			state = "valid later"
		}
		digest := d.Digest()
		fmt.Fprintf(&b, "Descriptor %x, %s:\n", digest[:8], state)
		line("  ", "Published", d.Published.Format("2006-01-02 15:04:05"))
		line("  ", "Valid", d.ValidAfter.Format(dayLayout)+" to "+d.ValidUntil.Format(dayLayout))
		if d.Incoming != nil {
			line("  ", "Address", fmt.Sprintf("%s:%d", d.Incoming.Hostname, d.Incoming.Port))
		}
		line("  ", "Does", strings.Join(d.Capabilities(), " "))
		line("  ", "Software", d.Software)
		line("  ", "Contact", d.Contact)
		line("  ", "OpenPGP key of the contact", d.ContactFingerprint)
		line("  ", "Comments", d.Comments)
		line("  ", "Insecure because", d.WhyInsecure)
		for _, n := range d.Notes {
			line("  ", "Note", n.String())
		}
	}
	return b.String()
}
