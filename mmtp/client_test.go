package mmtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/packet"
)

// TestClientBytes is the protocol, byte for byte, from the client's side.
func TestClientBytes(t *testing.T) {
	ours, theirs := net.Pipe()
	p := fill(9)
	want := "SEND\r\n" + string(p[:]) + sum(p, "SEND") + "JUNK\r\n" + string(p[:]) + sum(p, "JUNK") + "SEND\r\n" + string(p[:]) + sum(p, "SEND")
	served := make(chan error, 1)
	go func() {
		served <- func() error {
			line := make([]byte, len("MMTP 0.3\r\n"))
			if _, err := io.ReadFull(theirs, line); err != nil || string(line) != "MMTP 0.3\r\n" {
				return fmt.Errorf("version line %q, %w", line, err)
			}
			if _, err := io.WriteString(theirs, "MMTP 0.3\r\n"); err != nil {
				return err
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(theirs, got); err != nil || string(got) != want {
				return fmt.Errorf("the client sent something else; %w", err)
			}
			_, err := io.WriteString(theirs, "RECEIVED\r\n"+sum(p, "RECEIVED")+"RECEIVED\r\n"+sum(p, "RECEIVED JUNK")+
				"REJECTED\r\n"+sum(p, "REJECTED"))
			return err
		}()
	}()
	if err := agreeVersion(ours); err != nil {
		t.Fatal(err)
	}
	l := newLink(ours, testNow, 16, time.Minute)
	for _, junk := range []bool{false, true, false} {
		if err := l.write(p, junk); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []bool{true, true, false} {
		if got := <-l.results; got != want {
			t.Errorf("result %d: %v", i, got)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	l.close()
}

func TestClientVersions(t *testing.T) {
	for answer, want := range map[string]error{
		"MMTP 0.3\r\n":         nil,
		"MMTP 0.4\r\n":         ErrVersion,
		"MMTP 0.3,0.4\r\n":     ErrVersion,
		"MMTP 0.3\n":           ErrProtocol,
		"RECEIVED\r\n":         ErrProtocol,
		"MMTP 0.3\r\nRECEIVED": ErrProtocol,
		"MMTP 0.3":             io.ErrUnexpectedEOF,
		"":                     io.ErrUnexpectedEOF,
		string(bytes.Repeat([]byte{'x'}, 2*maxLine)): ErrProtocol,
	} {
		err := agreeVersion(struct {
			io.Reader
			io.Writer
		}{bytes.NewBufferString(answer), io.Discard})
		if !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", answer, err, want)
		}
	}
}

// TestClientHostileServer: whatever the server does, every item that was taken has exactly one outcome, in order, and Send says why.
func TestClientHostileServer(t *testing.T) {
	answer := func(line, suffix string) func(conn net.Conn) {
		return func(conn net.Conn) {
			if p := readFrame(conn); p != nil {
				_, _ = io.WriteString(conn, line+sum(p, suffix))
				readFrame(conn)
			}
		}
	}
	for _, c := range []struct {
		name   string
		script func(net.Conn)
		want   error
		good   int // items with outcome nil
	}{
		{"wrong digest", answer(received, "SEND"), ErrProtocol, 0},
		{"rejection with the digest of an acceptance", answer(rejected, "RECEIVED"), ErrProtocol, 0},
		{"acceptance with the digest of junk", answer(received, "RECEIVED JUNK"), ErrProtocol, 0},
		{"garbage", answer("WHATEVER\r\n", "RECEIVED"), ErrProtocol, 0},
		{"half an answer", func(conn net.Conn) {
			readFrame(conn)
			_, _ = io.WriteString(conn, received)
		}, io.ErrUnexpectedEOF, 0},
		{"closes at once", func(net.Conn) {}, nil, 0},
		{"closes after one answer", func(conn net.Conn) {
			p := readFrame(conn)
			_, _ = io.WriteString(conn, received+sum(p, "RECEIVED"))
			readFrame(conn)
		}, io.EOF, 1},
		{"out of order", func(conn net.Conn) {
			readFrame(conn)
			p := readFrame(conn)
			_, _ = io.WriteString(conn, received+sum(p, "RECEIVED"))
		}, ErrProtocol, 0},
		{"answers twice", func(conn net.Conn) {
			p := readFrame(conn)
			a := received + sum(p, "RECEIVED")
			_, _ = io.WriteString(conn, a+a)
			readFrame(conn)
		}, ErrProtocol, 1},
		{"answers before it was asked", func(conn net.Conn) {
			_, _ = io.WriteString(conn, received+sum(fill(0), "RECEIVED"))
		}, ErrProtocol, 0},
		{"says nothing", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, os.ErrDeadlineExceeded, 0},
		{"reads nothing", func(conn net.Conn) { time.Sleep(time.Hour) }, os.ErrDeadlineExceeded, 0},
		{"trickles", func(conn net.Conn) {
			p := readFrame(conn)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for _, b := range []byte(received + sum(p, "RECEIVED")) {
				time.Sleep(10 * time.Second)
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
			}
		}, os.ErrDeadlineExceeded, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := new(pipeNet)
				to, stop := n.fake(t, "evil.example.org", c.script)
				client := n.client(ClientConfig{})
				var o outcomes
				err := client.Send(context.Background(), to, o.items(fill(1), fill(2), fill(3), fill(4)))
				client.Close()
				stop()
				if err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if len(o.errs) < c.good+1 {
					t.Fatalf("%d outcomes", len(o.errs))
				}
				for i, itemErr := range o.errs {
					if (itemErr == nil) != (i < c.good) || itemErr != nil && !errors.Is(err, itemErr) {
						t.Errorf("item %d: %v", i, itemErr)
					}
				}
			})
		})
	}
}

