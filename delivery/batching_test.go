package delivery_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"mixminion/delivery"
)

// farAway delays what the other side says by the round trip that it takes.
type farAway struct {
	net.Conn
	roundTrip time.Duration
	asked     bool
}

func (c *farAway) Write(p []byte) (int, error) {
	c.asked = true
	return c.Conn.Write(p)
}

func (c *farAway) Read(p []byte) (int, error) {
	if c.asked {
		time.Sleep(c.roundTrip)
		c.asked = false
	}
	return c.Conn.Read(p)
}

// BenchmarkBatching sends mails over one connection, and over a connection for each: to a server in the same process, with and without TLS,
// and to one that is 20 ms away.
func BenchmarkBatching(b *testing.B) {
	for _, bb := range []struct {
		name      string
		tls       delivery.TLSMode
		roundTrip time.Duration
	}{{"clear", delivery.TLSOff, 0}, {"STARTTLS", delivery.TLSRequired, 0}, {"STARTTLS-20ms", delivery.TLSRequired, 20 * time.Millisecond}} {
		for name, most := range map[string]int{"one-connection": 100, "one-each": 1} {
			b.Run(bb.name+"/"+name, func(b *testing.B) {
				config, ca := certificate(b, "127.0.0.1")
				cfg := benchConfig(b, config)
				cfg.TLS, cfg.CAFile, cfg.MaxPerConnection = bb.tls, ca, most
				if bb.roundTrip > 0 {
					cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						time.Sleep(bb.roundTrip)
						c, err := new(net.Dialer).DialContext(ctx, network, addr)
						return &farAway{Conn: c, roundTrip: bb.roundTrip}, err
					}
				}
				x, err := delivery.NewSMTP(cfg)
				if err != nil {
					b.Fatal(err)
				}
				it := item(b, 1, "a@example.com", "\nhello\n")
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
}

// benchConfig is that of an exit whose mails a server takes and forgets.
func benchConfig(b *testing.B, tlsConfig *tls.Config) delivery.SMTPConfig {
	b.Helper()
	server := startServer(b, tlsConfig, func(m *mailServer) {
		m.onData = func(*smtp.Conn) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.mails = nil
			return nil
		}
	})
	return config(server.addr)
}
