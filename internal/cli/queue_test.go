package cli

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"mixminion/client"
)

func TestReport(t *testing.T) {
	broken := errors.New("send to mix: broken")
	for name, c := range map[string]struct {
		result      client.FlushResult
		interrupted bool
		want        string
	}{
		"all sent":  {client.FlushResult{Sent: 2}, false, ""},
		"some kept": {client.FlushResult{Sent: 1, Kept: 1, Causes: []error{broken}}, false, "mixminion: send to mix: broken\nmixminion: 1 of 2 packets not sent and kept in the queue; to send later: mixminion flush\n"},
		"damaged":   {client.FlushResult{Sent: 2, Damaged: []error{broken}}, false, "mixminion: send to mix: broken\n"},
		"interrupted": {client.FlushResult{Kept: 2, Causes: []error{broken}}, true,
			"mixminion: 2 of 2 packets not sent and kept in the queue; to send later: mixminion flush\n"},
		"interrupted too late": {client.FlushResult{Sent: 2}, true, ""},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if c.interrupted {
			cancel()
		}
		var errOut bytes.Buffer
		err := report(ctx, &streams{err: &errOut, quiet: true}, &c.result, 2)
		cancel()
		if wantErr := c.interrupted && c.result.Kept > 0; errors.Is(err, context.Canceled) != wantErr || errOut.String() != c.want {
			t.Errorf("%s: %q, %v", name, errOut.String(), err)
		}
	}
}

func TestListWaiting(t *testing.T) {
	today := time.Now().UTC().Truncate(oneDay)
	for _, c := range []struct {
		n    int
		days time.Duration
		want string
	}{
		{1, 0, "1 packet for north, queued today\n"},
		{1, 1, "1 packet for north, queued 1 day ago\n"},
		{7, 12, "7 packets for north, the oldest queued 12 days ago\n"},
		{2, -1, "2 packets for north, the oldest queued today\n"}, // a clock was wrong
	} {
		var out bytes.Buffer
		if err := listWaiting(&out, c.n, "north", today.Add(-c.days*oneDay)); err != nil || out.String() != c.want {
			t.Errorf("%q: %v", out.String(), err)
		}
	}
}
