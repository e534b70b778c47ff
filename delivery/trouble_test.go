package delivery_test

import (
	"context"
	"crypto/sha1"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mixminion/delivery"
	"mixminion/packet"
)

func setHash(p *packet.Payload) {
	sum := sha1.Sum(p[22:])
	copy(p[2:], sum[:])
}

// A server that does not take our mail at all is no reason to lose any: everything is kept and the batch ends at once.
func TestServerThatDoesNotWantUs(t *testing.T) {
	for _, tt := range []struct {
		name string
		talk func(talk)
		says string // in the error
	}{
		{"greeting 554", func(c talk) { c.say("554 no service for you") }, "no service for you"},
		{"greeting 421", func(c talk) { c.say("421 too busy") }, "421"},
		{"greeting of another protocol", func(c talk) { c.say("+OK POP3 ready") }, "EHLO"},
		{"no greeting", func(talk) {}, "EOF"},
		{"EHLO refused", func(c talk) { c.say("220 hi"); c.hear("EHLO "); c.say("550 bad name") }, "bad name"},
		{"EHLO deferred", func(c talk) { c.say("220 hi"); c.hear("EHLO "); c.say("450 later") }, "later"},
		{"endless greeting", func(c talk) {
			line := strings.Repeat("220-"+strings.Repeat("x", 500)+"\r\n", 100)
			for range 20 {
				c.say(line)
			}
		}, "more than an answer"},
		{"sender refused", func(c talk) { c.hello(); c.hear("MAIL FROM:"); c.say("550 sender unknown") }, "sender unknown"},
		{"log-in missing", func(c talk) { c.hello(); c.hear("MAIL FROM:"); c.say("530 log in") }, "log in"},
		{"log-in missing at RCPT", func(c talk) {
			c.hello()
			c.hear("MAIL FROM:")
			c.say("250 ok")
			c.hear("RCPT TO:")
			c.say("530 a@example.com needs a log-in")
		}, "530"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startScript(t, tt.talk)
			got, err := deliver(t.Context(), t, newSMTP(t, config(server.addr)), batch(t, "a@example.com", "b@example.com"))
			wantOutcomes(t, got, unavailable)
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), server.addr) {
				t.Errorf("error %q does not name the server and %q", err, tt.says)
			}
			if server.stop(); server.conns != 1 {
				t.Errorf("%d connections, want 1", server.conns)
			}
		})
	}
}

func TestServerThatIsDown(t *testing.T) {
	server := startScript(t)
	server.stop()
	got, err := deliver(t.Context(), t, newSMTP(t, config(server.addr)), batch(t, "a@example.com", "b@example.com"))
	wantOutcomes(t, got, unavailable)
	if err == nil || !strings.Contains(err.Error(), "connecting") {
		t.Errorf("error %v", err)
	}
}

