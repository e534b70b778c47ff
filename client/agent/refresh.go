package agent

import (
	"context"
	"time"

	"mixminion/client"
)

const (
	// refreshMean is how old a directory gets, on average, before the next one is fetched. Directories change once a day.
	refreshMean = 6 * time.Hour
	// retryMean is the same for one that could not be fetched, and for the first.
	retryMean = 20 * time.Minute
)

// refresh fetches directories until ctx ends: at random times, which tell nothing of what the user does.
func (a *Agent) refresh(ctx context.Context) error {
	mean := retryMean
	for {
		d, err := gap(a.rnd, mean)
		if err != nil {
			return err
		}
		if !a.wait(ctx, a.clock.Now().Add(d)) {
			return nil
		}
		err = a.cfg.Refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		a.mu.Lock()
		a.outdated = err
		a.mu.Unlock()
		event := client.AgentEvent{Kind: client.EventRefreshed}
		mean = refreshMean
		if err != nil {
			event = client.AgentEvent{Kind: client.EventProblem, Problem: err.Error()}
			mean = retryMean
		}
		a.events.tell(event)
	}
}
