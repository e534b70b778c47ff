package cli

import (
	"errors"
	"fmt"
	"strings"

	"mixminion/authority/inbox"

	"github.com/spf13/cobra"
)

// A decisionCommand is the command by which the operator takes a decision.
type decisionCommand struct {
	name     string
	decision inbox.Decision
	short    string
	long     string
	past     string
	reason   bool
}

var decisionCommands = []decisionCommand{
	{"approve", inbox.Approved, "Vote for mixes", "The authority votes for these mixes from now on. Compare the fingerprint with what the\n" +
		"operator of the mix has told you: a nickname anybody can take. A fingerprint may be approved\n" +
		"before a descriptor has come.", "Approved", true},
	{"reject", inbox.Rejected, "Do not vote for mixes", "The authority does not vote for these mixes and tells them so when they publish. It still keeps\n" +
		"their descriptors and passes them on to the other authorities, who may think otherwise.", "Rejected", true},
	{"ban", inbox.Banned, "Have nothing to do with mixes", "The authority removes the descriptors of these mixes and takes no more of them. Their nicknames\n" +
		"are free for others.", "Banned", true},
	{"forget", inbox.Pending, "Take back a decision and remove the descriptors", "The authority forgets these mixes: what was decided, and their descriptors. When\n" +
		"they publish again they are new.", "Forgotten", false},
}

func newDecision(s *streams, configFile *string, d decisionCommand) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   d.name + " NICKNAME|FINGERPRINT...",
		Short: d.short,
		Long:  d.long,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := inbox.CheckReason(reason); err != nil {
				return err
			}
			b, err := openInbox(*configFile)
			if err != nil {
				return err
			}
			var errs []error
			for _, name := range names {
				x, err := b.Decide(cmd.Context(), name, d.decision, reason)
				switch {
				case err != nil:
					errs = append(errs, err)
				case x.Nickname == "":
					s.say("%s the key %s, of which no descriptor has come yet.", d.past, x.ID.Fingerprint())
				default:
					s.say("%s %s, key %s.", d.past, x.Nickname, x.ID.Fingerprint())
				}
			}
			return errors.Join(errs...)
		},
	}
	if d.reason {
		cmd.Flags().StringVar(&reason, "reason", "", "keep this `TEXT` with the decision; a mix that is rejected or banned is told")
	}
	return cmd
}

func newRecommend(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "recommend always|never|auto NICKNAME|FINGERPRINT...",
		Short: "Say when approved mixes are recommended to users",
		Long: "Programs choose paths from recommended mixes only. With auto, a mix is recommended unless it is\n" +
			"known to be unreliable; nothing measures that yet, so auto means always for now.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			when, ok := map[string]inbox.Recommendation{
				"always": inbox.Always, "never": inbox.Never, "auto": inbox.Automatic, "automatic": inbox.Automatic,
			}[strings.ToLower(args[0])]
			if !ok {
				return fmt.Errorf("%q is none of always, never and auto", args[0])
			}
			b, err := openInbox(*configFile)
			if err != nil {
				return err
			}
			var errs []error
			for _, name := range args[1:] {
				x, err := b.Recommend(cmd.Context(), name, when)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				s.say("Recommendation of %s, key %s: %s.", x.Nickname, x.ID.Fingerprint(), x.Recommend)
			}
			return errors.Join(errs...)
		},
	}
}
