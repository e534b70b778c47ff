package client

import (
	"errors"
	"time"

	"mixminion/message"
)

// Errors of talking to an agent.
var (
	// ErrNoAgent says that no agent runs for a home directory.
	ErrNoAgent = errors.New("no agent runs; start one with mixminion agent")
	// ErrAgentGone says that the agent ended, or closed the connection.
	ErrAgentGone = errors.New("the agent closed the connection")
)

// An AgentError is the agent's answer to a request that it could not do. Codes are listed in docs/spec/agent-api.md.
type AgentError struct {
	Code    string
	Message string
}

func (e *AgentError) Error() string { return "agent: " + e.Message }

// Seconds is a length of time, a number in JSON.
type Seconds float64

// Duration converts to the type of package time.
func (s Seconds) Duration() time.Duration {
	if d := float64(s) * float64(time.Second); d < 1<<63 {
		return time.Duration(d)
	}
	return 1<<63 - 1
}

// AgentStatus is how it stands with an agent. The time of its next event is no part of it: nobody knows but the agent.
type AgentStatus struct {
	Queued   int     `json:"queued"`            // packets that wait
	Mean     Seconds `json:"mean_seconds"`      // between two events, on average
	PerEvent int     `json:"packets_per_event"` // that leave at each event
	// Expected is the time until all that wait will have left, on average, and Bound the time that this does not exceed in 95 of 100 cases;
	// if the agent runs, every server takes its packets, and nothing is added.
	Expected Seconds `json:"expected_seconds"`
	Bound    Seconds `json:"bound_seconds"`
	// Problem says why nothing leaves: dummies cannot be made, so events pass by. Outdated says why there is no newer directory.
	Problem  string `json:"problem,omitempty"`
	Outdated string `json:"outdated,omitempty"`
}

// An AgentMessage is a message for an agent to wrap and to queue.
type AgentMessage struct {
	To               []string `json:"to"` // addresses, as ParseAddress reads them; each gets packets of its own
	Body             []byte   `json:"body"`
	Subject          string   `json:"subject,omitempty"`
	From             string   `json:"from,omitempty"`
	InReplyTo        string   `json:"in_reply_to,omitempty"`
	References       string   `json:"references,omitempty"`
	Path             string   `json:"path,omitempty"` // a specification; "" means what the user has configured
	DeliverFragments bool     `json:"deliver_fragments,omitempty"`
	SharePacket      bool     `json:"share_packet,omitempty"` // up to eight recipients get one packet and see each other
}

// Headers are those of the message.
func (m *AgentMessage) Headers() message.Headers {
	return message.Headers{Subject: m.Subject, From: m.From, InReplyTo: m.InReplyTo, References: m.References}
}

// AgentQueued tells what became of an AgentMessage.
type AgentQueued struct {
	Packets  int      `json:"packets"`
	Warnings []string `json:"warnings,omitempty"`
	// Overcompressed warns that recipients will get the message compressed, since it expands too much.
	Overcompressed bool        `json:"overcompressed,omitempty"`
	Status         AgentStatus `json:"status"` // with these packets in the queue
}

// AgentPacket is a packet that waits, as an agent tells of it.
type AgentPacket struct {
	ID    string `json:"id"`
	First string `json:"first"` // host:port of its first server
	Day   string `json:"day"`   // YYYY-MM-DD (UTC): since when it waits
}

// AgentServer is a server that an agent knows.
type AgentServer struct {
	Nickname    string   `json:"nickname"`
	Address     string   `json:"address,omitempty"` // host:port
	Fingerprint string   `json:"fingerprint"`
	Caps        []string `json:"caps"` // mbox, smtp, frag, relay
	ValidUntil  string   `json:"valid_until"`
}

// Kinds of events.
const (
	EventQueued    = "queued"    // packets came into the queue, through this agent
	EventSent      = "sent"      // a packet of the queue left
	EventKept      = "kept"      // a packet of the queue could not be sent, and waits on
	EventRefreshed = "refreshed" // there is a new directory
	EventProblem   = "problem"   // something does not work
)

// An AgentEvent tells of something that happened to the packets of the queue. Of dummies there are none.
type AgentEvent struct {
	Kind    string `json:"-"`
	Queued  int    `json:"queued"` // packets that wait now; only of the kinds queued, sent and kept
	Problem string `json:"problem,omitempty"`
}
