package mmtp

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/packet"
)

func TestClientReusesLink(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		for _, step := range []struct {
			wait  time.Duration
			dials int
		}{
			{0, 1}, {time.Minute, 1}, {119 * time.Second, 1}, {121 * time.Second, 2}, // idle for too long
			{100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 2},
			{100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 2}, {100 * time.Second, 3}, // used for too long
		} {
			time.Sleep(step.wait)
			if err := sendOne(client, to); err != nil {
				t.Fatal(err)
			}
			if d := n.dialed(); d != step.dials {
				t.Fatalf("%d connections made, want %d", d, step.dials)
			}
		}
		client.Close()
		if err := sendOne(client, to); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := client.Probe(context.Background(), to); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		stop()
	})
}

// TestClientLongBatch: a batch that takes longer than a link may live goes on over new links.
func TestClientLongBatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		var o outcomes
		err := client.Send(context.Background(), to, func(yield func(Item) bool) {
			for i := range 40 {
				time.Sleep(time.Minute)
				if !yield(o.item(fill(byte(i)), false)) {
					return
				}
			}
		})
		if err != nil || len(o.errs) != 40 || !o.allNil() {
			t.Errorf("%d outcomes, %v", len(o.errs), err)
		}
		if d := n.dialed(); d != 3 {
			t.Errorf("%d connections made", d)
		}
		client.Close()
		stop()
	})
}

// TestClientStaleLink: the server goes away while the link is idle and comes back.
func TestClientStaleLink(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		if err := sendOne(client, to); err != nil {
			t.Fatal(err)
		}
		stop()
		synctest.Wait()
		if err := sendOne(client, to); err == nil {
			t.Error("sent to nobody")
		}
		_, stop = n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		if err := sendOne(client, to); err != nil {
			t.Error(err)
		}
		client.Close()
		stop()
	})
}

// TestClientStaleLinkNoticedLate: the server ends an idle link just when it is used again.
func TestClientStaleLinkNoticedLate(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails int // links that end in this way
		dials int
		ok    bool
	}{{"once", 1, 2, true}, {"twice", 2, 2, false}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := new(pipeNet)
				links := 0
				to, stop := n.fake(t, "a", func(conn net.Conn) {
					links++
					answers := 100
					if links == 1 {
						answers = 1
					} else if links <= c.fails {
						answers = 0
					}
					for ; answers > 0; answers-- {
						p := readFrame(conn)
						if p == nil {
							return
						}
						_, _ = io.WriteString(conn, received+sum(p, "RECEIVED"))
					}
					readFrame(conn) // and closes without an answer
				})
				client := n.client(ClientConfig{})
				if err := sendOne(client, to); err != nil {
					t.Fatal(err)
				}
				var o outcomes
				err := client.Send(context.Background(), to, o.items(fill(1), fill(2), fill(3)))
				if (err == nil) != c.ok {
					t.Error(err)
				}
				if c.ok && (len(o.errs) != 3 || !o.allNil()) {
					t.Errorf("outcomes %v", o.errs)
				}
				if d := n.dialed(); d != c.dials {
					t.Errorf("%d connections made", d)
				}
				client.Close()
				stop()
			})
		})
	}
}

func TestClientCannotConnect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		client := n.client(ClientConfig{})
		taken := false
		items := iter.Seq[Item](func(func(Item) bool) { taken = true })
		nobody := packet.Hop{Host: "nobody.example.org", Port: 1}
		if err := client.Send(context.Background(), nobody, items); err == nil || taken {
			t.Errorf("error %v, items taken: %v", err, taken)
		}
		to, stop := n.fake(t, "a", func(net.Conn) {})
		silent := n.listen("silent.example.org:1")
		go func() {
			conn := <-silent.conns
			_, _ = io.Copy(io.Discard, conn)
		}()
		start := time.Now()
		err := client.Send(context.Background(), packet.Hop{Host: "silent.example.org", Port: 1}, items)
		if !errors.Is(err, context.DeadlineExceeded) || taken || time.Since(start) != time.Minute {
			t.Errorf("error %v after %v, items taken: %v", err, time.Since(start), taken)
		}
		to.KeyID[0] ^= 1
		if err := client.Send(context.Background(), to, items); !errors.Is(err, ErrKeyID) || taken {
			t.Errorf("error %v, items taken: %v", err, taken)
		}
		if len(client.peers) != 0 || client.open != 0 {
			t.Errorf("%d peers, %d links left over", len(client.peers), client.open)
		}
		client.Close()
		stop()
	})
}

func TestClientContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		rec := newRecorder()
		to, stop := n.serve(t, "a", ServerConfig{Handler: rec})
		client := n.client(ClientConfig{})
		ctx, cancel := context.WithCancel(context.Background())
		var o outcomes
		sent := make(chan error)
		go func() { sent <- client.Send(ctx, to, o.items(fill(1), fill(2))) }()
		(<-rec.arrivals).ack(true)
		synctest.Wait()
		waiting := make(chan error)
		go func() { waiting <- client.Send(ctx, to, o.items(fill(3))) }()
		synctest.Wait()
		cancel()
		if err := <-sent; !errors.Is(err, context.Canceled) {
			t.Errorf("Send: %v", err)
		}
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting Send: %v", err)
		}
		if len(o.errs) != 2 || o.errs[0] != nil || !errors.Is(o.errs[1], context.Canceled) {
			t.Errorf("outcomes %v", o.errs)
		}
		(<-rec.arrivals).ack(true)
		client.Close()
		stop()
	})
}

