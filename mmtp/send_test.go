package mmtp

import (
	"context"
	"errors"
	"testing"

	"mixminion/packet"
)

func TestSend(t *testing.T) {
	rec := newRecorder()
	to := startServer(t, ServerConfig{Handler: rec})
	c := newTestClient(t, ClientConfig{})

	const n = 40
	var sent []*packet.Packet
	for range n {
		sent = append(sent, randomPacket(t))
	}
	go func() {
		for i := range n {
			(<-rec.arrivals).ack(i%3 != 0)
		}
	}()
	var o outcomes
	if err := c.Send(context.Background(), to, o.items(sent...)); err != nil {
		t.Fatal(err)
	}
	if len(o.errs) != n {
		t.Fatalf("%d outcomes, want %d", len(o.errs), n)
	}
	for i, err := range o.errs {
		if want := i%3 != 0; (err == nil) != want || err != nil && !errors.Is(err, ErrRejected) {
			t.Errorf("packet %d: %v", i, err)
		}
	}
}
