package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"mixminion/client"
	"mixminion/client/internal/agentwire"
	"mixminion/packet"
	"mixminion/path"
)

// do does what a request asks for.
func (a *Agent) do(ctx context.Context, r agentwire.Request) (result any, bad *agentwire.Error) {
	if r.Method == agentwire.Send {
		var m client.AgentMessage
		if bad := agentwire.ParseParams(r.Params, &m); bad != nil {
			return nil, bad
		}
		return failed(a.send(ctx, m))
	}
	methods := map[string]func() (any, error){
		agentwire.Status:  func() (any, error) { return a.status() },
		agentwire.Queue:   func() (any, error) { return a.queue() },
		agentwire.Servers: func() (any, error) { return a.servers() },
		agentwire.Stop:    func() (any, error) { return struct{}{}, nil },
	}
	do := methods[r.Method]
	if do == nil {
		return nil, &agentwire.Error{Code: agentwire.CodeMethod, Message: "there is no such method"}
	}
	if bad := agentwire.ParseParams(r.Params, &struct{}{}); bad != nil {
		return nil, bad
	}
	return failed(do())
}

// failed gives an error the form that front ends get.
func failed(result any, err error) (any, *agentwire.Error) {
	if err != nil {
		return nil, &agentwire.Error{Code: agentwire.CodeFailed, Message: err.Error()}
	}
	return result, nil
}

// send wraps a message for each of its recipients and queues all packets, or none.
func (a *Agent) send(ctx context.Context, m client.AgentMessage) (*client.AgentQueued, error) {
	spec := a.cfg.Path
	if m.Path != "" {
		var err error
		if spec, err = path.ParseSpec(m.Path); err != nil {
			return nil, err
		}
	}
	to, err := recipients(m)
	if err != nil {
		return nil, err
	}
	messages := make([]client.Message, len(to))
	for i, t := range to {
		messages[i] = client.Message{To: t, Headers: m.Headers(), Body: m.Body, Path: spec, DeliverFragments: m.DeliverFragments}
	}
	p, err := a.client.PrepareAll(ctx, messages, nil)
	if err != nil {
		return nil, err
	}
	if err := a.enqueue(ctx, p); err != nil {
		return nil, err
	}
	out := &client.AgentQueued{Packets: len(p.Packets), Overcompressed: p.Overcompressed}
	for _, w := range p.Warnings {
		out.Warnings = append(out.Warnings, w.String())
	}
	if out.Status, err = a.status(); err != nil {
		return nil, fmt.Errorf("the message waits in the queue, but: %w", err)
	}
	a.events.tell(client.AgentEvent{Kind: client.EventQueued, Queued: out.Status.Queued})
	return out, nil
}

// recipients are the addresses that get packets of their own.
func recipients(m client.AgentMessage) ([]client.Address, error) {
	list := make([]client.Address, len(m.To))
	for i, text := range m.To {
		var err error
		if list[i], err = client.ParseAddress(text); err != nil {
			return nil, fmt.Errorf("recipient %d: %w", i+1, err)
		}
		if m.SharePacket && list[i].Type != packet.TypeSMTP {
			return nil, fmt.Errorf("recipient %d: only addresses like user@host can share a packet", i+1)
		}
	}
	list, err := client.Recipients(list)
	if err == nil && m.SharePacket {
		list = client.Share(list)
	}
	return list, err
}

func (a *Agent) enqueue(ctx context.Context, p *client.Prepared) (err error) {
	unlock, err := a.client.Lock(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	_, err = a.client.Enqueue(ctx, p)
	return err
}

// status is how it stands.
func (a *Agent) status() (client.AgentStatus, error) {
	n, err := a.client.QueueLen()
	if err != nil {
		return client.AgentStatus{}, err
	}
	expected, bound := estimate(n, a.cfg.PerEvent, a.cfg.Mean)
	st := client.AgentStatus{
		Queued: n, Mean: client.Seconds(a.cfg.Mean.Seconds()), PerEvent: a.cfg.PerEvent,
		Expected: client.Seconds(expected.Seconds()), Bound: client.Seconds(bound.Seconds()),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.problem != nil {
		st.Problem = a.problem.Error()
	}
	if a.outdated != nil {
		st.Outdated = a.outdated.Error()
	}
	return st, nil
}

func (a *Agent) queue() ([]client.AgentPacket, error) {
	q, err := a.client.Queue()
	if err != nil {
		return nil, err
	}
	list := make([]client.AgentPacket, len(q.Packets))
	for i, p := range q.Packets {
		list[i] = client.AgentPacket{ID: p.ID, First: p.First.String(), Day: p.Day.Format(time.DateOnly)}
	}
	return list, nil
}

func (a *Agent) servers() ([]client.AgentServer, error) {
	known, err := a.client.Servers()
	if err != nil {
		return nil, err
	}
	rows, err := client.ListFeatures(known, client.FeatureQuery{
		Features: []client.Feature{client.FeatureFingerprint, client.FeatureCaps}, Now: a.clock.Now(),
	})
	if err != nil {
		return nil, err
	}
	list := make([]client.AgentServer, len(rows))
	for i, r := range rows {
		list[i] = client.AgentServer{
			Nickname: r.Nickname, Fingerprint: r.Values[0], Caps: strings.Fields(r.Values[1]), ValidUntil: r.Until.UTC().Format(time.DateOnly),
		}
		for _, d := range known {
			if d.Nickname == r.Nickname && d.Incoming != nil {
				list[i].Address = net.JoinHostPort(d.Incoming.Hostname, strconv.Itoa(int(d.Incoming.Port)))
			}
		}
	}
	return list, nil
}