func TestClientRejectedJunk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		to, stop := n.fake(t, "evil.example.org", func(conn net.Conn) {
			p := readFrame(conn)
			_, _ = io.WriteString(conn, rejected+sum(p, "REJECTED"))
			readFrame(conn)
		})
		client := n.client(ClientConfig{})
		var o outcomes
		err := client.Send(context.Background(), to, slices.Values([]Item{o.item(fill(1), true)}))
		client.Close()
		stop()
		if !errors.Is(err, ErrProtocol) || len(o.errs) != 1 || !errors.Is(o.errs[0], ErrProtocol) {
			t.Errorf("error %v, outcomes %v", err, o.errs)
		}
	})
}

// TestClientWindow: the iterator is asked for no more than may be unanswered.
func TestClientWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := new(pipeNet)
		rec := newRecorder()
		to, stop := n.serve(t, "a", ServerConfig{Handler: rec})
		client := n.client(ClientConfig{Window: 6})
		taken, done := 0, 0
		sent := make(chan error)
		go func() {
			sent <- client.Send(context.Background(), to, func(yield func(Item) bool) {
				for taken < 20 {
					taken++
					if !yield(Item{Packet: fill(byte(taken)), Done: func(error) { done++ }}) {
						return
					}
				}
			})
		}()
		for i := range 20 {
			synctest.Wait()
			if want := min(20, i+6); taken != want || done != i {
				t.Errorf("after %d answers: %d items taken, %d done", i, taken, done)
			}
			(<-rec.arrivals).ack(true)
		}
		if err := <-sent; err != nil || done != 20 {
			t.Errorf("%d done, %v", done, err)
		}
		client.Close()
		stop()
	})
}

// Proven is told of a link, and where it leads, only when the server has proved the identity key that was asked for.
func TestClientProven(t *testing.T) {
	to := startServer(t, ServerConfig{Handler: &recorder{}})
	var proven []string
	client := newTestClient(t, ClientConfig{Proven: func(hop packet.Hop, at netip.Addr) {
		proven = append(proven, fmt.Sprint(hop == to, at))
	}})
	wrong := to
	wrong.KeyID[0] ^= 1
	if _, err := client.Probe(context.Background(), wrong); !errors.Is(err, ErrKeyID) {
		t.Errorf("another key: %v", err)
	}
	if len(proven) != 0 {
		t.Errorf("a link to another server proves %q", proven)
	}
	if err := sendOne(client, to); err != nil {
		t.Fatal(err)
	}
	if len(proven) != 1 || proven[0] != "true 127.0.0.1" {
		t.Errorf("proven: %q", proven)
	}
}