// Nothing waits for a server longer than told, whatever it is that does not come. The clock of these tests is not the real one.
func TestSilentServer(t *testing.T) {
	hang := func(c talk) {
		for b := make([]byte, 4096); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}
	toData := func(c talk) {
		c.hello()
		for _, step := range []struct{ hear, say string }{{"MAIL", "250 ok"}, {"RCPT", "250 ok"}, {"DATA", "354 go"}} {
			c.hear(step.hear)
			c.say(step.say)
		}
	}
	const timeout = delivery.DefaultTimeout
	for _, tt := range []struct {
		name  string
		mode  delivery.TLSMode
		talk  func(talk)
		want  delivery.Outcome
		fatal bool
		after time.Duration
	}{
		{"no greeting", delivery.TLSOff, hang, unavailable, true, timeout},
		{"no greeting, TLS", delivery.TLSImplicit, hang, unavailable, true, timeout},
		{"no greeting, STARTTLS", delivery.TLSOpportunistic, hang, unavailable, true, timeout},
		{"no handshake", delivery.TLSRequired, func(c talk) {
			c.hello("STARTTLS")
			c.hear("STARTTLS")
			c.say("220 go")
			hang(c)
		}, unavailable, true, timeout},
		{"no answer to MAIL", delivery.TLSOff, func(c talk) { c.hello(); hang(c) }, unavailable, false, timeout},
		{"no answer to the mail", delivery.TLSOff, func(c talk) { c.hello(); c.upToData(); hang(c) }, unsure, false, 2 * timeout},
		// A pipe has no buffer: a server that does not read stops the client in the middle of the mail.
		{"no reading of the mail", delivery.TLSOff, func(c talk) {
			toData(c)
			c.hear("To: ")
			time.Sleep(2 * timeout)
		}, unavailable, false, timeout},
		{"one byte of greeting a minute", delivery.TLSOff, func(c talk) {
			for {
				time.Sleep(time.Minute)
				if _, err := c.Write([]byte("2")); err != nil {
					return
				}
			}
		}, unavailable, true, timeout},
		{"no answer to QUIT", delivery.TLSOff, func(c talk) {
			c.hello()
			c.upToData()
			c.say("250 ok")
			hang(c)
		}, ok, false, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config("localhost")
				cfg.TLS, cfg.Timeout = tt.mode, 0
				gone := make(chan struct{})
				cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					go func() {
						defer close(gone)
						defer func() { _ = server.Close() }()
						tt.talk(talk{server, t})
					}()
					return client, nil
				}
				begin := time.Now()
				got, err := deliver(t.Context(), t, newSMTP(t, cfg), []delivery.Item{item(t, 1, "a@example.com", randomText(20<<10))})
				wantOutcomes(t, got, tt.want)
				if (err != nil) != tt.fatal {
					t.Errorf("error %v, want one: %t", err, tt.fatal)
				}
				if d := time.Since(begin); d != tt.after {
					t.Errorf("it took %v, want %v", d, tt.after)
				}
				<-gone
			})
		})
	}
}

func TestServerHangsUp(t *testing.T) {
	whole := func(c talk) { c.hello(); c.upToData(); c.say("250 ok"); c.hear("QUIT"); c.say("221 bye") }
	afterOne := func(then func(talk)) func(talk) {
		return func(c talk) { c.hello(); c.upToData(); c.say("250 ok"); then(c) }
	}
	for _, tt := range []struct {
		name  string
		talks []func(talk)
		want  []delivery.Outcome
		fatal bool
	}{
		{"between mails", []func(talk){afterOne(func(talk) {}), whole}, []delivery.Outcome{ok, ok}, false},
		{"421 between mails", []func(talk){afterOne(func(c talk) { c.hear("MAIL"); c.say("421 enough") }), whole},
			[]delivery.Outcome{ok, ok}, false},
		{"421 at RCPT", []func(talk){afterOne(func(c talk) {
			c.hear("MAIL")
			c.say("250 ok")
			c.hear("RCPT")
			c.say("421 enough")
		}), whole}, []delivery.Outcome{ok, ok}, false},
		{"421 after the mail", []func(talk){afterOne(func(c talk) { c.upToData(); c.say("421 enough") }), whole},
			[]delivery.Outcome{ok, ok}, false},
		{"instead of the answer", []func(talk){afterOne(func(c talk) { c.upToData() })}, []delivery.Outcome{ok, unsure}, false},
		{"instead of the first answer", []func(talk){func(c talk) { c.hello(); c.upToData() }, whole},
			[]delivery.Outcome{unsure, ok}, false},
		{"on a new connection", []func(talk){func(c talk) { c.hello(); c.hear("MAIL") }, whole},
			[]delivery.Outcome{unavailable, ok}, false},
		{"again and again", []func(talk){afterOne(func(talk) {}), func(talk) {}}, []delivery.Outcome{ok, unavailable}, true},
		{"too often", []func(talk){
			func(c talk) { c.hello(); c.hear("MAIL") },
			func(c talk) { c.hello(); c.upToData() },
			func(c talk) { c.hello(); c.hear("MAIL"); c.say("451 later") },
			whole,
		}, []delivery.Outcome{unavailable, unsure, unavailable}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startScript(t, tt.talks...)
			items := batch(t, "a@example.com", "b@example.com", "c@example.com", "d@example.com")
			n := len(tt.want)
			if tt.fatal {
				n++ // one that must not be pulled
			}
			got, err := deliver(t.Context(), t, newSMTP(t, config(server.addr)), items[:n])
			wantOutcomes(t, got, tt.want...)
			if (err != nil) != tt.fatal {
				t.Errorf("error %v, want one: %t", err, tt.fatal)
			}
		})
	}
}

