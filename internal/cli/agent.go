package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mixminion/client"
	"mixminion/client/agent"
	"mixminion/internal/config"

	"github.com/spf13/cobra"
)

type agentOptions struct {
	mean         intervalFlag
	packets      int
	status, stop bool
}

// intervalFlag is a config.Interval as a flag: 30 minutes, 2 hours.
type intervalFlag config.Interval

func (f *intervalFlag) Set(text string) error { return (*config.Interval)(f).Set(text) }
func (f *intervalFlag) Type() string          { return "interval" }
func (f *intervalFlag) String() string {
	if *f == 0 {
		return ""
	}
	return config.Interval(*f).String()
}

func newAgent(s *streams, configFile *string) *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Let packets and dummies leave at random times",
		Long: "Runs until it is interrupted, and lets a packet leave at random times, every half hour on\n" +
			"average: one of your queue, or, when nothing waits, a dummy that goes nowhere. Whoever watches\n" +
			"your line cannot tell which, nor when you write, nor whether you do. While it runs, send and\n" +
			"queue leave their packets to it and say when the last one will probably have left.\n\n" +
			"A watcher still sees that you run it, and from when to when: let it run all the time.\n\n" +
			"What it does at each time does not depend on how much waits. A packet that its\n" +
			"first mix does not take is tried again in place of a dummy for the same mix. It keeps the directory fresh, at random times too. Only one agent\n" +
			"runs for a home directory. Programs talk to it over the socket agent.sock there.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.status && o.stop {
				return errors.New("--status and --stop contradict each other")
			}
			if (o.status || o.stop) && (cmd.Flags().Changed("mean") || cmd.Flags().Changed("packets")) {
				return errors.New("an agent that runs cannot be changed: stop it and start it anew")
			}
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			switch {
			case o.status:
				return u.agentStatus(cmd.Context(), s)
			case o.stop:
				return u.stopAgent(cmd.Context(), s)
			}
			if !cmd.Flags().Changed("mean") {
				o.mean = intervalFlag(u.cfg.Agent.MeanInterval)
			}
			if !cmd.Flags().Changed("packets") {
				o.packets = u.cfg.Agent.PacketsPerEvent
			}
			return u.runAgent(cmd.Context(), s, o)
		},
	}
	f := cmd.Flags()
	f.Var(&o.mean, "mean", "the average `TIME` from one departure to the next, like \"30 minutes\"")
	f.IntVar(&o.packets, "packets", 0, "let `N` packets leave each time")
	f.BoolVar(&o.status, "status", false, "say how it stands with the agent that runs")
	f.BoolVar(&o.stop, "stop", false, "end the agent that runs; what waits in the queue stays there")
	return cmd
}

func (u *user) runAgent(ctx context.Context, s *streams, o agentOptions) error {
	if o.mean <= 0 || o.packets <= 0 {
		return errors.New("--mean and --packets must be more than nothing")
	}
	spec, err := u.forwardPath("")
	if err != nil {
		return err
	}
	cfg := agent.Config{Mean: time.Duration(o.mean), PerEvent: o.packets, Path: spec, Program: software}
	if u.HasAuthorities() {
		cfg.Refresh = func(ctx context.Context) error {
			_, err := u.UpdateServers(ctx)
			return err
		}
	}
	a, err := agent.New(u.Client, cfg)
	if errors.Is(err, agent.ErrRunning) {
		return fmt.Errorf("%w; to see how it stands: mixminion agent --status", err)
	}
	if err != nil {
		return err
	}
	if _, err := u.Dummy(spec); err != nil {
		s.warn("no dummies can be made, and without them nothing leaves: %v", err)
	}
	s.say("The agent runs. %s every %s on average, whether or not you write.", leave(o.packets), config.Interval(o.mean))
	if err := a.Run(ctx); err != nil {
		return err
	}
	s.say("The agent has stopped. What waits stays in the queue.")
	return nil
}

func leave(packets int) string {
	if packets == 1 {
		return "1 packet leaves"
	}
	return fmt.Sprintf("%d packets leave", packets)
}

// dialAgent connects to the agent of the home directory. It returns nil if none runs.
func (u *user) dialAgent(ctx context.Context) (*client.Agent, error) {
	a, err := client.DialAgent(ctx, u.Home())
	if errors.Is(err, client.ErrNoAgent) {
		return nil, nil
	}
	return a, err
}

func (u *user) agentStatus(ctx context.Context, s *streams) (err error) {
	a, err := client.DialAgent(ctx, u.Home())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	st, err := a.Status(ctx)
	if err != nil {
		return err
	}
	for _, p := range []string{st.Problem, st.Outdated} {
		if p != "" {
			s.warn("%s", p)
		}
	}
	_, err = fmt.Fprintf(s.out, "The agent runs. %s every %s on average.\n", leave(st.PerEvent), roughly(st.Mean.Duration()))
	if err != nil {
		return err
	}
	if st.Queued == 0 {
		_, err = fmt.Fprintln(s.out, "No packets wait.")
	} else {
		_, err = fmt.Fprintf(s.out, "%s. %s\n", waiting(st.Queued), prospect(st))
	}
	return err
}

func (u *user) stopAgent(ctx context.Context, s *streams) (err error) {
	a, err := client.DialAgent(ctx, u.Home())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := a.Stop(ctx); err != nil {
		return err
	}
	s.say("The agent ends as soon as what it has begun to send is sent.")
	return nil
}

// giveToAgent puts packets into the queue for an agent that runs, and says when they will have left.
func (u *user) giveToAgent(ctx context.Context, s *streams, a *client.Agent, ready *client.Prepared, namedPath bool) error {
	err := u.locked(ctx, s, func() error {
		_, err := u.Enqueue(ctx, ready)
		return err
	})
	if err != nil {
		return fmt.Errorf("nothing was sent: %w", err)
	}
	s.say("The agent has your message, and sends its %s among dummies.", count(len(ready.Packets), "packet"))
	if namedPath {
		s.say("Warning: you gave a path. If it names the first mix, a watcher of your line may tell these packets from dummies.")
	}
	st, err := a.Status(ctx)
	if err != nil {
		s.warn("your message is safe in the queue, but the agent does not say when it will leave: %v", err)
		return nil
	}
	if st.Problem != "" {
		s.warn("the agent lets nothing leave now: %s", st.Problem)
	}
	s.say("%s in all. %s", waiting(st.Queued), prospect(st))
	return nil
}

// prospect says when the packets that wait will have left.
func prospect(st client.AgentStatus) string {
	return fmt.Sprintf("The last of them will have left in about %s, and in 19 of 20 cases within %s, if the agent runs all the time and the mixes answer.",
		roughly(st.Expected.Duration()), roughly(st.Bound.Duration()))
}

// roughly rounds a time to what people want to know of it.
func roughly(d time.Duration) string {
	for _, unit := range []time.Duration{oneDay, time.Hour, time.Minute} {
		if d >= 3*unit {
			return config.Interval(d.Round(unit)).String()
		}
		if d >= unit {
			half := d.Round(unit / 2)
			if half%unit == 0 {
				return config.Interval(half).String()
			}
			return fmt.Sprintf("%.1f %ss", float64(half)/float64(unit), unitNames[unit])
		}
	}
	return config.Interval(d.Round(time.Second)).String()
}

var unitNames = map[time.Duration]string{oneDay: "day", time.Hour: "hour", time.Minute: "minute"}
