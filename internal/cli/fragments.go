package cli

import (
	"context"
	"errors"
	"fmt"

	"mixminion/client"
	"mixminion/message"

	"github.com/spf13/cobra"
)

func newListFragments(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list-fragments",
		Short: "Say which long messages have arrived in part",
		Long: "Lists the long messages of which the decode command has found fragments, and how many of those that\n" +
			"are needed are here. A message that has them all can be had with the reassemble command.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			return u.listFragments(s)
		},
	}
}

func (u *user) listFragments(s *streams) error {
	pool, err := u.Fragments()
	if err != nil {
		return err
	}
	list, err := pool.List()
	if err != nil {
		return err
	}
	for _, p := range list {
		_, err := fmt.Fprintf(s.out, "%s: to %s. %d bytes (%d/%d packets received)\n", p.ShortID(), recipient(p.For), p.Size, p.Have, p.Need)
		if err != nil {
			return err
		}
	}
	if len(list) == 0 {
		if _, err := fmt.Fprintln(s.out, "(No fragments being reassembled)"); err != nil {
			return err
		}
	}
	old, err := u.OldFragments()
	if err != nil {
		return err
	}
	if old > 0 {
		s.warn("%s in the form of Mixminion 0.0.8, msg_* and fragments_db*, cannot be read; decode their mails again, or use 0.0.8", count(old, "fragment"))
	}
	return reportDamage(s, pool)
}

// reportDamage names the damaged files of a pool.
func reportDamage(s *streams, pool *client.FragmentPool) error {
	for _, err := range pool.Problems() {
		s.warn("%v", err)
	}
	if len(pool.Problems()) > 0 {
		return errors.New("not all fragments can be used")
	}
	return nil
}

// recipient names who a message is for.
func recipient(by message.Opener) string {
	switch {
	case by.Via == message.ViaNone:
		return "your address"
	case by.Name == "":
		return "you"
	}
	return by.Name
}

type reassembleOptions struct {
	output       string
	purge, force bool
}

func newReassemble(s *streams, configFile *string) *cobra.Command {
	var o reassembleOptions
	cmd := &cobra.Command{
		Use:   "reassemble ID...",
		Short: "Put a long message together from its fragments",
		Long: "Writes long messages of which enough fragments have arrived. The list-fragments command shows their IDs,\n" +
			"which may be shortened. A message stays where it is until it is purged.",
		RunE: func(cmd *cobra.Command, ids []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			return u.reassemble(cmd.Context(), s, ids, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "-", "write messages to `FILE`; - is standard output")
	f.BoolVarP(&o.purge, "purge", "P", false, "delete the fragments of the messages that were written")
	f.BoolVarP(&o.force, "force", "F", false, "accept messages that expand excessively, and show binary ones on a terminal")
	return cmd
}

func newPurgeFragments(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "purge-fragments ID...",
		Short: "Delete the fragments of long messages",
		Long: "Deletes all fragments of long messages, without reading them. Fragments of the same messages that\n" +
			"come later are dropped.",
		RunE: func(cmd *cobra.Command, ids []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			return u.purgeFragments(cmd.Context(), s, ids)
		},
	}
}

const noIDs = "No message IDs given. The list-fragments command shows them."

func (u *user) reassemble(ctx context.Context, s *streams, ids []string, o reassembleOptions) (err error) {
	if len(ids) == 0 {
		s.say(noIDs)
		return nil
	}
	out, err := newOutput(s, o.output, o.force)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	work := func() error {
		return u.withFragments(s, ids, func(pool *client.FragmentPool, found []message.ID) ([]message.ID, error) {
			written, err := writeWhole(s, pool, found, out, o.force)
			if err != nil || !o.purge {
				return written, err
			}
			return written, pool.Remove(written...)
		})
	}
	if o.purge {
		return u.locked(ctx, s, work)
	}
	return work()
}

// writeWhole writes the messages of which enough fragments are there, and returns which those are.
func writeWhole(s *streams, pool *client.FragmentPool, ids []message.ID, out *output, force bool) ([]message.ID, error) {
	var written []message.ID
	for _, id := range ids {
		name := client.Partial{ID: id}.ShortID()
		r, err := pool.Reassemble(id, force)
		if err == nil {
			err = out.write(&r)
		}
		if errors.Is(err, errOutput) {
			return nil, err
		}
		if err != nil {
			s.warn("%s: %v", name, advise(err))
			continue
		}
		written = append(written, id)
		s.say("Message %s: %s%s.", name, count(len(r.Body), "byte"), openedBy(r.By))
	}
	return written, out.commit()
}

func (u *user) purgeFragments(ctx context.Context, s *streams, ids []string) error {
	if len(ids) == 0 {
		s.say(noIDs)
		return nil
	}
	return u.locked(ctx, s, func() error {
		return u.withFragments(s, ids, func(pool *client.FragmentPool, found []message.ID) ([]message.ID, error) {
			if err := pool.Remove(found...); err != nil {
				return nil, err
			}
			for _, id := range found {
				s.say("Purged %s.", client.Partial{ID: id}.ShortID())
			}
			return found, nil
		})
	})
}

// withFragments does something to the messages that the user named. The function returns those that it was done to.
func (u *user) withFragments(s *streams, ids []string, do func(*client.FragmentPool, []message.ID) ([]message.ID, error)) (err error) {
	pool, err := u.Fragments()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	var found []message.ID
	seen := map[message.ID]bool{}
	failed := 0
	for _, text := range ids {
		id, err := pool.Find(text)
		switch {
		case err != nil:
			failed++
			s.warn("%q: %v", text, err)
		case !seen[id]:
			seen[id] = true
			found = append(found, id)
		}
	}
	done, err := do(pool, found)
	if err != nil {
		return err
	}
	for _, err := range pool.Problems() {
		s.warn("%v", err)
	}
	if failed += len(found) - len(done); failed > 0 {
		return fmt.Errorf("%d of %s failed", failed, count(len(ids), "message"))
	}
	return nil
}