func TestServersWordsEndWhereRecipientsBegin(t *testing.T) {
	refuse := func(m *mailServer) func(string) error {
		return func(string) error {
			if m.connections() == 2 {
				return smtpError(550, "enough")
			}
			if len(m.received()) == 1 {
				return smtpError(550, "you wrote to a@example.com")
			}
			return nil
		}
	}
	server := startServer(t, nil, func(m *mailServer) { m.onMail = refuse(m) })
	got, err := deliver(t.Context(), t, newSMTP(t, config(server.addr)), batch(t, "a@example.com", "b@example.com"))
	wantOutcomes(t, got, ok, unavailable)
	if err == nil || !strings.Contains(err.Error(), "550 5.0.0") || strings.Contains(err.Error(), "wrote") {
		t.Errorf("error %v", err)
	}
}

// The answers to DATA and to the mail itself, each on the first mail of a connection; a second mail follows where it can.
func TestAnswersToData(t *testing.T) {
	whole := func(c talk) { c.upToData(); c.say("250 ok"); c.hear("QUIT"); c.say("221 bye") }
	atData := func(answer string, then func(talk)) func(talk) {
		return func(c talk) {
			c.hello()
			c.hear("MAIL")
			c.say("250 ok")
			c.hear("RCPT")
			c.say("250 ok")
			c.hear("DATA")
			c.say(answer)
			then(c)
		}
	}
	atEnd := func(answer string, then func(talk)) func(talk) {
		return func(c talk) { c.hello(); c.upToData(); c.say(answer); then(c) }
	}
	reset := func(c talk) { c.hear("RSET"); c.say("250 ok"); c.ehlo(); whole(c) }
	end := func(talk) {}
	anew := func(c talk) { c.hello(); whole(c) }
	for _, tt := range []struct {
		name  string
		talks []func(talk)
		want  []delivery.Outcome
		fatal bool
	}{
		{"451 to DATA", []func(talk){atData("451 a@example.com later", reset)}, []delivery.Outcome{deferred, ok}, false},
		{"554 to DATA", []func(talk){atData("554 no", reset)}, []delivery.Outcome{unavailable, ok}, false},
		{"530 to DATA", []func(talk){atData("530 a@example.com: log in", end)}, []delivery.Outcome{unavailable}, true},
		{"250 to DATA", []func(talk){atData("250 ok?", end), anew}, []delivery.Outcome{unavailable, ok}, false},
		{"421 to DATA", []func(talk){atData("421 bye", end), anew}, []delivery.Outcome{unavailable, ok}, false},
		{"451 to the mail", []func(talk){atEnd("451 4.3.0 later", whole)}, []delivery.Outcome{deferred, ok}, false},
		{"554 to the mail", []func(talk){atEnd("554 spam", whole)}, []delivery.Outcome{unavailable, ok}, false},
		{"552 to the mail", []func(talk){atEnd("552 long", whole)}, []delivery.Outcome{tooLarge, ok}, false},
		{"530 to the mail", []func(talk){atEnd("530 a@example.com: log in", end)}, []delivery.Outcome{unavailable}, true},
		{"421 to the mail", []func(talk){atEnd("421 bye", end), anew}, []delivery.Outcome{unavailable, ok}, false},
		{"nonsense to the mail", []func(talk){atEnd("a@example.com?", end), anew}, []delivery.Outcome{unsure, ok}, false},
		{"next mail refused on this connection", []func(talk){atEnd("250 ok", func(c talk) { c.hear("MAIL"); c.say("452 enough") }), anew},
			[]delivery.Outcome{ok, ok}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startScript(t, tt.talks...)
			got, err := deliver(t.Context(), t, newSMTP(t, config(server.addr)), batch(t, "a@example.com", "b@example.com"))
			wantOutcomes(t, got, tt.want...)
			if (err != nil) != tt.fatal {
				t.Errorf("error %v, want one: %t", err, tt.fatal)
			}
			if server.stop(); server.conns != len(tt.talks) {
				t.Errorf("%d connections, want %d", server.conns, len(tt.talks))
			}
		})
	}
}
