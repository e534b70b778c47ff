package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"mixminion/client"
	"mixminion/client/agent"
)

// A front end gives a message to the agent that runs, and waits until all packets have left.
func ExampleDialAgent() {
	ctx := context.Background()
	user, err := os.UserHomeDir()
	if err != nil {
		log.Fatal(err)
	}
	home := filepath.Join(user, ".mixminion")
	a, err := client.DialAgent(ctx, home)
	if errors.Is(err, client.ErrNoAgent) {
		log.Fatal("start mixminion agent first")
	}
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	queued, err := a.Send(ctx, client.AgentMessage{
		To: []string{"bob@example.com"}, Subject: "An open letter", Body: []byte("Dear Bob,\n"),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range queued.Warnings {
		fmt.Println("Warning:", w)
	}
	fmt.Printf("%d packets; the last will probably have left within %v\n", queued.Packets, queued.Status.Bound.Duration().Round(time.Minute))

	events, err := a.Events(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Kind, e.Queued)
		if e.Kind == client.EventSent && e.Queued == 0 {
			break
		}
	}
}

// A program can run an agent itself, in place of mixminion agent.
func ExampleAgent_Status() {
	home, err := os.MkdirTemp("", "mixminion-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(home) }()
	c, err := client.Open(home, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	runs, err := agent.New(c, agent.Config{Mean: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runs.Run(ctx) }()

	a, err := client.DialAgent(ctx, home)
	if err != nil {
		log.Fatal(err)
	}
	status, err := a.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d packets wait; %d leaves every %v on average\n", status.Queued, status.PerEvent, status.Mean.Duration())
	if err := a.Close(); err != nil {
		log.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	// Output: 0 packets wait; 1 leaves every 1h0m0s on average
}
