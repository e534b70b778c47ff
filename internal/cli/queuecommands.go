package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mixminion/client"
	"mixminion/packet"

	"github.com/spf13/cobra"
)

func newFlush(s *streams, configFile *string) *cobra.Command {
	var max int
	cmd := &cobra.Command{
		Use:   "flush [SERVER...]",
		Short: "Send the packets that wait in the queue",
		Long: "Sends the packets that wait in the queue, those for the servers named or all. A server is\n" +
			"named by its nickname, its host, or host:port. What cannot be sent stays in the queue.",
		RunE: func(cmd *cobra.Command, servers []string) error {
			if cmd.Flags().Changed("count") && max < 1 {
				return fmt.Errorf("--count: %d packets cannot be sent; give a number from 1 on", max)
			}
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			if err := u.warnOfAgent(cmd.Context(), s); err != nil {
				return err
			}
			return u.flush(cmd.Context(), s, servers, max)
		},
	}
	cmd.Flags().IntVarP(&max, "count", "n", 0, "send at most `N` packets, chosen at random")
	return cmd
}

// warnOfAgent warns if what follows is what an agent that runs is there to hide.
func (u *user) warnOfAgent(ctx context.Context, s *streams) error {
	a, err := u.dialAgent(ctx)
	if a == nil || err != nil {
		return err
	}
	s.warn("%s", pastAgent)
	return a.Close()
}

func (u *user) flush(ctx context.Context, s *streams, servers []string, max int) error {
	return u.locked(ctx, s, func() error {
		only, q, err := u.chosen(servers)
		if err != nil {
			return err
		}
		total, stale := 0, 0
		for _, p := range q.Packets {
			if only(p) {
				total++
				if queueAge(p.Day) > client.MaxRetry {
					stale++
				}
			}
		}
		if stale > 0 {
			s.say("Warning: a mix may throw away a packet that has waited for more than %d days, and %d of these have.", client.MaxRetry/oneDay, stale)
		}
		if max > 0 {
			total = min(total, max)
		}
		if total > 0 {
			s.say("Sending %s.", count(total, "packet"))
		}
		p := newProgress(s)
		result, err := u.Flush(ctx, only, max, p)
		p.clear()
		if err != nil {
			return err
		}
		for _, first := range result.Legacy {
			s.say("Warning: the link to %s is of an old kind (TLS 1.0), which can be broken; the path names this mix.", first)
		}
		switch total := result.Sent + result.Kept; {
		case total == 0:
			s.say("No packets wait%s.", forThese(servers))
		case result.Kept == 0:
			s.say("Done: the network has %s.", count(result.Sent, "packet"))
		}
		return report(ctx, s, result, result.Sent+result.Kept)
	})
}

func forThese(servers []string) string {
	if len(servers) == 0 {
		return ""
	}
	return " for these servers"
}

// chosen reads the queue and tells which of its packets go first to a server that is named; without names all do.
func (u *user) chosen(servers []string) (only func(client.QueuedPacket) bool, q *client.QueueContents, err error) {
	if q, err = u.Queue(); err != nil {
		return nil, nil, err
	}
	if len(servers) == 0 {
		return func(client.QueuedPacket) bool { return true }, q, nil
	}
	match, err := u.MatchServers(servers, q.Packets)
	if err != nil {
		return nil, nil, err
	}
	return func(p client.QueuedPacket) bool { return match(p.First) }, q, nil
}

func newInspectQueue(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:     "inspect-queue",
		Aliases: []string{"list-queue"},
		Short:   "List the packets that wait in the queue",
		Long: "Says how many packets wait in the queue, for which first server, and since which day. Nothing\n" +
			"finer is kept, and nothing that tells for whom they are.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			return u.inspectQueue(s)
		},
	}
}

func (u *user) inspectQueue(s *streams) error {
	q, err := u.Queue()
	if err != nil {
		return err
	}
	for _, err := range q.Damaged {
		s.warn("%v", err)
	}
	if len(q.Packets) == 0 {
		_, err := fmt.Fprintln(s.out, "No packets wait.")
		return err
	}
	names, err := u.nicknames()
	if err != nil {
		return err
	}
	for i := 0; i < len(q.Packets); {
		first := q.Packets[i] // the oldest: packets are sorted
		n := 1
		for i+n < len(q.Packets) && q.Packets[i+n].First == first.First {
			n++
		}
		i += n
		if err := listWaiting(s.out, n, names(first.First), first.Day); err != nil {
			return err
		}
	}
	return nil
}

func listWaiting(w io.Writer, n int, server string, oldest time.Time) error {
	when := "queued today"
	if days := int(queueAge(oldest) / oneDay); days > 0 {
		when = fmt.Sprintf("queued %s ago", count(days, "day"))
	}
	if n > 1 {
		when = "the oldest " + when
	}
	_, err := fmt.Fprintf(w, "%s for %s, %s\n", count(n, "packet"), server, when)
	return err
}

// nicknames returns what names a hop as a user knows it.
func (u *user) nicknames() (func(packet.Hop) string, error) {
	servers, err := u.Servers()
	if err != nil {
		return nil, err
	}
	return func(h packet.Hop) string {
		for _, d := range servers {
			if d.KeyID() == h.KeyID {
				return fmt.Sprintf("%s at %s", d.Nickname, h)
			}
		}
		return h.String()
	}, nil
}

// defaultCleanDays is how long clean-queue leaves packets alone: the time after which a packet key is surely gone.
const defaultCleanDays = 60

func newCleanQueue(s *streams, configFile *string) *cobra.Command {
	var days int
	cmd := &cobra.Command{
		Use:   "clean-queue [SERVER...]",
		Short: "Throw away packets that have waited too long",
		Long: "Removes, without sending them, the packets that have waited in the queue for some days: those\n" +
			"for the servers named, by nickname, host or host:port, or all. With -d 0 no packet is left.",
		RunE: func(cmd *cobra.Command, servers []string) error {
			if days < 0 {
				return errors.New("--days: give a number of days from 0 on")
			}
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			return u.locked(cmd.Context(), s, func() error { return u.cleanQueue(s, servers, days) })
		},
	}
	cmd.Flags().IntVarP(&days, "days", "d", defaultCleanDays, "remove what has waited for `N` days or longer")
	return cmd
}

func (u *user) cleanQueue(s *streams, servers []string, days int) error {
	only, _, err := u.chosen(servers)
	if err != nil {
		return err
	}
	if len(servers) == 0 {
		only = nil
	}
	removed, damaged, err := u.Clean(days, only)
	if n := len(removed); n > 0 {
		s.say("Removed %s; what was in there will not arrive, unless other packets carry it, too.", count(n, "packet"))
	}
	if damaged > 0 {
		s.say("Removed %s.", count(damaged, "damaged file"))
	}
	if len(removed)+damaged == 0 && err == nil {
		s.say("No packets to remove%s: none has waited for %s.", forThese(servers), count(days, "day"))
	}
	return err
}

const oneDay = 24 * time.Hour

// queueAge is how long a packet has waited, in whole days.
func queueAge(queued time.Time) time.Duration { return time.Now().UTC().Truncate(oneDay).Sub(queued) }
