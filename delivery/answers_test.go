package delivery_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mixminion/delivery"
)

// recorded is a server whose answers are known beforehand.
type recorded struct {
	io.Reader
	peer net.Addr
}

func (recorded) Write(p []byte) (int, error)      { return len(p), nil }
func (recorded) Close() error                     { return nil }
func (recorded) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c recorded) RemoteAddr() net.Addr           { return c.peer }
func (recorded) SetDeadline(time.Time) error      { return nil }
func (recorded) SetReadDeadline(time.Time) error  { return nil }
func (recorded) SetWriteDeadline(time.Time) error { return nil }

// Whatever a server says, there is one outcome per message, and none is taken for delivered without a 250.
func FuzzAnswers(f *testing.F) {
	f.Add(uint8(3), []byte("220 hi\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n"))
	f.Add(uint8(0), []byte("220 hi\r\n250-hi\r\n250 STARTTLS\r\n220 go\r\n"))
	f.Add(uint8(3), []byte("220 hi\r\n250-hi\r\n250-SIZE\r\n250 AUTH PLAIN LOGIN\r\n535 no\r\n501 no\r\n"))
	f.Add(uint8(3), []byte("220 hi\r\n250 hi\r\n250 ok\r\n550 5.7.1 no\r\n250 ok\r\n421 4.0.0 no\r\n"))
	f.Add(uint8(3), []byte("220-\r\n220 \r\n25\r\n\r\n999 x\r\n"))
	f.Fuzz(func(t *testing.T, mode uint8, answers []byte) {
		cfg := config("127.0.0.1:25")
		cfg.TLS = delivery.TLSMode(mode % 4)
		cfg.Username, cfg.Password = "exit", "secret"
		if mode >= 4 {
			cfg.Username, cfg.Password = "", ""
		}
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			return recorded{bytes.NewReader(answers), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}, nil
		}
		got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com"))
		if len(got) != 1 || got[0] == ok && !bytes.Contains(answers, []byte("250")) {
			t.Errorf("outcomes %v", got)
		}
		if err != nil && (len(err.Error()) > 1000 || strings.Contains(err.Error(), "secret")) {
			t.Errorf("error %v", err)
		}
	})
}

func BenchmarkDeliver(b *testing.B) {
	answers := "220 hi\r\n250 hi\r\n" + strings.Repeat("250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n", 100) + "221 bye\r\n"
	for name, text := range map[string]string{
		"plaintext-4KB":  "\n" + strings.Repeat("Sixty-three letters and a newline make a line of usual length..\n", 64),
		"encrypted-28KB": "",
	} {
		b.Run(name, func(b *testing.B) {
			it := item(b, 1, "a@example.com", text)
			if text == "" {
				it.Payload[100] ^= 1
			}
			cfg := config("127.0.0.1:25")
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
				return recorded{strings.NewReader(answers), &net.TCPAddr{}}, nil
			}
			x, err := delivery.NewSMTP(cfg)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			n := 0
			err = x.Deliver(b.Context(), func(yield func(delivery.Item) bool) {
				for b.Loop() && yield(it) {
				}
			}, func(_ uint64, o delivery.Outcome) {
				n++
				if o != ok {
					b.Fatalf("outcome %v", o)
				}
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "mails/s")
		})
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		value fmt.Stringer
		want  string
	}{
		{delivery.Retry, "retry"}, {delivery.Dropped, "dropped"}, {delivery.Status(9), "Status(9)"},
		{delivery.Unsure, "unsure"}, {delivery.TooLarge, "too large"}, {delivery.Reason(99), "Reason(99)"},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