// TestClientMaxConnections: the place of the link that is idle for longest goes to a new one; without an idle link calls wait.
func TestClientMaxConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		rec := newRecorder()
		var hops []packet.Hop
		var stops []func()
		for _, host := range []string{"a", "b", "c", "d"} {
			to, stop := n.serve(t, host, ServerConfig{Handler: rec})
			hops, stops = append(hops, to), append(stops, stop)
		}
		client := n.client(ClientConfig{MaxConnections: 2})
		send := func(i int) chan error {
			sent := make(chan error, 1)
			go func() { sent <- sendOne(client, hops[i]) }()
			synctest.Wait()
			return sent
		}
		finish := func(sent chan error) {
			t.Helper()
			(<-rec.arrivals).ack(true)
			if err := <-sent; err != nil {
				t.Error(err)
			}
		}
		finish(send(0))
		finish(send(1))
		finish(send(0))
		finish(send(2)) // takes the place of b
		finish(send(0))
		if d := n.dialed(); d != 3 {
			t.Errorf("%d connections made, want 3", d)
		}
		a, c := send(0), send(2)
		d := send(3) // no place
		ctx, cancel := context.WithCancel(context.Background())
		b := make(chan error, 1)
		go func() { b <- client.Send(ctx, hops[1], slices.Values([]Item(nil))) }()
		synctest.Wait()
		if n := n.dialed(); n != 3 {
			t.Errorf("%d connections made, want 3", n)
		}
		cancel()
		if err := <-b; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		finish(a)
		synctest.Wait()
		finish(c)
		finish(d)
		if client.open != 2 || len(client.waiting) != 0 {
			t.Errorf("%d links, %d calls waiting", client.open, len(client.waiting))
		}
		client.Close()
		if client.open != 0 || len(client.peers) != 0 {
			t.Errorf("%d links, %d peers left over", client.open, len(client.peers))
		}
		for _, stop := range stops {
			stop()
		}
	})
}

// TestClientSetMaxConnections: more places are used at once, by who waits; fewer as links come to their end.
func TestClientSetMaxConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		rec := newRecorder()
		var hops []packet.Hop
		var stops []func()
		for _, host := range []string{"a", "b", "c"} {
			to, stop := n.serve(t, host, ServerConfig{Handler: rec})
			hops, stops = append(hops, to), append(stops, stop)
		}
		client := n.client(ClientConfig{MaxConnections: 1})
		send := func(i int) chan error {
			sent := make(chan error, 1)
			go func() { sent <- sendOne(client, hops[i]) }()
			synctest.Wait()
			return sent
		}
		finish := func(sent ...chan error) {
			t.Helper()
			for range sent {
				(<-rec.arrivals).ack(true)
			}
			for _, c := range sent {
				if err := <-c; err != nil {
					t.Error(err)
				}
			}
			synctest.Wait()
		}
		a, b, c := send(0), send(1), send(2)
		if n.dialed() != 1 || client.open != 1 {
			t.Errorf("%d links made, %d open, with a place for one", n.dialed(), client.open)
		}
		client.SetMaxConnections(3)
		synctest.Wait()
		if n.dialed() != 3 || client.open != 3 {
			t.Errorf("%d links made, %d open, with places for three", n.dialed(), client.open)
		}
		finish(a, b, c)
		client.SetMaxConnections(1) // the three are idle
		finish(send(0))
		if d := n.dialed(); d != 3 {
			t.Errorf("%d links made: an open one was not used", d)
		}
		if client.open != 2 {
			t.Errorf("%d links open, want the two that are still idle", client.open)
		}
		finish(send(0)) // needs a new link, for which both make way
		if client.open != 1 {
			t.Errorf("%d links open, with a place for one", client.open)
		}
		client.Close()
		if client.open != 0 {
			t.Errorf("%d links left over", client.open)
		}
		for _, stop := range stops {
			stop()
		}
	})
}

func TestClientSerialises(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				var o outcomes
				if err := client.Send(context.Background(), to, o.items(fill(1), fill(2))); err != nil || len(o.errs) != 2 || !o.allNil() {
					t.Errorf("error %v, outcomes %v", err, o.errs)
				}
			})
		}
		wg.Wait()
		if d := n.dialed(); d != 1 {
			t.Errorf("%d connections made", d)
		}
		client.Close()
		stop()
	})
}

func TestClientItemWithoutPacket(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		var o outcomes
		err := client.Send(context.Background(), to, slices.Values([]Item{o.item(fill(1), false), o.item(nil, true)}))
		if err == nil || len(o.errs) != 2 || o.errs[1] == nil {
			t.Errorf("error %v, outcomes %v", err, o.errs)
		}
		client.Close()
		stop()
	})
}

// TestClientPanic: a panic in the caller's iterator leaves no link behind.
func TestClientPanic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.serve(t, "a", ServerConfig{Handler: &recorder{}})
		client := n.client(ClientConfig{})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = client.Send(context.Background(), to, func(func(Item) bool) { panic("test") })
		}()
		if client.open != 0 {
			t.Errorf("%d links left over", client.open)
		}
		client.Close()
		stop()
	})
}

// TestClientServerClosesBetweenPackets: a batch goes on over a new link if the server closes when nothing is unanswered.
func TestClientServerClosesBetweenPackets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.fake(t, "a", func(conn net.Conn) {
			if p := readFrame(conn); p != nil {
				_, _ = io.WriteString(conn, received+sum(p, "RECEIVED"))
			}
		})
		client := n.client(ClientConfig{})
		var o outcomes
		err := client.Send(context.Background(), to, func(yield func(Item) bool) {
			for i := range 3 {
				if !yield(o.item(fill(byte(i)), false)) {
					return
				}
				time.Sleep(time.Second)
			}
		})
		if err != nil || len(o.errs) != 3 || !o.allNil() {
			t.Errorf("error %v, outcomes %v", err, o.errs)
		}
		if d := n.dialed(); d != 3 {
			t.Errorf("%d connections made", d)
		}
		client.Close()
		stop()
	})
}
