package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mixminion/authority/inbox"
	"mixminion/internal/store/durable"

	"github.com/spf13/cobra"
)

func newDirectoryImport(s *streams, configFile *string) *cobra.Command {
	var approve bool
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Take descriptors from files, as if they had been published",
		Long: "Takes all descriptors in the files (- is standard input), each as if its mix had published it\n" +
			"to this authority just now: what is wrong, expired or superseded is refused.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			b, err := openInbox(*configFile, func(c *inbox.Config) {
				c.AutoApprove = approve
				c.Limits = inbox.DefaultLimits
				c.Limits.AutoApproved = 1 << 20 // a person has asked for it
			})
			if err != nil {
				return err
			}
			failed := 0
			for _, file := range files {
				sum, err := importDescriptors(cmd.Context(), b, s, file)
				if ctx := cmd.Context(); ctx.Err() != nil {
					return ctx.Err()
				}
				for _, r := range sum.Receipts {
					was := "Imported"
					if r.Known {
						was = "Known"
					}
					s.say("%s: %s, key %s, %s.", was, r.Server.Nickname, r.Server.Fingerprint(), r.Decision)
				}
				for _, err := range sum.Errs {
					s.say("Refused from %s: %v", file, err)
				}
				if err != nil {
					s.say("Not imported from %s: %v", file, err)
				}
				if err != nil || sum.Refused > 0 {
					failed++
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d files were not imported completely", failed, len(files))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&approve, "approve", false, "approve all of these mixes that you have not decided about")
	return cmd
}

func importDescriptors(ctx context.Context, b *inbox.Inbox, s *streams, file string) (inbox.Summary, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = readAll(interruptibleReader{ctx, s.in}, "standard input", inbox.MaxListLen)
	} else {
		text, err = readLimited(file, inbox.MaxListLen)
	}
	if err != nil {
		return inbox.Summary{}, err
	}
	sum, err := b.AddList(ctx, text, "import")
	if err == nil && len(sum.Receipts) == 0 && sum.Refused == 0 {
		err = errors.New("there is no descriptor in it")
	}
	return sum, err
}

func newDirectoryExport(s *streams, configFile *string) *cobra.Command {
	var approved bool
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write all descriptors to a file or to standard output",
		Long: "Writes all descriptors that the authority keeps, one after the other, as import and mixminion\n" +
			"import-server read them.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := openInbox(*configFile)
			if err != nil {
				return err
			}
			servers, err := b.Servers()
			if err != nil {
				return err
			}
			var text []byte
			n := 0
			for _, x := range servers {
				for _, d := range x.Descriptors {
					if approved && (x.Decision != inbox.Approved || d.Expired(time.Now())) {
						continue
					}
					n++
					text = append(text, d.Text()...)
				}
			}
			if len(args) == 0 || args[0] == "-" {
				_, err = s.out.Write(text)
				return err
			}
			if err := durable.WriteFile(args[0], text, 0o644); err != nil {
				return err
			}
			s.say("Wrote %d descriptors to %s.", n, args[0])
			return nil
		},
	}
	cmd.Flags().BoolVar(&approved, "approved", false, "only those of approved mixes that have not expired")
	return cmd
}
